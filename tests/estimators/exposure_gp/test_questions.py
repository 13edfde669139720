"""The examples of a question, as a fitted process takes them."""

from dataclasses import replace

import numpy as np
import pytest

from gptfl.core import Features, FeatureSet, Unseen
from gptfl.errors import DataError
from gptfl.estimators.exposure_gp.estimator import ExposureGp
from gptfl.estimators.exposure_gp.questions import requested_of, train_of
from tests.estimators.exposure_gp.worlds import POOL, TEST, about, of_first, question, world


@pytest.fixture(scope="module")
def known():
    """A model fitted to all examples, its data, and a question about them."""
    data, runs = world(runs=5)
    return ExposureGp().fit(data).model_, data, question(runs)


@pytest.fixture(scope="module")
def partly():
    """A model fitted to the first examples alone, all data, and a question about all examples."""
    data, runs = world(runs=5)
    model = ExposureGp().fit(of_first(data, tests=6)).model_
    return model, data, about(question(runs), data, tests=6)


def test_of_those_fitted_nothing_more_is_asked(known):
    model, _, query = known
    own, vectors = train_of(model, query)
    assert own.tolist() == list(range(POOL))
    assert vectors is None
    asked = requested_of(model, query, 3)
    assert asked.seen.tolist() == list(range(TEST))
    assert asked.centre.shape == (len(query.batches), 3, TEST)
    np.testing.assert_array_equal(asked.centre[0], model.centre[:3])
    assert asked.doubt is asked.vectors is asked.gradients is None


def test_examples_that_were_not_fitted_are_numbered_beyond_those_that_were(known):
    model, data, query = known
    order = np.array([3, -1, 0, -1])
    pool = tuple(replace(data.pool[place], id=f"x{row}") for row, place in enumerate(order))
    one = data.features.sets["raw-0"]
    given = FeatureSet(np.full((4, 4), 7.0, dtype=np.float32), one.test, "gradient")
    features = Features("x", {}, "", {"raw-0": given})
    unseen = Unseen(pool, data.test, order, np.arange(TEST), features)
    own, vectors = train_of(model, replace(query, batches=np.zeros((1, 2, 1), int), unseen=unseen))
    assert own.tolist() == [3, POOL, 0, POOL + 1]
    # What the question says of examples that were fitted is no matter.
    np.testing.assert_array_equal(vectors["raw-0"][[0, 2]], one.train[[3, 0]])
    np.testing.assert_array_equal(vectors["raw-0"][[1, 3]], 7.0)


def test_unseen_test_examples_get_a_mean_of_their_own_and_the_others_keep_theirs(partly):
    model, _, query = partly
    rows = model.centre.shape[0]
    asked = requested_of(model, query, rows)
    assert asked.seen.tolist() == [*range(6), -1, -1]
    for run in range(len(query.batches)):
        np.testing.assert_array_equal(asked.centre[run, :, :6], model.centre[:, :6])
    np.testing.assert_array_equal(asked.doubt[:, :, :6], 0.0)
    assert (asked.doubt[:, 1:, 6:] > 0).all()
    np.testing.assert_allclose(asked.centre[:, 0, 6:], model.link.to(query.first[:, 6:]))
    assert len(asked.vectors) == TEST
    assert set(asked.gradients) == {"raw-0"}


def test_what_can_not_be_placed_is_refused(known, partly):
    model, data, query = known
    with pytest.raises(DataError, match=f"a batch names example {POOL}, fitted were {POOL}: use examples of the pool"):
        train_of(model, replace(query, batches=np.full((1, 2, 1), POOL)))
    model, data, query = partly
    without = replace(query.unseen, features=None)
    with pytest.raises(DataError, match="the question has no vectors: featurize the examples asked about"):
        requested_of(model, replace(query, unseen=without), 2)
    narrow = FeatureSet(np.ones((POOL, 3), np.float32), np.ones((TEST, 3), np.float32), "gradient")
    other = replace(query.unseen, features=replace(data.features, sets={"raw-0": narrow}))
    with pytest.raises(DataError, match="take the encoder that the simulator was fitted with"):
        train_of(model, replace(query, unseen=other))
    bare = ExposureGp(features=False).fit(of_first(data, tests=6)).model_
    with pytest.raises(DataError, match="was fitted without features, and asked about test examples"):
        requested_of(bare, query, 2)
