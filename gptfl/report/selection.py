"""A selected subset: the file of its ids, the table and the numbers."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float
from rich.table import Table

from gptfl.records import Example, MetricInfo
from gptfl.records.texts import json_text, written_id
from gptfl.report.rank import Ranking, RankResult, class_of, rich_table
from gptfl.store.whole import written_whole

HEAD = "# gptfl select"
"""How a file of selected ids begins."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The training examples that are predicted to be best to train on.

    ``examples`` are in the order in which they were picked, ``influence`` is of each on the target, positive where it
    makes the metric better, between ``low`` and ``high`` where the estimator says how sure it is. ``predicted`` is
    the metric that the estimator predicts for training on them all, the mean over the target's test examples at
    ``step``, ``reference`` that of the average recorded run; ``intervals`` maps a level to the means of the test
    examples' own bounds.
    """

    recording: str
    estimator: str
    metric: MetricInfo
    on: str
    subject: str
    how: str
    pool: int
    examples: tuple[Example, ...]
    influence: Float[np.ndarray, " selected"]
    low: Float[np.ndarray, " selected"] | None
    high: Float[np.ndarray, " selected"] | None
    step: int
    predicted: float
    reference: float
    intervals: Mapping[float, tuple[float, float]]
    orders: int
    simulator: Path
    output: Path | None
    notes: tuple[str, ...] = ()
    unkept: tuple[str, ...] = ()
    """What couldn't be written beside the result, and why."""
    wish: Mapping[str, float | None] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    """The class of each example, where the pool's examples have classes."""

    @property
    def ids(self) -> tuple[str, ...]:
        """What to name in ``--subset``."""
        return tuple(example.id for example in self.examples)

    @property
    def classes(self) -> dict[str, int]:
        """How many examples of each class there are, most first; empty without classes."""
        return dict(Counter(self.class_names).most_common())


def write_ids(selection: Selection, path: Path) -> None:
    """Write the ids, one a line. Raises ``ResourceError`` if they can't be written."""
    head = (
        f"{HEAD}: {len(selection.ids)} of {selection.pool} examples of {selection.recording}, by {selection.estimator}"
    )
    with written_whole(path) as aside:
        aside.write_text("\n".join((head, *map(written_id, selection.ids))) + "\n", encoding="utf-8")


def to_json(selection: Selection) -> str:
    """Everything."""
    bounds = {"low": selection.low, "high": selection.high}
    told = {
        "recording": selection.recording,
        "estimator": selection.estimator,
        "metric": selection.metric.name,
        "on": selection.on,
        "how": selection.how,
        "pool": selection.pool,
        **selection.wish,
        "step": selection.step,
        "predicted": selection.predicted,
        "intervals": {f"{level:g}": list(pair) for level, pair in selection.intervals.items()},
        "reference": selection.reference,
        "orders": selection.orders,
        "classes": selection.classes,
        "examples": [
            {
                "id": example.id,
                "influence": float(selection.influence[place]),
                **{name: float(bound[place]) for name, bound in bounds.items() if bound is not None},
                "class": class_of(example),
            }
            for place, example in enumerate(selection.examples)
        ],
        "simulator": str(selection.simulator),
        "output": None if selection.output is None else str(selection.output),
        "notes": list(selection.notes),
    }
    return json_text(told, indent=2) + "\n"


def selection_table(selection: Selection, top: int | None) -> Table:
    """The selected examples, highest influence first."""
    ranking = Ranking(
        selection.estimator,
        selection.estimator,
        selection.how,
        selection.influence,
        selection.step,
        selection.simulator,
        selection.low,
        selection.high,
    )
    ranked = RankResult(
        selection.recording, selection.metric, selection.on, selection.subject, selection.examples, (ranking,)
    )
    return rich_table(ranked, ranking, top, False)
