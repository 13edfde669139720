"""The options of ``gptfl removal-study``."""

from collections.abc import Sequence
from dataclasses import dataclass

from gptfl.options.base import at_least, option
from gptfl.options.common import TRAINED, InputOptions
from gptfl.options.influence import StudyOptions
from gptfl.options.ranking import INFLUENCE, RankingOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovalRankingOptions(RankingOptions):
    """By which rankings rows are left out."""

    on: str | Sequence[str] = option(
        "mean",
        "Test examples that rows are ranked for, and trainings scored on: mean (all), test:ID, or group:FILE (test ids, "
        "one a line).",
        complete=("mean", "test:", "group:"),
        panel=INFLUENCE,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovalStudyOptions:
    """What ``gptfl removal-study`` leaves out and trains."""

    ranking: RemovalRankingOptions = RemovalRankingOptions()
    sizes: str | Sequence[int | str] = option(
        "5%,10%,20%",
        "How many rows to leave out: numbers, or shares of the pool such as 5%.",
        metavar="K,K,…",
        panel=TRAINED,
    )
    orders: int = option(
        2,
        "Orders that each set is trained in; the whole pool is trained in the same.",
        metavar="K",
        panel=TRAINED,
        bound=at_least(1, "give 1 or more"),
    )
    random_sets: int = option(
        2,
        "Random sets of each size to leave out.",
        flag="--random",
        metavar="K",
        panel=TRAINED,
        bound=at_least(1, "give 1 or more"),
    )
    study: StudyOptions = StudyOptions()
    inputs: InputOptions = InputOptions()
