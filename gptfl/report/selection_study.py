"""What training on selected examples comes to, beside random ones and those of other estimators."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from gptfl.core.texts import json_text
from gptfl.report.pictures import drawn_text, new_figure, save_figure
from gptfl.report.plain import with_plain
from gptfl.report.ranking import COLOURS, RANDOM
from gptfl.scores.bootstrap import UNPAIRED_METHOD, is_clear
from gptfl.store.outputs import written_whole
from gptfl.studies.results import SelectionStudy, SelectorResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RANDOM_KIND = "random"


def to_json(study: SelectionStudy) -> str:
    """Everything, every training apart."""
    chosen, chance = study.kinds[0], study.kinds[-1]
    document: dict[str, Any] = {
        "recording": study.recording,
        "on": study.on,
        "size": study.size,
        "asked": study.targets,
        "scored": list(study.scored),
        "steps": study.steps,
        "seed": study.seed,
        "interval_method": UNPAIRED_METHOD,
        "kinds": [
            {
                "kind": kind.name,
                "subsets": [list(subset) for subset in kind.subsets],
                "values": {metric: values.tolist() for metric, values in kind.values.items()},
                "better_than_random": {
                    metric: _difference(study, metric, kind, chance) for metric in study.metrics if kind is not chance
                },
                "selected_better_than_this": {
                    metric: _difference(study, metric, chosen, kind) for metric in study.metrics if kind is not chosen
                },
            }
            for kind in study.kinds
        ],
        "figure": None if study.figure is None else str(study.figure),
        "notes": list(study.notes),
    }
    return json_text(with_plain(study, document), indent=2) + "\n"


def _difference(study: SelectionStudy, metric: str, kind: SelectorResult, than: SelectorResult) -> dict[str, Any]:
    mean, bounds = study.better(metric, kind, than)
    return {"by": mean, "interval": list(bounds), "clear": is_clear(bounds)}


def write_selection_study(study: SelectionStudy, path: Path) -> None:
    """Write the numbers to ``path``. Raises ``ResourceError`` if it can't be written."""
    with written_whole(path) as part:
        part.write_text(to_json(study), encoding="utf-8")


def selection_study_table(study: SelectionStudy, metric: str) -> Table:
    """One metric: a row a kind of subset, with its differences from random and from the selection studied."""
    chosen, chance = study.kinds[0], study.kinds[-1]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("subset", no_wrap=True)
    for heading in ("runs", metric, "better than\nrandom", "worse than\nselected"):
        table.add_column(heading, justify="right", no_wrap=True)
    for kind in study.kinds:
        values = kind.values[metric]
        spread = f"\n±{values.std(ddof=1):.2g}" if len(values) > 1 else ""
        table.add_row(
            Text(kind.name),
            str(len(values)),
            f"{values.mean():.4g}{spread}",
            "" if kind is chance else _cell(*study.better(metric, kind, chance)),
            "" if kind is chosen else _cell(*study.better(metric, chosen, kind)),
        )
    return table


def _cell(mean: float, bounds: tuple[float, float]) -> str:
    return f"{mean:+.3g}\n[{bounds[0]:+.2g}, {bounds[1]:+.2g}]"


def selection_study_figure(study: SelectionStudy) -> "Figure":
    """The figure: a panel a metric, a point a training, a bar at each mean."""
    width = max(3.6, 1.5 * len(study.kinds))
    figure = new_figure(width * len(study.metrics), 4.2)
    panels = figure.subplots(1, len(study.metrics), squeeze=False)[0]
    for axes, (metric, info) in zip(panels, study.metrics.items(), strict=True):
        for place, kind in enumerate(study.kinds):
            values = kind.values[metric]
            colour = RANDOM if kind is study.kinds[-1] else COLOURS[place % len(COLOURS)]
            # Points lie beside each other, in the order of the trainings.
            across = place + 0.3 * (np.arange(len(values)) / max(1, len(values) - 1) - 0.5) * (len(values) > 1)
            axes.scatter(across, values, s=16, color=colour, alpha=0.7, lw=0)
            axes.hlines(values.mean(), place - 0.28, place + 0.28, color=colour, lw=2)
        axes.set_xticks(range(len(study.kinds)), [drawn_text(kind.name).replace(" ", "\n", 2) for kind in study.kinds])
        axes.tick_params(axis="x", labelsize=8)
        axes.set_xlim(-0.6, len(study.kinds) - 0.4)
        axes.set_ylabel(f"{metric} at step {study.steps} ({'higher' if info.higher_is_better else 'lower'} is better)")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.25, lw=0.6)
    shared = f"{study.size} examples to train on, {len(study.scored)} unseen test examples"
    figure.suptitle(drawn_text(f"{study.recording}: {shared}"), fontsize=10)
    return figure


def draw_selection_study(study: SelectionStudy, path: Path) -> None:
    """Write ``selection_study_figure``. Raises ``UsageError`` for a suffix that names no picture, ``ResourceError`` if it can't be written."""
    save_figure(selection_study_figure(study), path)
