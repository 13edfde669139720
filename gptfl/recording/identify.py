"""What the runs of a design will leave unknown, said before they are recorded."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import FIT, Classes, Example, RecordingSettings, classes_of
from gptfl.designs.draws import LEAVE_SMALL, Draw
from gptfl.designs.identification import Identification, identification
from gptfl.plugins.interfaces import Plan
from gptfl.recording.group_design import grouped


def identify(
    draws: Sequence[Draw],
    plans: Sequence[Plan],
    learning_rates: Float[np.ndarray, " step"],
    pool: Sequence[Example],
    reserved: Sequence[int] = (),
    by: str | None = None,
) -> Identification | None:
    """What the runs to fit will leave unknown of the examples that aren't reserved; None where they are too few.

    Args:
        draws: what the design draws for each run: its role, and which examples it swaps.
        plans: of the same runs, in order; their batches are what a run sees.
        learning_rates: of each step, the same in all runs.
        pool: the training examples; their classes are told apart where there are some.
        reserved: places in the pool that no run to fit sees.
        by: what groups runs differ by; None for a design without groups.
    """
    fitted = [(draw, plan) for draw, plan in zip(draws, plans, strict=True) if draw.role == FIT]
    open_ = np.setdiff1d(np.arange(len(pool)), reserved)
    pairs = [(draw.swaps[:, 1], draw.swaps[:, 0]) for draw, _ in fitted if len(draw.swaps)]
    return identification(
        [plan.batches for _, plan in fitted],
        learning_rates,
        len(pool),
        open_=open_,
        pairs=pairs,
        classes=_by_class(pool, open_),
        groups=_by_group(pool, by),
    )


def _by_class(pool: Sequence[Example], open_: Int[np.ndarray, " open"]) -> dict[str, Int[np.ndarray, " members"]]:
    """The examples of each class that runs draw from, by the name of the class."""
    classes = classes_of(pool)
    if classes is None:
        return {}
    names = Classes(pool)
    found: dict[str, list[int]] = {}
    for place in open_.tolist():
        found.setdefault(names.name(classes[place]), []).append(place)
    return {name: np.array(places) for name, places in sorted(found.items())}


def _by_group(pool: Sequence[Example], by: str | None) -> dict[str, Int[np.ndarray, " members"]]:
    """The examples of each group, by its name."""
    if by is None:
        return {}
    found = grouped(pool, by)
    return {name: np.flatnonzero(found.of == number) for number, name in enumerate(found.names)}


def plan_of_design(settings: RecordingSettings, pool: Sequence[Example]) -> dict[str, Any]:
    """What a plan says of what runs are trained on, by the names of ``CostEstimate``: ``left_out`` or ``grouped``."""
    if settings.design == LEAVE_SMALL:
        return {"left_out": settings.leave_out_size}
    if settings.by is None:
        return {}
    count = len(grouped(pool, settings.by).names)
    half = f"{count // 2}" if count % 2 == 0 else f"{count // 2} or {count // 2 + 1}"
    return {"grouped": f"{half} of {count} groups by {settings.by}"}
