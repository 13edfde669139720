from dataclasses import replace

import numpy as np
import pytest

from gptfl.core import (
    Query,
)
from gptfl.core.curriculum import linear_decay
from gptfl.estimators.exposure_gp.estimator import ExposureGp
from gptfl.estimators.exposure_gp.intervals import LEVELS, back_to_recorded, recorded_extremes
from tests.estimators.exposure_gp.worlds import (
    BATCH,
    POOL,
    RECORDED,
    STEPS,
    about,
    covered,
    of_first,
    question,
    recorded,
    world,
)

SCORES = np.array([[[3.0, 5.0], [1.0, np.nan]], [[3.0, 5.0], [2.0, 4.0]]])
SEEN = np.array([1, -1, 0])


def test_extremes_are_those_of_each_test_example_and_of_what_was_observed():
    least, most = recorded_extremes(SCORES, SEEN, None)
    np.testing.assert_array_equal(least, [4.0, -np.inf, 1.0])
    np.testing.assert_array_equal(most, [5.0, np.inf, 3.0])
    observed = np.full((1, 2, 3), np.nan)
    observed[0, 1] = [3.5, 9.0, np.nan]
    least, most = recorded_extremes(SCORES, SEEN, observed)
    np.testing.assert_array_equal(least, [[[3.5, -np.inf, 1.0]]])
    np.testing.assert_array_equal(most, [[[5.0, np.inf, 3.0]]])


def test_only_bounds_of_predictions_beyond_all_of_them_reach_back():
    values, low, high = (np.array([[[one, 7.0, 2.0]]]) for one in (3.0, 2.9, 3.1))
    found = back_to_recorded(values, (low, high), recorded_extremes(SCORES, SEEN, None))
    np.testing.assert_array_equal(found[0], low)
    np.testing.assert_array_equal(found[1], [[[4.0, 7.0, 2.0]]])
    found = back_to_recorded(values + 9.0, (low + 9.0, high + 9.0), recorded_extremes(SCORES, SEEN, None))
    np.testing.assert_array_equal(found[0], [[[5.0, 16.0, 3.0]]])


@pytest.mark.parametrize("settings", [{}, {"features": False}], ids=["features", "no features"])
def test_intervals_cover_what_they_say(settings):
    shares = {0.5: [], 0.9: []}
    for seed in range(6):
        data, runs = world(runs=14, queried=30, noise=0.1, seed=seed)
        predicted = ExposureGp(**settings).fit(data).predict(question(runs))
        for level, found in shares.items():
            found.append(covered(predicted, recorded(runs), level))
    assert 0.8 <= np.mean(shares[0.9]) <= 0.97
    assert 0.38 <= np.mean(shares[0.5]) <= 0.68


def test_intervals_of_unseen_test_examples_doubt_the_mean_that_was_extrapolated():
    shares, widths = [], []
    for seed in range(6):
        data, runs = world(runs=14, queried=20, test=30, seed=seed)
        predicted = ExposureGp().fit(of_first(data, tests=20)).predict(about(question(runs), data, tests=20))
        low, high = predicted.intervals[0.9]
        truth = recorded(runs)
        shares.append(((truth >= low) & (truth <= high))[:, 1:, 20:].mean())
        widths.append((high - low)[:, 1:, 20:].mean() / (high - low)[:, 1:, :20].mean())
    assert 0.75 <= np.mean(shares) <= 0.99
    assert np.mean(widths) > 1.0


@pytest.mark.parametrize("runs", [2, 3])
@pytest.mark.parametrize("settings", [{}, {"features": False}], ids=["features", "no features"])
def test_few_runs_give_finite_results_and_wider_intervals(runs, settings):
    data, queried = world(runs=20, own=0.1)
    query = question(queried)
    few = ExposureGp(**settings).fit(replace(data, fit_runs=data.fit_runs[:runs])).predict(query)
    many = ExposureGp(**settings).fit(data).predict(query)
    assert np.isfinite(few.values).all()
    widths = [(one.intervals[0.9][1] - one.intervals[0.9][0])[:, 1:].mean() for one in (few, many)]
    assert widths[0] > widths[1]
    assert covered(few, recorded(queried), 0.9) > 0.5


