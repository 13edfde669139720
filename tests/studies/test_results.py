"""What the studies come to: differences between kinds of subsets, positive for the better."""

import numpy as np
import pytest

from gptfl.core import MetricInfo
from gptfl.scores.bootstrap import unpaired_difference
from gptfl.studies.results import (
    HARMFUL,
    HELPFUL,
    DroppedSets,
    PredictedChange,
    RelabelStudy,
    RemovalStudy,
    SelectionStudy,
    SelectorResult,
)
from gptfl.studies.results import RANDOM as RANDOM_SETS

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


def drops(kind: str, ranking: str | None, values: list[list[float]], predicted: float) -> DroppedSets:
    told = {"r": PredictedChange(predicted, None)}
    array = np.array(values)
    return DroppedSets(kind, ranking, 2, (("é",),) * len(values), array, array - 1.0, 0.0, None, None, "x", told)


def curves(metric: str, harmful: list[float], helpful: list[float], *chance: list[float]) -> RemovalStudy:
    sets = (
        drops(HARMFUL, "r", [harmful], -0.3),
        drops(HELPFUL, "r", [helpful], 0.5),
        drops(RANDOM_SETS, None, list(chance), 0.0),
    )
    whole = np.ones(len(harmful))
    return RemovalStudy("x", METRICS[metric], "mean", "all", 3, 9, ("r",), (2,), whole, sets, 4, 0, 9, 9, None, None)


def test_a_gap_is_positive_where_harmful_rows_harm() -> None:
    harmful, helpful = [0.8, 0.7, 0.9], [1.4, 1.5, 1.2]
    chance = ([1.0, 1.1, 1.2], [0.9, 0.8, 1.0], [1.3, 1.1, 1.0])
    gap = curves("loss", harmful, helpful, *chance).gap("r", 2)
    each = [low - high for high, low in zip(harmful, helpful, strict=True)]
    assert gap.gap == pytest.approx(sum(each) / 3)
    # 2.920 is the 95 % quantile of Student's t with two degrees of freedom.
    reach = 2.91999 * np.std(each, ddof=1) / np.sqrt(3)
    assert gap.interval == pytest.approx((gap.gap - reach, gap.gap + reach), rel=1e-4)
    assert (gap.verdict, gap.predicted) == ("right", pytest.approx(0.8))
    means = [sum(one) / 3 for one in chance]
    squares = [(one - other) ** 2 for one in means for other in means if one is not other]
    assert gap.chance == pytest.approx(np.sqrt(np.mean(squares)))
    # Of a metric that is better the higher, the same numbers say the opposite.
    other = curves("accuracy", harmful, helpful, *chance).gap("r", 2)
    assert (other.gap, other.verdict, other.predicted) == (-gap.gap, "wrong", pytest.approx(-0.8))


def test_a_gap_of_one_order_or_one_random_set_claims_nothing() -> None:
    alone = curves("loss", [0.5], [1.5], [1.0]).gap("r", 2)
    assert (alone.gap, alone.interval, alone.verdict, alone.chance) == (1.0, None, "one pair", None)
    torn = curves("loss", [np.nan, 0.5], [1.5, 1.5], [1.0, 1.0], [np.inf, 1.0]).gap("r", 2)
    assert (torn.interval, torn.verdict, torn.chance) == (None, "diverged", None)
    with pytest.raises(KeyError):
        curves("loss", [0.5], [1.5], [1.0]).gap("r", 3)


def test_a_curve_is_of_a_kind_and_a_ranking() -> None:
    study = curves("loss", [0.5], [1.5], [1.0])
    assert [one.kind for one in study.curve(HARMFUL, "r")] == [HARMFUL]
    assert study.curve(HARMFUL, "another") == ()
    assert len(study.curve(RANDOM_SETS, None)) == 1
