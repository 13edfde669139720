"""By which simulators rows are ranked, and on what."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptfl.options import common
from gptfl.options.base import option
from gptfl.options.common import FILES, File

INFLUENCE = "Which influence"


def how_option(shown: str = "closed-form or derivative where there is one, else replace") -> Any:
    """How influence is told."""
    return option(
        None,
        "remove (with it, less as if it were not there, with an interval), replace (simulate others in its place), drop "
        "(simulate with its places empty), closed-form (once more in place of the average row, with an interval) or "
        "derivative (to first order, without one).",
        shown=shown,
        complete=("remove", "replace", "drop", "closed-form", "derivative"),
        panel=INFLUENCE,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingOptions:
    """Whose influence on what, and by which simulators."""

    estimators: tuple[str, ...] = option(
        (),
        "Rank by the simulator of this estimator; may be given several times.",
        flag="--estimator",
        shown="the one fitted last",
        complete="estimator",
    )
    metric: str | None = common.metric()
    on: str | Sequence[str] = option(
        "mean",
        "Influence on what: mean (of all test examples), self (the example's own metric), test:ID, "
        "or group:FILE (test ids, one a line).",
        complete=("mean", "self", "test:", "group:"),
        panel=INFLUENCE,
    )
    how: str | None = how_option()
    data: File = common.data()
    simulators: tuple[str | Path, ...] = option(
        (),
        "Simulator file to rank by; may be given several times.",
        flag="--simulator",
        shown="the one made last",
        panel=FILES,
    )
