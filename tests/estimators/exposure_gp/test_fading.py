"""Within how much training effects fade, chosen by likelihood."""

from dataclasses import replace

import numpy as np
import pytest

from gptfl.estimators.exposure_gp import fading, read_once
from gptfl.estimators.exposure_gp.estimator import ExposureGp
from gptfl.estimators.exposure_gp.read_once import ReadOnce
from gptfl.estimators.exposure_gp.state import model_of, state_of
from tests.estimators.exposure_gp.worlds import CLOSE, STEPS, in_blocks, question, recorded, skill, world

TOTAL = float(np.linspace(1.0, 0.0, STEPS, endpoint=False).sum())


def share_of(estimator):
    return estimator.model_.recorded.curricula.fading / fading.total(estimator.model_.recorded)


@pytest.mark.parametrize(("share", "nearest"), [(0.25, {0.25}), (0.5, {0.25, 0.5}), (2.0, {1.0, 2.0, 4.0})])
def test_the_share_that_runs_were_made_by_is_found(share, nearest):
    data, _ = world(runs=12, noise=0.02, reach=share * TOTAL)
    assert share_of(ExposureGp(link="log").fit_values(data)) in nearest


def test_runs_whose_effects_fade_are_predicted_better_by_what_is_left(monkeypatch):
    data, queried = world(runs=12, queried=20, noise=0.02, reach=0.25 * TOTAL)
    query, truth = question(queried), recorded(queried)
    mean = recorded(data.fit_runs).mean(axis=0)
    found = ExposureGp(link="log").fit_values(data).predict(query).values
    monkeypatch.setattr(fading, "CENTRE", 1e9)  # as good as no fading
    monkeypatch.setattr(fading, "REACHES", (1e9,) * 5)
    monkeypatch.setattr("gptfl.estimators.exposure_gp.estimator.REACHES", (1e9,) * 5)
    stays = ExposureGp(link="log").fit_values(data).predict(query).values
    assert skill(found, truth, mean) > skill(stays, truth, mean) + 0.02


class Costly:
    """A model of some evidence."""

    def __init__(self, evidence, fading_=1.0):
        self.evidence = evidence
        self.recorded = type("Runs", (), {"curricula": type("Runs", (), {"fading": fading_})})


@pytest.mark.parametrize(
    ("evidence", "best", "tried"),
    [
        ({4.0: 0, 2.0: 0, 1.0: 0, 0.5: -9, 0.25: -20}, 0.25, [0.5, 0.25]),
        ({4.0: 0, 2.0: 0, 1.0: 0, 0.5: -9, 0.25: 0}, 0.5, [0.5, 0.25]),
        ({4.0: -30, 2.0: -20, 1.0: 0, 0.5: 9, 0.25: 0}, 4.0, [0.5, 2.0, 4.0]),
        ({4.0: 9, 2.0: 9, 1.0: 0, 0.5: 9, 0.25: 0}, 1.0, [0.5, 2.0]),
    ],
)
def test_shares_are_tried_as_long_as_they_gain(evidence, best, tried):
    made = {share: Costly(cost) for share, cost in evidence.items()}
    asked = []

    def fit(share):
        asked.append(share)
        return made[share]

    assert fading.likeliest(made[1.0], fit) is made[best]
    assert asked == tried


def test_without_step_sizes_nothing_fades():
    data, _ = world(runs=4)
    still = tuple(
        replace(run, curriculum=replace(run.curriculum, learning_rates=0 * run.curriculum.learning_rates))
        for run in data.fit_runs
    )
    fitted = ExposureGp(link="log").fit_values(replace(data, fit_runs=still))
    assert fitted.model_.recorded.curricula.fading is None
    first = Costly(0.0, None)
    assert fading.likeliest(first, lambda share: pytest.fail("nothing else is tried")) is first


def test_a_state_keeps_the_share_and_older_ones_have_none():
    data, _ = world(runs=8, reach=0.5 * TOTAL)
    model = ExposureGp(link="log").fit_values(data).model_
    state = dict(state_of(model))
    assert model_of(state, True).recorded.curricula.fading == model.recorded.curricula.fading
    assert (
        model_of({name: one for name, one in state.items() if name != "fading"}, True).recorded.curricula.fading is None
    )
    for wrong in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(ValueError, match="fade"):
            model_of(state | {"fading": np.array(wrong)}, True)


@pytest.mark.parametrize("room", [2**28, 0])
def test_sums_of_every_share_are_those_of_each(room, monkeypatch):
    monkeypatch.setattr(read_once, "TOGETHER_BYTES", room)
    data, _ = world(runs=6)
    fitted = ExposureGp(link="log").fit_values(replace(data, features=in_blocks(data.features))).model_
    every = [fading.faded(fitted.recorded, share) for share in fading.REACHES]
    for one, runs in zip(ReadOnce.of_each(every, fitted.sources, None), every, strict=True):
        alone = ReadOnce.of(runs, fitted.sources, None)
        for ours, theirs in zip(one.sums.shared, alone.sums.shared, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
        for ours, theirs in zip(one.own, alone.own, strict=True):
            np.testing.assert_allclose(ours.cross, theirs.cross, rtol=1e-9)


def test_answers_by_blocks_fade_alike():
    data, queried = world(runs=10, noise=0.02, reach=0.25 * TOTAL)
    ours = ExposureGp(link="log").fit_values(data)
    theirs = ExposureGp(link="log").fit_values(replace(data, features=in_blocks(data.features)))
    assert share_of(ours) == share_of(theirs)
    np.testing.assert_allclose(
        ours.predict(question(queried)).values, theirs.predict(question(queried)).values, **CLOSE
    )
