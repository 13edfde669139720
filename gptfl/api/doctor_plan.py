"""What fits into a time budget: how many runs are recorded, and how many pairs of trainings verify a patch."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
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
MUCH = 1 / 3
"""Where measuring takes a larger share of a run, measuring less often is worth naming."""
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
    """So many runs and, to verify, pairs of trainings; a run takes ``per_run`` seconds, the reference ``reference``.

    ``measured`` says that ``per_run`` is what recorded runs took, not what timed steps come to.
    """

    runs: int
    pairs: int
    per_run: float
    reference: float
    measured: bool = False

    @property
    def recording(self) -> float:
        """What recording takes, in seconds."""
        return self.runs * self.per_run + self.reference

    @property
    def verifying(self) -> float:
        """What verifying takes, in seconds: of each pair two trainings."""
        return 2 * self.pairs * self.per_run


def plan_for(budget: float, cost: CostEstimate, done: int = 0, seconds: float | None = None) -> DoctorPlan:
    """What fits into so many seconds. Raises ``DataError`` where nothing does.

    Args:
        budget: in seconds.
        cost: of the runs, from timed steps.
        done: how many runs are recorded.
        seconds: that one of those took in the mean; None where that isn't known.
    """
    training, measuring = cost.steps * cost.seconds_per_step, cost.recorded * cost.seconds_per_evaluation
    # Without a cost of sketches they are recorded, and the reference run with them.
    reference = 0.0 if cost.sketches is None else training + cost.sketches.seconds
    share = measuring / (training + measuring)
    plan = planned(budget, seconds or training + measuring, reference, done, share)
    return replace(plan, measured=bool(seconds) and done >= LEAST_RUNS)


def planned(budget: float, per_run: float, reference: float, done: int = 0, measuring: float = 0.0) -> DoctorPlan:
    """As ``plan_for``, by the seconds of a run and of the reference run with its sketches.

    Args:
        budget: in seconds.
        per_run: seconds of a run.
        reference: seconds of the reference run, 0 where it is recorded.
        done: how many runs are recorded.
        measuring: the share of a run's time that measuring takes.
    """
    pairs = _pairs(budget, per_run)
    room = (1 - BESIDE) * budget - reference - 2 * pairs * per_run
    runs = done + int(room / per_run)
    if room < 0 or runs < LEAST_RUNS:
        raise _too_short(budget, per_run, reference, max(0, LEAST_RUNS - done), measuring)
    return DoctorPlan(max(done, min(runs, MOST_RUNS)), pairs, per_run, reference)


def _pairs(budget: float, per_run: float) -> int:
    """How many pairs of trainings a quarter of the budget has room for."""
    return min(max(int(VERIFYING * budget / (2 * per_run)), LEAST_PAIRS), MOST_PAIRS)


def _too_short(budget: float, per_run: float, reference: float, left: int, measuring: float) -> DataError:
    """That the fewest don't fit, and what would help."""
    least = ((left + 2 * LEAST_PAIRS) * per_run + reference) / (1 - BESIDE)
    # The pairs are a quarter of the budget or more.
    least = max(least, (left * per_run + reference) / (1 - BESIDE - VERIFYING))
    runs = f"{left} runs" if left == LEAST_RUNS else "1 more run" if left == 1 else f"{left} more runs"
    parts = [runs] if left else []
    parts += ["the gradients"] if reference else []
    what = ", ".join(parts) + (" and " if parts else "")
    fewer = "fewer --steps or --train-layers"
    if measuring > MUCH:
        fewer = f"a larger --record-every (measuring takes {measuring:.0%} of a run), {fewer}"
    return DataError(
        f"--budget of {budget:.0f} s is too short: {what}{LEAST_PAIRS} pairs of trainings take about {least:.0f} s, "
        f"about {about(per_run)} s a run",
        f"give --budget {int(least // 60) + 1}m, or {fewer}",
    )


def room_left(budget: float, before: float, spent: float) -> float:
    """Seconds that training may still take.

    Args:
        budget: in seconds.
        before: seconds until the first run began, in which nothing was trained.
        spent: seconds until now.
    """
    # However long it took to begin, fitting and judging are still to come.
    beside = max(BESIDE * budget - before, BESIDE * budget / 2)
    return budget - spent - beside


def replanned(plan: DoctorPlan, budget: float, room: float, per_run: float, done: int) -> DoctorPlan:
    """The plan now that it is known what runs take: never fewer runs than are recorded, nor fewer pairs than two.

    Args:
        plan: the one before.
        budget: in seconds.
        room: seconds that training may still take.
        per_run: seconds that a recorded run took.
        done: how many are recorded.
    """
    pairs = min(_pairs(budget, per_run), max(LEAST_PAIRS, int(room / (2 * per_run))))
    runs = done + max(0, int(room / per_run) - 2 * pairs)
    return DoctorPlan(max(done, min(runs, MOST_RUNS)), pairs, per_run, plan.reference, measured=True)


def change_of(plan: DoctorPlan, now: DoctorPlan, room: float, done: int) -> str | None:
    """What has changed of a plan, in a line; None where nothing has.

    Args:
        plan: the one before.
        now: the one that ``replanned`` gave.
        room: seconds that training may still take.
        done: how many runs are recorded.
    """
    late = (now.runs - done) * now.per_run + now.verifying > room
    if (plan.runs, plan.pairs) == (now.runs, now.pairs) and not late:
        return None
    took, thought = about(now.per_run), about(plan.per_run)
    why = f"runs take about {took} s" + (f", not {thought} s" if took != thought else ", and less time is left")
    end = "; that is the fewest, and longer than --budget" if late else ""
    return f"{why}: {now.runs} runs, {now.pairs} pairs{end}"


def about(seconds: float) -> str:
    """Seconds in two digits, or whole ones."""
    return f"{seconds:.0f}" if seconds >= 10 else f"{seconds:.2g}"


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
    measured = plan.get("measured")
    if not whole or not timed or type(measured) is not bool:
        return None
    return DoctorPlan(plan["runs"], plan["pairs"], float(plan["per_run"]), float(plan["reference"]), measured)


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
