"""What a prediction comes to when it is carried out: the numbers, the table and the picture."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from rich import box
from rich.table import Table
from rich.text import Text

from gptfl.core.texts import counted, json_text, parse_json, written_id
from gptfl.evaluation.verification import PairedDifference, Verification
from gptfl.report.calibration import coverage_dict, percent
from gptfl.report.cells import NOTHING
from gptfl.report.number_scale import NumberScale
from gptfl.report.pictures import save_figure
from gptfl.report.plain import with_plain
from gptfl.report.simulation_plot import LEVEL, simulation_figure
from gptfl.store.outputs import written_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_BYTES = 64 * 2**20
"""No verification that is read again is larger."""
SHOWN = 5
"""How many test examples the table lists: those that ended furthest from what is compared, and those missed most."""
DRAWN = 4
"""How many of them the picture has, half of each kind."""
SAID = {
    "better": "better, clear of noise",
    "worse": "worse, clear of noise",
    "not clear": "not clear of noise",
    "one pair": "how much of it is noise isn't known (--orders)",
}
"""What the verdicts of pairs say."""
CHANGED, MISSED, BOTH = "changed most", "missed most", "changed and missed most"


def to_json(found: Verification) -> str:
    """Everything, every training's trajectories among it; numbers that aren't known are null."""
    predicted, recorded, reference = found.finals()
    ours, truth, was = found.means()
    document: dict[str, Any] = {
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
        "paired": None if found.paired is None else _paired(found.paired),
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
    return json_text(with_plain(found, document), indent=2) + "\n"


def _paired(paired: PairedDifference) -> dict[str, Any]:
    return {
        "against": paired.against,
        "recorded": _number(paired.mean),
        "change": paired.change,
        "standard_error": paired.standard_error,
        "interval": None if paired.interval is None else list(paired.interval),
        "verdict": paired.verdict,
        "changes": list(paired.changes),
        "predicted_change": paired.predicted_change,
        "predicted_intervals": {f"{level:g}": list(ends) for level, ends in paired.predicted_intervals.items()},
        "runs": [
            {
                "label": label,
                "predicted": _rows(paired.predicted[run]),
                "recorded": _rows(paired.recorded[run]),
                "batches": [list(batch) for batch in paired.batches[run]],
            }
            for run, label in enumerate(paired.labels)
        ],
    }


def paired_pairs(paired: PairedDifference) -> dict[str, str]:
    """What pairs of trainings came to, by line: against what, the recorded change and whether it is clear, the predicted."""
    count = len(paired.changes)
    of = counted(count, "pair")
    found = {"against": f"{paired.mean:.4g}, {paired.against}, trained in the same orders"}
    recorded = f"{paired.change:+.3g}"
    if paired.interval is not None and paired.standard_error is not None:
        low, high = paired.interval
        recorded += f" [{low:+.3g}, {high:+.3g}], standard error {paired.standard_error:.2g}"
    found["recorded change"] = f"{recorded}, {of}: {SAID.get(paired.verdict, paired.verdict)}"
    predicted = f"{paired.predicted_change:+.3g}"
    if LEVEL in paired.predicted_intervals:
        low, high = paired.predicted_intervals[LEVEL]
        predicted += f" [{low:+.3g}, {high:+.3g}]"
    found["predicted change"] = predicted
    return found


def verification_pairs(found: Verification) -> dict[str, str]:
    """What a verification comes to, by line: the mean predicted, recorded and of the average run, and the scores."""
    predicted, recorded, reference = (NOTHING if mean is None else f"{mean:.4g}" for mean in found.means())
    pairs = {
        "predicted": f"{predicted} by {found.estimator}, mean of {counted(len(found.tests), 'test example')}",
        "recorded": recorded,
        "average run": reference,
        **({} if found.paired is None else paired_pairs(found.paired)),
        "MSE": f"{found.mse:.3g}, over all steps after the first",
        "final ρ": f"{found.rho:.3f}, across test examples",
    }
    if found.binary:
        pairs["MSE"] += f"; the Brier score of the probabilities of {found.metric.name} 1"
    if found.skill is not None:
        pairs["skill"] = f"{found.skill:.2f} (0: as good as the average run, 1: perfect)"
    for level, one in found.coverage.items():
        pairs[f"inside {percent(level)}"] = f"{percent(one.share)} of {one.points} recorded points"
    return pairs


def trainings(found: Verification) -> str:
    """How many trainings there were, in words: those of the other set count."""
    return counted(len(found.labels) + (0 if found.paired is None else len(found.paired.labels)), "training")


def write_verification(found: Verification, path: Path) -> None:
    """Write the numbers to ``path``. Raises ``ResourceError`` if it can't be written."""
    with written_whole(path) as part:
        part.write_text(to_json(found), encoding="utf-8")


