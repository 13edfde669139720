"""The influence of training examples in closed form: its sign, and that on themselves takes gradients."""

import numpy as np
import pytest

from gptfl.errors import DataError
from gptfl.estimators.exposure_gp.estimator import ExposureGp
from tests.estimators.exposure_gp.worlds import ACCURACY, LOSS, POOL, TEST, world


def test_influence_on_itself_takes_gradients():
    data, _ = world(runs=4)
    fitted = ExposureGp().fit(data)
    assert not ExposureGp().has_self_influence
    assert fitted.has_self_influence
    np.testing.assert_allclose(fitted.self_influence(), (data.features.sets["raw-0"].train ** 2).sum(axis=1), rtol=1e-5)
    text, _ = world(runs=4, kind="embedding")
    bare = ExposureGp().fit(text)
    assert not bare.has_self_influence
    with pytest.raises(DataError, match="has none: use --how replace"):
        bare.self_influence()


def test_influence_is_positive_where_it_betters_the_metric():
    for metric in (LOSS, ACCURACY):
        data, _ = world(metric=metric, own=0.0)
        vectors = {"raw-0": data.features.sets["raw-0"].train}
        found, spread = ExposureGp().fit(data).influence_of(np.arange(POOL), vectors, np.eye(TEST))
        aligned = data.features.sets["raw-0"].train @ data.features.sets["raw-0"].test.T
        assert np.corrcoef(found.ravel(), (aligned - aligned.mean(axis=0)).ravel())[0, 1] > 0.85
        assert (spread > 0).all()
