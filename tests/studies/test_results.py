"""What the studies come to: differences between kinds of subsets, positive for the better."""

import numpy as np
import pytest

from gptfl.core import MetricInfo
from gptfl.scores.bootstrap import unpaired_difference
from gptfl.studies.results import RelabelStudy, SelectionStudy, SelectorResult

METRICS = {
    "loss": MetricInfo("loss", higher_is_better=False, low=0.0),
    "accuracy": MetricInfo("accuracy", higher_is_better=True, low=0.0, high=1.0),
}


def kind(name: str, values: list[float]) -> SelectorResult:
    return SelectorResult(name, (("é",),), dict.fromkeys(METRICS, np.array(values)))


def study(*kinds: SelectorResult, seed: int = 3) -> SelectionStudy:
    return SelectionStudy("here", "all", 1, kinds, METRICS, 1, ("t",), 4, 2, 0, seed, None, None)


CHOSEN, RANDOM = kind("chosen", [0.2, 0.3, 0.1, 0.25]), kind("random", [0.5, 0.9, 0.7])


def test_a_lower_loss_and_a_higher_accuracy_are_better() -> None:
    found = study(CHOSEN, RANDOM)
    by, (low, high) = found.better("accuracy", CHOSEN, RANDOM)
    assert by == pytest.approx(np.mean([0.2, 0.3, 0.1, 0.25]) - 0.7)
    assert low < by < high
    assert (by, (low, high)) == unpaired_difference(CHOSEN.values["loss"], RANDOM.values["loss"], 3)
    assert found.better("loss", CHOSEN, RANDOM) == (-by, (-high, -low))


def test_the_studys_seed_draws_the_interval() -> None:
    bounds = {study(CHOSEN, RANDOM, seed=seed).better("loss", CHOSEN, RANDOM)[1] for seed in (3, 3, 4)}
    assert len(bounds) == 2


def test_trainings_that_all_ended_alike_leave_no_doubt() -> None:
    one, other = kind("one", [0.5]), kind("other", [0.25, 0.25])
    assert study(one, other).better("loss", one, other) == (-0.25, (-0.25, -0.25))


def test_repeats_are_the_last_of_what_was_found() -> None:
    found = np.zeros((2, 3, 5))
    result = RelabelStudy("x", "all", ("a", "b"), (0.0, 0.5, 1.0), found, {}, {}, 1, 4, 2, 3, 30, 30, None, None)
    assert result.repeats == 5
