"""Curricula that differ in one example: who is in which, and what a trial makes of their ends."""

import numpy as np

from gptfl.influence.trials import Drop, Reading, Replace, drops, mean_effects, replacements
from gptfl.simulation.schedule import recorded_schedule
from tests.ranked import DYNAMICS, POOL

RECIPE = recorded_schedule(DYNAMICS, DYNAMICS.metrics["loss"])
WORTH = np.random.default_rng(0).normal(size=POOL)


def final(batches: np.ndarray) -> np.ndarray:
    """Each place is worth what its example is, to the first of two test examples, and nothing to the other."""
    worth = np.where(batches >= 0, WORTH[batches], 0.0).sum(axis=(1, 2))
    return np.stack([worth, np.zeros_like(worth)], axis=1)


def test_every_example_is_told_once_an_order() -> None:
    for trials in (drops(RECIPE, POOL, 3, 1), replacements(RECIPE, POOL, 3, 1)):
        told = np.bincount(np.concatenate([trial.due for trial in trials]), minlength=POOL)
        assert (told >= 3).all()
        assert (told[told > 3] <= 6).all()


def test_candidates_take_the_places_of_one_member_and_are_not_in_the_run() -> None:
    for trial in replacements(RECIPE, POOL, 1, 1):
        with_each = trial.with_each(trial.candidates)
        assert not np.isin(trial.candidates, trial.others).any()
        for name, batches in zip(trial.candidates, with_each, strict=True):
            np.testing.assert_array_equal(batches == name, trial.template == -1)
            np.testing.assert_array_equal(batches[batches != name], trial.others[trial.template[trial.template >= 0]])


def test_effects_of_what_adds_up_are_differences_of_worths() -> None:
    reading = Reading(np.array([0]))
    for trial in replacements(RECIPE, POOL, 2, 1):
        assert isinstance(trial, Replace)
        others = [np.delete(WORTH[trial.candidates], place).mean() for place in trial.told]
        expected = (trial.template == -1).sum() * (WORTH[trial.due] - others)
        np.testing.assert_allclose(trial.effects(final, reading, 4), expected, rtol=1e-9, atol=1e-12)
    for trial in drops(RECIPE, POOL, 2, 1):
        assert isinstance(trial, Drop)
        expected = [(trial.base == name).sum() * WORTH[name] for name in trial.due]
        np.testing.assert_allclose(trial.effects(final, reading, 4), expected, rtol=1e-9, atol=1e-12)


def test_examples_that_no_trial_is_about_have_no_effect() -> None:
    trials = [trial.about(0, 5) for trial in drops(RECIPE, POOL, 2, 1)]
    effects = mean_effects(trials, final, Reading(np.array([0])), POOL, 100)
    assert (effects[:5] != 0).all()
    assert (effects[5:] == 0).all()
