"""What fits into a time budget: how many runs are recorded, and how many pairs of trainings verify a patch."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gptfl.core.texts import json_text, parse_json
from gptfl.errors import DataError, UsageError
from gptfl.recording.cost import CostEstimate
from gptfl.scores.lds import FEWEST_RUNS
from gptfl.store.outputs import written_whole

LEAST_RUNS, MOST_RUNS = FEWEST_RUNS, 32
"""Of fewer runs no LDS is told, and nothing is proposed."""
LEAST_PAIRS, MOST_PAIRS = 2, 8
VERIFYING, BESIDE = 0.25, 0.15
"""Shares of the budget: at least so much for verifying, and so much for all that trains nothing."""
UNITS: Mapping[str, int] = {"s": 1, "m": 60, "h": 3600}
LONGEST = 30 * 24 * 3600
MAX_BYTES = 2**20
"""No state that is read again is larger."""


def seconds_of(budget: str) -> float:
    """The seconds of a time such as 90s, 20m or 1.5h. Raises ``UsageError`` for another text."""
    found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)([smh])", budget.strip(), re.ASCII)
    seconds = float(found[1]) * UNITS[found[2]] if found else 0.0
    if not 0 < seconds <= LONGEST:
        raise UsageError(f"is {budget!r}", "give a time such as 90s, 20m or 2h", option="budget")
    return seconds


@dataclass(frozen=True, slots=True)
class DoctorPlan:
    """So many runs and, to verify, pairs of trainings; a run takes ``per_run`` seconds, the reference ``reference``."""

    runs: int
    pairs: int
    per_run: float
    reference: float

    @property
    def recording(self) -> float:
        """What recording takes, in seconds."""
        return self.runs * self.per_run + self.reference

    @property
    def verifying(self) -> float:
        """What verifying takes, in seconds: of each pair two trainings."""
        return 2 * self.pairs * self.per_run


def plan_for(budget: float, cost: CostEstimate) -> DoctorPlan:
    """What fits into so many seconds, of runs that cost so much. Raises ``DataError`` where nothing does."""
    per_run = cost.steps * cost.seconds_per_step + cost.recorded * cost.seconds_per_evaluation
    reference = cost.steps * cost.seconds_per_step + (0.0 if cost.sketches is None else cost.sketches.seconds)
    return planned(budget, per_run, reference)


def planned(budget: float, per_run: float, reference: float) -> DoctorPlan:
    """As ``plan_for``, by the seconds of a run and of the reference run with its sketches."""
    pairs = min(max(int(VERIFYING * budget / (2 * per_run)), LEAST_PAIRS), MOST_PAIRS)
    runs = int(((1 - BESIDE) * budget - reference) / per_run) - 2 * pairs
    if runs < LEAST_RUNS:
        least = ((LEAST_RUNS + 2 * LEAST_PAIRS) * per_run + reference) / (1 - BESIDE)
        # The pairs are a quarter of the budget or more.
        least = max(least, (LEAST_RUNS * per_run + reference) / (1 - BESIDE - VERIFYING))
        raise DataError(
            f"--budget of {budget:.0f} s is too short: {LEAST_RUNS} runs, their gradients and {LEAST_PAIRS} pairs of trainings take "
            f"about {least:.0f} s",
            f"give --budget {int(least // 60) + 1}m, or fewer --steps or --train-layers",
        )
    return DoctorPlan(min(runs, MOST_RUNS), pairs, per_run, reference)


def read_state(path: Path, key: str) -> DoctorPlan | None:
    """The plan that an interrupted call of the same question made; None where there is none."""
    try:
        if path.stat().st_size > MAX_BYTES:
            return None
        found = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    plan = found.get("plan") if isinstance(found, dict) and found.get("key") == key else None
    if not isinstance(plan, dict):
        return None
    whole = all(type(plan.get(name)) is int and 0 < plan[name] <= 100 for name in ("runs", "pairs"))
    timed = all(type(plan.get(name)) in (int, float) and plan[name] >= 0 for name in ("per_run", "reference"))
    if not whole or not timed:
        return None
    return DoctorPlan(plan["runs"], plan["pairs"], float(plan["per_run"]), float(plan["reference"]))


def write_state(path: Path, key: str, plan: DoctorPlan, result: Mapping[str, Any]) -> None:
    """Keep the plan, and what has come of it.

    Args:
        path: the file.
        key: tells this question from others.
        plan: what is done.
        result: what has come of it, ready for JSON.

    Raises ``ResourceError`` if it can't be written.
    """
    with written_whole(path) as part:
        part.write_text(json_text({"key": key, "plan": asdict(plan), **result}, indent=2) + "\n", encoding="utf-8")
