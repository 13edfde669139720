"""What fitting takes from vectors that are read once, as arrays and back, and of some runs."""

import numpy as np

from gptfl.estimators.exposure_gp.estimator import ExposureGp
from gptfl.estimators.exposure_gp.read_once import ReadOnce
from tests.estimators.exposure_gp.worlds import in_blocks, world


def test_it_comes_back_from_its_arrays_and_is_cut_to_runs():
    data, _ = world(runs=5)
    model = ExposureGp(link="log").fit(data).model_
    blocked = ExposureGp(link="log").fit(type(data)(**{**fields(data), "features": in_blocks(data.features)})).model_
    read = blocked.states.read
    again = ReadOnce.from_arrays(read.arrays(), blocked.recorded, blocked.sources)
    for name, array in read.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], array)
    some, rows = np.array([0, 3]), np.array([1, 2])
    cut = read.of_runs(some, rows)
    for ours, row in zip(cut.own, rows, strict=True):
        np.testing.assert_array_equal(ours.cross, read.own[row].cross[np.ix_(some, some)])
    np.testing.assert_array_equal(cut.sums.shared[0], read.sums.shared[0][rows][:, some])
    dense = [effects[1].copy() for effects, _ in model.states.fitted(model.recorded.steps)]
    np.testing.assert_allclose(read.sums.shared[0], dense, rtol=1e-4, atol=1e-4)


def fields(data):
    return {name: getattr(data, name) for name in data.__slots__}
