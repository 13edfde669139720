"""A metric by way of the loss: ``gptfl.estimators.through_loss.estimator``."""

from dataclasses import replace

import numpy as np
import pytest

from gptfl import testing
from gptfl.core import Dynamics, MetricInfo
from gptfl.errors import DataError
from gptfl.estimators.baselines import MeanRun
from gptfl.estimators.exposure_gp.estimator import ExposureGp
from gptfl.estimators.through_loss.estimator import LOSS, ThroughLoss
from gptfl.estimators.through_loss.score_map import ScoreMap
from gptfl.scores.pointwise import skill
from tests.estimators.questions import data_of, query_of
from tests.synthetic import synthetic

ROUGE = MetricInfo("rougeL", higher_is_better=True, low=0.0, high=1.0)


def jumpy(runs: int = 24, scale: float = 1.0, **more: float):
    """A recording whose score is 1 where the loss is below a bound of each test example's own, else 0."""
    dynamics, features = synthetic(runs, class_effect=0.0, example_effect=2.0, **more)
    last = np.stack([run.metrics["loss"][-1] for run in dynamics.runs])
    bound = np.median(last, axis=0)

    def scored(run):
        return replace(run, metrics={**run.metrics, "rougeL": scale * (run.metrics["loss"] < bound).astype(np.float64)})

    metrics = {"loss": LOSS, "rougeL": replace(ROUGE, high=scale)}
    return replace(dynamics, metrics=metrics, runs=tuple(scored(run) for run in dynamics.runs)), features


def asked(dynamics: Dynamics, features):
    data = replace(data_of(dynamics), metric=dynamics.metrics["rougeL"], features=features)
    held_out = dynamics.with_role("test")
    query = replace(query_of(held_out), first=np.stack([run.metrics["rougeL"][0] for run in held_out]))
    return data, query, np.stack([run.metrics["rougeL"] for run in held_out])


def test_it_keeps_the_promises_of_an_estimator():
    testing.check_estimator(ThroughLoss)


def test_a_score_that_jumps_is_predicted_where_its_own_effects_say_little():
    data, query, recorded = asked(*jumpy(30))
    mean_run = MeanRun().fit(data).predict(query).values
    through = skill(ThroughLoss().fit(data).predict(query).values, recorded, mean_run)
    assert through > 0.4
    assert through > skill(ExposureGp().fit(data).predict(query).values, recorded, mean_run)


def test_a_range_of_a_hundred_is_that_of_one_times_a_hundred():
    one, hundred = (asked(*jumpy(scale=scale)) for scale in (1.0, 100.0))
    small, large = (ThroughLoss().fit(data).predict(query) for data, query, _ in (one, hundred))
    # 0 and 1 are outcomes, of which a prediction is the probability; of 0 and 100 it is the mean.
    np.testing.assert_allclose(large.values, 100.0 * small.values, atol=1e-6)
    assert all((low <= large.values).all() and (large.values <= high).all() for low, high in large.intervals.values())


def test_where_the_loss_says_nothing_the_average_run_is_left():
    dynamics, features = jumpy()
    random = np.random.default_rng(3)
    runs = [
        replace(run, metrics={**run.metrics, "rougeL": random.uniform(0.3, 0.7, run.metrics["loss"].shape)})
        for run in dynamics.runs
    ]
    data, query, recorded = asked(replace(dynamics, runs=tuple(runs)), features)
    mean_run = MeanRun().fit(data).predict(query).values
    assert abs(skill(ThroughLoss().fit(data).predict(query).values, recorded, mean_run)) < 0.1


def test_influence_is_that_on_the_loss_times_how_the_metric_falls_with_it():
    data, _, _ = asked(*jumpy())
    fitted = ThroughLoss().fit(data)
    places, weights = np.arange(4), np.eye(len(data.test))[:3]
    vectors = {name: one.train[:4] for name, one in data.features.sets.items()}
    on_loss, spread = ExposureGp().fit(replace(data, metric=LOSS)).influence_of(places, vectors, weights)
    found, sure = fitted.influence_of(places, vectors, weights)
    # By finite differences of the fitted curve at the end of the average run.
    centre, small = fitted.centre_[-1:], 1e-6
    link = fitted.loss_.model_.link
    loss = link.back(centre)
    end = ScoreMap(fitted.map_.levels[-1:], fitted.map_.slopes)
    shares = [end.expected(link.to(loss + change)[None] - centre)[0, 0] for change in (-small, small)]
    fall = (shares[0] - shares[1])[:3] / (2 * small)
    np.testing.assert_allclose(found, on_loss * fall, rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(sure, spread * np.abs(fall), rtol=1e-4, atol=1e-9)
    target = fitted.influence_on_target(places, vectors, weights.mean(axis=0))
    groups = fitted.influence_of_groups([(places, vectors, np.zeros(4, np.int64))], 1, weights.mean(axis=0))
    assert target is not None
    assert groups is not None
    np.testing.assert_allclose(groups[0][0], target[0].sum(), rtol=1e-6)


def test_runs_of_one_subset_are_predicted_by_runs_of_others(monkeypatch):
    data, _, _ = asked(*jumpy(24))
    runs = data.fit_runs[:8]
    again = tuple(replace(runs[0], index=100 + i, metrics=runs[i].metrics) for i in (1, 2))
    seen = []
    fit_values = ExposureGp.fit_values

    def noted(self, part):
        seen.append({run.index for run in part.fit_runs})
        return fit_values(self, part)

    monkeypatch.setattr(ExposureGp, "fit_values", noted)
    ThroughLoss().fit(replace(data, fit_runs=(*runs, *again), validation_runs=()))
    together = {runs[0].index, 101, 102}
    assert len(seen) > 3
    assert all(together <= part or not together & part for part in seen)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"metric": LOSS}, "between two bounds, and loss has none"),
        ({"fit_runs": 2, "validation_runs": 0}, "needs 3 runs to fit, and there are 2"),
    ],
)
def test_what_it_cannot_do_is_refused(changed, message):
    data, _, _ = asked(*jumpy())
    given = {name: getattr(data, name)[:value] if isinstance(value, int) else value for name, value in changed.items()}
    with pytest.raises(DataError, match=message):
        ThroughLoss().fit(replace(data, **given))


def test_without_the_loss_it_says_what_to_record():
    data, _, _ = asked(*jumpy())
    runs = tuple(replace(run, metrics={"rougeL": run.metrics["rougeL"]}) for run in data.fit_runs)
    with pytest.raises(DataError, match="needs the loss beside rougeL"):
        ThroughLoss().fit(replace(data, fit_runs=runs))


@pytest.mark.parametrize("name", ["levels", "map", "bounds", "clock", "loss steps"])
def test_a_damaged_state_is_refused(name):
    data, _, _ = asked(*jumpy(8))
    state = dict(ThroughLoss().fit(data).state())
    del state[name]
    with pytest.raises(DataError, match="fit it again"):
        ThroughLoss().restore(state)
