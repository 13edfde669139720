from dataclasses import replace

import numpy as np

from gptfl.core.runs import cut_run, thinned
from tests.synthetic import synthetic


def test_thinning_keeps_the_first_every_kth_and_the_last_recorded_step():
    dynamics, _ = synthetic(2)
    run = dynamics.runs[0]
    found = thinned(run, 5)
    rows = sorted({*range(0, len(run.steps), 5), len(run.steps) - 1})
    np.testing.assert_array_equal(found.steps, run.steps[rows])
    np.testing.assert_array_equal(found.metrics["loss"], run.metrics["loss"][rows])
    assert found.curriculum is run.curriculum
    assert thinned(run, 1) is run


def test_derivatives_of_rows_left_out_count_at_the_next_row_kept():
    run = synthetic(1)[0].runs[0]
    changes = np.random.default_rng(0).normal(size=run.metrics["loss"].shape)
    changes[0] = 0
    summed = np.cumsum(changes, axis=0)
    run = replace(run, derivatives={"gradient": changes})
    for rows in ([0, 2, 5], [1, 2, 4], [3], []):
        cut = cut_run(run, np.array(rows, dtype=int))
        expected = summed[rows] - (summed[rows[0]] if rows else 0)
        np.testing.assert_allclose(np.cumsum(cut.derivatives["gradient"], axis=0), expected, atol=1e-12)
        assert cut.derivatives["gradient"].shape == cut.metrics["loss"].shape
