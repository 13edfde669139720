"""What a prediction comes to when it is carried out: the numbers, the table and the picture."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from rich import box
from rich.table import Table
from rich.text import Text

from gptfl.core.texts import json_text, written_id
from gptfl.evaluation.verification import Verification
from gptfl.report.calibration import coverage_dict
from gptfl.report.cells import NOTHING
from gptfl.report.pictures import save_figure
from gptfl.report.simulation import LEVEL, simulation_figure
from gptfl.store.outputs import written_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 5
"""How many test examples the table lists: those that ended furthest from the average run, and those missed most."""
DRAWN = 4


def to_json(found: Verification) -> str:
    """Everything, every training's trajectories among it; numbers that aren't known are null."""
    predicted, recorded, reference = found.finals()
    ours, truth, was = found.means()
    told: dict[str, Any] = {
        "recording": found.recording,
        "estimator": found.estimator,
        "metric": found.metric.name,
        "what": found.what,
        "step": int(found.steps[found.last]),
        "predicted": ours,
        "recorded": truth,
        "reference": was,
        "mse": _number(found.mse),
        "rho": _number(found.rho),
        "skill": found.skill,
        "coverage": coverage_dict(found.coverage),
        "training_seconds": round(found.seconds, 1),
        "test": [
            {"id": id, "predicted": _number(p), "recorded": _number(r), "reference": _number(a)}
            for id, p, r, a in zip(found.tests, predicted, recorded, reference, strict=True)
        ],
        "steps": found.steps.tolist(),
        "runs": [
            {
                "label": label,
                "predicted": _rows(found.predicted[run]),
                "recorded": _rows(found.recorded[run]),
                "intervals": {
                    f"{level:g}": {"low": _rows(low[run]), "high": _rows(high[run])}
                    for level, (low, high) in found.intervals.items()
                },
                "batches": [list(batch) for batch in found.batches[run]],
            }
            for run, label in enumerate(found.labels)
        ],
        "average_run": _rows(found.reference),
        "figure": None if found.figure is None else str(found.figure),
        "notes": list(found.notes),
    }
    return json_text(told, indent=2) + "\n"


def write_verification(found: Verification, path: Path) -> None:
    """Write the numbers to ``path``. Raises ``ResourceError`` if it can't be written."""
    with written_whole(path) as aside:
        aside.write_text(to_json(found), encoding="utf-8")


def verification_table(found: Verification) -> Table:
    """The test examples that ended furthest from the average recorded run, and those that the prediction missed most."""
    predicted, recorded, reference = found.finals()
    level = LEVEL if LEVEL in found.intervals else max(found.intervals, default=0.0)
    spans = _spans(found, level)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False)
    name = found.metric.name
    headings = (
        f"P({name} = 1)" if found.binary else f"predicted {name}",
        *((f"{level:.0%} interval",) if spans else ()),
    )
    table.add_column("test example")
    for heading in (*headings, "recorded", "average run", "error"):
        table.add_column(heading, justify="right")
    for title, size in (("changed most", recorded - reference), ("missed most", predicted - recorded)):
        places = [int(place) for place in np.argsort(-np.abs(size), kind="stable") if math.isfinite(size[place])]
        if places:
            table.add_row(Text(title, style="bold"))
        for place in places[:SHOWN]:
            numbers = [f"{predicted[place]:.4g}", *(spans[place : place + 1]), f"{recorded[place]:.4g}"]
            was = NOTHING if math.isnan(reference[place]) else f"{reference[place]:.4g}"
            error = f"{predicted[place] - recorded[place]:+.3g}"
            table.add_row(Text(f"  {written_id(found.tests[place])}"), *numbers, was, error)
    return table


def verification_figure(found: Verification) -> "Figure":
    """The figure: predicted and recorded, the mean over test examples and those that changed most."""
    _, recorded, reference = found.finals()
    size = np.abs(recorded - reference)
    order = [int(place) for place in np.argsort(-size, kind="stable") if math.isfinite(size[place])]
    shown = [(found.tests[place], place, "changed most") for place in order[:DRAWN]]
    return simulation_figure(
        steps=found.steps,
        values=found.predicted,
        intervals={} if found.binary else found.intervals,
        reference=found.reference,
        recorded=found.recorded,
        shown=shown,
        title=f"{found.estimator} against a real training: {found.what}",
        against="the average recorded run",
        metric=found.metric,
    )


def draw_verification(found: Verification, path: Path) -> None:
    """Write ``verification_figure``. Raises ``UsageError`` for a suffix that names no picture, ``ResourceError`` if it can't be written."""
    save_figure(verification_figure(found), path)


def _spans(found: Verification, level: float) -> list[str]:
    if not found.intervals or found.binary:
        return []
    low, high = (bound[:, found.last].mean(axis=0) for bound in found.intervals[level])
    return [f"{one:.4g} to {other:.4g}" for one, other in zip(low, high, strict=True)]


def _rows(values: Float[np.ndarray, "recorded test"]) -> list[list[float | None]]:
    return [[_number(value) for value in row] for row in values.tolist()]


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