def read_verification(path: Path) -> dict[str, Any] | None:
    """What an earlier verification says in short: recording, metric, and how far its prediction was right.

    None for a file that isn't one of those that ``write_verification`` writes, or is too large to be one.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            return None
        found = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    texts, numbers = ("recording", "estimator", "metric", "what"), ("predicted", "recorded", "reference")
    if not isinstance(found, dict) or not all(isinstance(found.get(name), str) for name in texts):
        return None
    if not all(type(found.get(name)) in (int, float) for name in numbers):
        return None
    return {**{name: found[name] for name in (*texts, *numbers)}, "paired": _read_paired(found.get("paired"))}


def _read_paired(found: object) -> dict[str, Any] | None:
    """What an earlier verification says of pairs of trainings; None where it says nothing."""
    if not isinstance(found, dict):
        return None
    texts, numbers = ("against", "verdict"), ("change", "predicted_change")
    if not all(isinstance(found.get(name), str) for name in texts) or found["verdict"] not in SAID:
        return None
    if not all(type(found.get(name)) in (int, float) for name in numbers):
        return None
    ends = found.get("interval")
    is_pair = isinstance(ends, list) and len(ends) == 2 and all(type(one) in (int, float) for one in ends)
    changes = found.get("changes")
    pairs = len(changes) if isinstance(changes, list) else 0
    return {**{name: found[name] for name in (*texts, *numbers)}, "interval": ends if is_pair else None, "pairs": pairs}


def verification_table(found: Verification) -> Table:
    """The test examples that ended furthest from what the question is held against, and those that the prediction missed most."""
    predicted, recorded, _ = found.finals()
    reference = found.compared()[1][found.last]
    level = LEVEL if LEVEL in found.intervals else max(found.intervals, default=0.0)
    scale = NumberScale.of(reference if np.isfinite(reference).any() else recorded)
    spans = _spans(found, level, scale)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False)
    name = found.metric.name
    headings = (
        f"P({name} = 1)" if found.binary else f"predicted {name}",
        *((f"{level:.0%} interval",) if spans else ()),
    )
    table.add_column("test example")
    against = "average run" if found.paired is None else "against"
    for heading in (*headings, "recorded", against, "change", "error"):
        table.add_column(heading, justify="right")
    for title, size in ((CHANGED, recorded - reference), (MISSED, predicted - recorded)):
        places = _largest(size)
        if places:
            table.add_row(Text(title, style="bold"))
        for place in places[:SHOWN]:
            numbers = [scale.number(predicted[place]), *(spans[place : place + 1]), scale.number(recorded[place])]
            was = NOTHING if math.isnan(reference[place]) else scale.number(reference[place])
            change, error = recorded[place] - reference[place], predicted[place] - recorded[place]
            last = (NOTHING if math.isnan(change) else scale.number(change, "+.3g"), scale.number(error, "+.3g"))
            table.add_row(Text(f"  {written_id(found.tests[place])}"), *numbers, was, *last)
    return table


def verification_figure(found: Verification) -> "Figure":
    """The figure: predicted and recorded, the mean over test examples, those that changed most and those missed most."""
    predicted, recorded, _ = found.finals()
    against, trajectories = found.compared()
    reference = trajectories[found.last]
    shown: dict[int, str] = {}
    for word, size in ((CHANGED, recorded - reference), (MISSED, predicted - recorded)):
        for place in _largest(size)[: DRAWN // 2]:
            # One that did both would be drawn twice.
            shown[place] = BOTH if place in shown else word
    return simulation_figure(
        steps=found.steps,
        values=found.predicted,
        intervals={} if found.binary else found.intervals,
        reference=trajectories,
        recorded=found.recorded,
        shown=[(found.tests[place], place, word) for place, word in shown.items()],
        title=f"{found.estimator} against a real training: {found.what}",
        against=against,
        metric=found.metric,
    )


def draw_verification(found: Verification, path: Path) -> None:
    """Write ``verification_figure``. Raises ``UsageError`` for a suffix that names no picture, ``ResourceError`` if it can't be written."""
    save_figure(verification_figure(found), path)


def _spans(found: Verification, level: float, scale: NumberScale) -> list[str]:
    if not found.intervals or found.binary:
        return []
    low, high = (bound[:, found.last].mean(axis=0) for bound in found.intervals[level])
    return [scale.span(one, other) for one, other in zip(low, high, strict=True)]


def _largest(size: Float[np.ndarray, " test"]) -> list[int]:
    """The places of the largest sizes, whatever their sign, largest first; those that aren't known left out."""
    return [int(place) for place in np.argsort(-np.abs(size), kind="stable") if math.isfinite(size[place])]


def _rows(values: Float[np.ndarray, "recorded test"]) -> list[list[float | None]]:
    return [[_number(value) for value in row] for row in values.tolist()]


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
