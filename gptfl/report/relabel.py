"""What correcting labels in one order or another comes to: the picture, the table and the numbers."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from rich import box
from rich.table import Table
from rich.text import Text

from gptfl.core.texts import json_text
from gptfl.report.pictures import drawn_text, new_figure, save_figure
from gptfl.report.plain import with_plain
from gptfl.report.ranking import COLOURS, DASHES, RANDOM
from gptfl.store.outputs import written_whole
from gptfl.studies.results import RelabelStudy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PERFECT_ORDER, RANDOM_ORDER = "perfect order", "random order"


def to_json(study: RelabelStudy) -> str:
    """Everything, every repeat apart."""
    document: dict[str, Any] = {
        "recording": study.recording,
        "on": study.on,
        "pool": study.pool,
        "flipped": study.flips,
        "test": study.test,
        "steps": study.steps,
        "repeats": study.repeats,
        "shares": list(study.shares),
        "orders": [
            {
                "order": name,
                "found": study.found[place].tolist(),
                **{metric: values[place].tolist() for metric, values in study.values.items()},
            }
            for place, name in enumerate(study.orders)
        ],
        "figure": None if study.figure is None else str(study.figure),
        "notes": list(study.notes),
    }
    return json_text(with_plain(study, document), indent=2) + "\n"


def write_study(study: RelabelStudy, path: Path) -> None:
    """Write the numbers to ``path``. Raises ``ResourceError`` if it can't be written."""
    with written_whole(path) as part:
        part.write_text(to_json(study), encoding="utf-8")


def study_table(study: RelabelStudy, metric: str) -> Table:
    """One metric: a row an order of checking, a column a share checked, with the standard deviation over repeats."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("order of checking", no_wrap=True)
    for share in study.shares:
        table.add_column(f"{share:.0%}", justify="right", no_wrap=True)
    for name, rows in zip(study.orders, study.values[metric], strict=True):
        table.add_row(Text(name), *(_cell(values) for values in rows))
    return table


def _cell(values: Float[np.ndarray, " repeat"]) -> str:
    spread = f"\n±{values.std(ddof=1):.2g}" if len(values) > 1 else ""
    return f"{values.mean():.3f}{spread}"


def study_figure(study: RelabelStudy) -> "Figure":
    """The figure: a panel a metric, its end against the share of the pool checked and corrected.

    Bands are one standard deviation over repeats.
    """
    from matplotlib.ticker import PercentFormatter

    figure = new_figure(4.9 * len(study.values), 4.2)
    panels = figure.subplots(1, len(study.values), squeeze=False)[0]
    for axes, (metric, values) in zip(panels, study.values.items(), strict=True):
        number = 0
        for name, rows in zip(study.orders, values, strict=True):
            if name in (PERFECT_ORDER, RANDOM_ORDER):
                colour, dash = ("#000000", (0, (1, 2))) if name == PERFECT_ORDER else (RANDOM, "solid")
            else:
                colour, dash = COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)]
                number += 1
            mean = rows.mean(axis=1)
            axes.plot(study.shares, mean, color=colour, ls=dash, lw=1.8, marker="o", ms=3.5, label=drawn_text(name))
            if study.repeats > 1:
                spread = rows.std(axis=1, ddof=1)
                axes.fill_between(study.shares, mean - spread, mean + spread, color=colour, alpha=0.12, lw=0)
        better = "higher" if study.metrics[metric].higher_is_better else "lower"
        axes.set_ylabel(f"test {metric} at step {study.steps} ({better} is better)")
        axes.set_xlabel("share of training examples checked and corrected")
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, lw=0.6)
    panels[0].legend(fontsize=8, frameon=False)
    shared = f"{study.flips} of {study.pool} labels flipped, {study.repeats} trainings a point"
    figure.suptitle(drawn_text(f"{study.recording}: {shared}"), fontsize=10)
    return figure


def draw_study(study: RelabelStudy, path: Path) -> None:
    """Write ``study_figure``. Raises ``UsageError`` for a suffix that names no picture, ``ResourceError`` if it can't be written."""
    save_figure(study_figure(study), path)