def test_beyond_all_that_was_recorded_intervals_reach_back_to_it():
    data, _ = world(runs=8)
    fitted = ExposureGp(link="log").fit(data)
    # A run that sees one example alone goes further than any that was recorded.
    batches, rates = np.zeros((POOL, STEPS, BATCH), dtype=int), np.tile(linear_decay(1.0, STEPS), (POOL, 1))
    batches += np.arange(POOL)[:, None, None]
    first = np.tile(data.fit_runs[0].metrics["loss"][0], (POOL, 1))
    predicted = fitted.predict(Query(batches, rates, RECORDED, first))
    known = recorded(data.fit_runs)
    least, most = known.min(axis=(0, 1)), known.max(axis=(0, 1))
    below, above = predicted.values < least, predicted.values > most
    assert below.any()
    assert above.any()
    low, high = predicted.intervals[0.9]
    assert (high[below] >= np.broadcast_to(least, high.shape)[below]).all()
    assert (low[above] <= np.broadcast_to(most, low.shape)[above]).all()
    # Those of 50 % take the scale as it is.
    assert (predicted.intervals[0.5][1][below] < np.broadcast_to(least, high.shape)[below]).any()


def test_runs_that_do_not_differ_give_no_intervals_and_say_so():
    data, runs = world(runs=5)
    same = tuple(replace(run, metrics=data.fit_runs[0].metrics) for run in data.fit_runs)
    for equal_runs in (same, tuple(replace(run, curriculum=data.fit_runs[0].curriculum) for run in data.fit_runs)):
        fitted = ExposureGp().fit(replace(data, fit_runs=equal_runs))
        predicted = fitted.predict(question(runs))
        assert predicted.intervals == {}
        assert fitted.notes_[-1] == (
            "exposure-gp: the 5 runs to fit don't differ in what they saw or in what was recorded, and nothing says how "
            "far others may: predictions have no intervals"
        )
        again = ExposureGp().restore(fitted.state()).predict(question(runs))
        assert again.intervals == {}
        np.testing.assert_array_equal(predicted.values, again.values)


def test_a_step_at_which_runs_happen_not_to_differ_has_a_width():
    data, runs = world(runs=6)

    def level(run):
        values = run.metrics["loss"].copy()
        values[2] = 1.0
        return replace(run, metrics={"loss": values})

    fitted = ExposureGp().fit(replace(data, fit_runs=tuple(map(level, data.fit_runs))))
    low, high = fitted.predict(question(runs)).intervals[0.9]
    width = (high - low).mean(axis=(0, 2))
    assert 0.2 * width[3] < width[2] < 2 * width[3]
    assert width[0] == 0


def test_few_runs_widen_intervals_by_how_many_of_them_do_not_belong_together():
    data, runs = world(runs=4)
    query = question(runs)
    fitted = ExposureGp(link="log").fit(data)
    low, high = fitted.predict(query).intervals[0.5]
    # The same spread by Student's t with two degrees of freedom instead of four.
    fitted.model_.groups = np.array([0, 0, 1, 1])
    fitted.reach_ = fitted.calibration_.reach(LEVELS)
    narrow, wide = (np.log(b / a)[:, 1:] for a, b in ((low, high), fitted.predict(query).intervals[0.5]))
    np.testing.assert_allclose(wide / narrow, 0.8164966 / 0.7406971, rtol=1e-5)


@pytest.mark.parametrize(("count", "message"), [(2, True), (4, True), (5, False)])
def test_very_few_runs_are_said_to_tell_little_of_the_width(count, message):
    notes = ExposureGp().fit(world(runs=count)[0]).notes_
    assert any(f"how wide intervals must be is told by {count} runs: " in note for note in notes) == message
