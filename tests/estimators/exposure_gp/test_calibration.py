"""How wide intervals must be, against models fitted without the runs one by one."""

from dataclasses import replace

import numpy as np

from gptfl.estimators.exposure_gp.calibration import REFITS, Calibration, parts_of
from gptfl.estimators.exposure_gp.conditioning import TRUST
from gptfl.estimators.exposure_gp.model import ExposureModel
from gptfl.estimators.exposure_gp.process import Curricula
from gptfl.estimators.exposure_gp.requests import RecordedRuns, RequestedRuns
from tests.estimators.exposure_gp.test_model import POOL, RUNS, TEST, model


def test_errors_of_runs_left_out_tell_the_width_of_intervals():
    made = Calibration(model())
    assert made.left_out.shape == (RUNS, 3, TEST)
    assert (made.left_out[:, 0] == 0).all()
    reach = np.quantile(np.abs(made.left_out[:, 1:]), 0.9) / 1.6449
    low, high = sorted([1.0, float(reach)])
    assert low <= made.left_out_width <= high
    assert made.interval_scale == made.left_out_width


def test_one_odd_run_among_equals_is_no_measure_of_others():
    made = model(runs=8)
    values = np.repeat(made.recorded.values[:1], 8, axis=0)
    values[3, 1:] += 0.5
    odd = Calibration(ExposureModel(replace(made.recorded, values=values), made.sources, made.link))
    assert odd.interval_scale == odd.left_out_width
    assert np.isfinite(odd.interval_scale)


def test_width_is_judged_by_models_fitted_without_the_runs():
    made = model(runs=13)
    errors, parts = np.empty((13, 2, TEST)), np.arange(13) % REFITS
    for part in range(REFITS):
        out, kept = np.flatnonzero(parts == part), np.flatnonzero(parts != part)
        runs = made.recorded.curricula
        recorded = RecordedRuns(
            Curricula(runs.batches[kept], runs.learning_rates[kept]),
            made.recorded.steps[1:],
            made.recorded.values[kept][:, 1:],
            POOL,
        )
        other = ExposureModel(recorded, made.sources, made.link)
        other.fit_factors()
        requested = RequestedRuns(np.arange(TEST), np.broadcast_to(other.centre, (len(out), 2, TEST)))
        look = other.look(Curricula(runs.batches[out], runs.learning_rates[out]), 2, requested)
        errors[out] = (made.even[out, 1:] - look.mean) / np.sqrt(look.signal + look.noise)
    reach = np.quantile(np.abs(errors), 0.9) / 1.6449
    np.testing.assert_allclose(
        Calibration(made).interval_scale, np.sqrt((TRUST + 13 * reach**2) / (TRUST + 13)), rtol=1e-5
    )


def test_errors_are_alike_at_neighbouring_steps_and_wholly_so_at_the_same():
    correlation = Calibration(model()).over_steps
    np.testing.assert_allclose(correlation.diagonal(), 1.0)
    np.testing.assert_allclose(correlation, correlation.T)
    assert np.linalg.eigvalsh(correlation).min() > -1e-6


def test_runs_that_belong_together_are_left_out_together():
    groups = np.array([0, 0, 1, 2, 3, 3, 4, 5, 6, 6])
    parts = parts_of(groups)
    assert parts.tolist() == [0, 0, 1, 2, 3, 3, 4, 5, 0, 0]
    np.testing.assert_array_equal(parts_of(np.arange(9)), np.arange(9) % REFITS)
    # Half of the runs in one group leave too little beside it.
    np.testing.assert_array_equal(parts_of(np.array([0, 0, 0, 0, 1, 2, 3])), np.arange(7) % REFITS)


def test_errors_to_go_on_from_are_those_of_runs_that_neither_model_nor_correlation_had_seen():
    made = Calibration(model(runs=9))
    rows = made.refittable
    assert len(rows)
    apart = made.refitted_errors(rows)
    errors = made.errors[:, rows]
    np.testing.assert_allclose(errors * (apart[0, 0, 0] / errors[0, 0, 0]), apart, rtol=1e-4)
    parts = made.cross_fitted
    assert len(parts) == REFITS
    for number, part in enumerate(parts):
        out = made.parts == number
        np.testing.assert_array_equal(part.errors, made.errors[out])
        np.testing.assert_array_equal(part.correlation, made.correlation_of(made.errors[~out]))
        assert np.abs(part.correlation - made.over_steps).max() > 0
