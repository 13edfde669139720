"""Scores over the number of runs that were fitted to, and over what recording them took: table, files and figure."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from gptfl.core.texts import counted, json_text
from gptfl.report.cells import NOTHING, TITLES, csv_of, number, seconds, spread
from gptfl.report.comparison import LONGEST
from gptfl.report.comparison_plot import COLOURS, DASHES, MARKERS, MEAN_RUN
from gptfl.report.footnotes import tops
from gptfl.report.pictures import drawn_text, new_figure, save_figure
from gptfl.report.sweep import check_sweep_format
from gptfl.scores.bootstrap import METHOD
from gptfl.scores.comparison import SCORES, ScoreRow, Value
from gptfl.scores.sweep import RunsPoint, RunsSweep
from gptfl.store.outputs import written_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


DRAWN = ("skill", "lds")
SHOWN = ("mse", "rho", "lds", "skill")
"""The scores of the table; the files have all."""
FLOOR = -1.0
"""Worse scores lie below the panel: they tell no more than that the estimator is far off."""
NAIVE = ("mean-run", "class-share")
"""The naive estimators that are drawn, in grey."""
Drawn = tuple[RunsPoint, ScoreRow, Value]


def notes_of(sweep: RunsSweep) -> list[str]:
    """What a reader must know to read the numbers right."""
    notes = [
        f"Held out at every point: the same {counted(len(sweep.held_out), 'run')}. Skill is against the mean of all "
        f"{sweep.fittable} runs that may be fitted to, so that points compare.",
        "±: standard deviation over groups of runs, where there are several, else over held-out runs. Brackets: 95 % "
        "bootstrap intervals over held-out runs.",
    ]
    if sweep.ceiling is not None:
        notes.append(f"Order-noise ceiling: {tops(sweep.ceiling)}.")
    failed = {f"{row.estimator} failed: {row.error}" for point in sweep.points for row in point.rows if row.error}
    return [*notes, *sorted(failed), *sweep.notes]


def runs_table(sweep: RunsSweep) -> Table:
    """The table for the terminal: a line for each estimator and number of runs."""
    table = Table(
        title=Text(f"{sweep.metric.name} of {sweep.recording}, by the number of runs fitted to"),
        caption=Text("\n".join(notes_of(sweep))),
        caption_justify="left",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("estimator", overflow="fold", min_width=LONGEST)
    for head in ("runs", *(TITLES[name] for name in SHOWN), "fit s"):
        table.add_column(head, justify="right", no_wrap=True)
    for label in _labels(sweep):
        for point in () if label == "persistence" else sweep.points:  # it learns nothing
            row = _row(point, label)
            cells = [label.replace(" (", "\n("), str(point.runs)]
            for name in SHOWN:
                value = row.scores.get(name)
                cell = NOTHING if value is None else f"{number(name, value.value)}\n{spread(name, value)}"
                cells.append(cell.rstrip())
            table.add_row(*map(Text, (*cells, seconds(row))))
    return table


def _labels(sweep: RunsSweep) -> list[str]:
    return [row.estimator for row in sweep.points[0].rows]


def _row(point: RunsPoint, label: str) -> ScoreRow:
    return next(row for row in point.rows if row.estimator == label)


def runs_records(sweep: RunsSweep) -> list[dict[str, Any]]:
    """A flat mapping for each estimator and number of runs: scores with their spread, and what recording takes."""
    found = []
    for label in _labels(sweep):
        for point in sweep.points:
            row = _row(point, label)
            record: dict[str, Any] = {
                "estimator": label,
                "name": row.name,
                "encoder": row.encoder,
                "runs": point.runs,
                "groups": point.groups,
            }
            for name in SCORES:
                value = row.scores.get(name)
                low, high = (None, None) if value is None or value.interval is None else value.interval
                record[name] = None if value is None else value.value
                record[f"{name}_std"] = None if value is None else value.std
                record[f"{name}_low"], record[f"{name}_high"] = low, high
            record |= {"recording_seconds": sweep.cost(point, label), "seconds": row.seconds, "error": row.error}
            found.append(record)
    return found


def runs_json(sweep: RunsSweep) -> str:
    """The sweep for programs."""
    document = {
        "recording": sweep.recording,
        "estimators": list(sweep.estimators),
        "axes": {"runs": [point.runs for point in sweep.points]},
        "metric": sweep.metric.name,
        "fittable_runs": sweep.fittable,
        "held_out": list(sweep.held_out),
        "seed": sweep.seed,
        "run_seconds": sweep.run_seconds,
        "feature_seconds": dict(sweep.beside),
        **({} if sweep.ceiling is None else {"ceiling": sweep.ceiling.to_json()}),
        "interval_method": METHOD,
        "points": runs_records(sweep),
        "notes": list(sweep.notes),
    }
    return json_text(document, indent=2)


def runs_csv(sweep: RunsSweep) -> str:
    """One line an estimator and number of runs."""
    return csv_of(runs_records(sweep))


def write_runs_sweep(sweep: RunsSweep, path: Path) -> None:
    """Write the table in the format that the suffix names."""
    check_sweep_format(path)
    text = runs_json(sweep) + "\n" if path.suffix == ".json" else runs_csv(sweep)
    with written_whole(path) as part:
        part.write_text(text, encoding="utf-8")


def runs_sweep_figure(sweep: RunsSweep) -> "Figure":
    """Draw skill and LDS over the number of runs and, where it is known, over the seconds that recording takes."""
    drawn = [name for name in DRAWN if any(name in row.scores for point in sweep.points for row in point.rows)]
    over = ["runs"] if sweep.run_seconds is None else ["runs", "seconds"]
    figure = new_figure(4.4 * max(1, len(drawn)), 3.4 * len(over))
    panels = figure.subplots(len(over), max(1, len(drawn)), squeeze=False)
    for line, axis in enumerate(over):
        for column, name in enumerate(drawn):
            _draw_panel(sweep, name, axis, panels[line][column])
    panels[0][0].legend(fontsize=8)
    figure.suptitle(
        f"{sweep.metric.name} of {counted(len(sweep.held_out), 'held-out run')} by runs fitted to\n"
        f"{drawn_text(sweep.recording)}",
        fontsize=10,
    )
    return figure


def draw_runs_sweep(sweep: RunsSweep, path: Path) -> None:
    """Write ``runs_sweep_figure``. Raises ``UsageError`` for a suffix that names no picture, ``ResourceError`` if it can't be written."""
    save_figure(runs_sweep_figure(sweep), path)


def _draw_panel(sweep: RunsSweep, name: str, over: str, panel: "Axes") -> None:
    lowest = 0.0
    for count, label in enumerate(label for label in _labels(sweep) if label in sweep.estimators):
        style = {
            "color": COLOURS[count % len(COLOURS)],
            "linestyle": DASHES[count // len(COLOURS) % len(DASHES)],
            "marker": MARKERS[count % len(MARKERS)],
        }
        lowest = min(lowest, _draw_line(sweep, name, over, label, panel, **style))
    for label, style_of in zip(NAIVE, ("-", ":"), strict=True):
        if label in _labels(sweep) and label not in sweep.estimators:
            lowest = min(lowest, _draw_line(sweep, name, over, label, panel, color=MEAN_RUN, linestyle=style_of))
    top = None if sweep.ceiling is None else getattr(sweep.ceiling, name)
    if top is not None:
        panel.axhline(top, color="black", lw=0.8, ls="--", label="order-noise ceiling")
        bounds = getattr(sweep.ceiling, f"{name}_interval")
        if bounds is not None:
            panel.axhspan(*np.clip(bounds, FLOOR, 1.02), color="black", alpha=0.08, lw=0)
    panel.set_ylim(max(FLOOR, lowest - 0.1), 1.02)
    cut = f", cut at {FLOOR:g}" if lowest < FLOOR else ""
    panel.set_title(f"{TITLES[name]} (higher is better{cut})", fontsize=9)
    panel.set_xscale("log")
    if over == "runs":
        counts = [point.runs for point in sweep.points]
        panel.set_xticks(counts, [str(count) for count in counts])
        panel.set_xticks([], minor=True)
        panel.set_xlabel("runs fitted to")
    else:
        least, most = panel.get_xlim()
        ticks = [m * 10**e for e in range(-3, 9) for m in (1, 2, 5) if least <= m * 10**e <= most]
        panel.set_xticks(ticks, [f"{tick:,g}" for tick in ticks])
        panel.set_xlabel("seconds to record (runs and gradients)")
        panel.set_xticks([], minor=True)
    panel.grid(alpha=0.3)


def _draw_line(sweep: RunsSweep, name: str, over: str, label: str, panel: "Axes", **style: Any) -> float:
    """Draw one estimator's scores with their spread; the lowest of them."""
    known = _known(sweep, name, label)
    if not known:
        return 0.0
    at = [float(point.runs) if over == "runs" else sweep.cost(point, label) or 0.0 for point, _, _ in known]
    bounds = [_reach(value) for _, _, value in known]
    heights = [value.value for _, _, value in known]
    reach = [[low for low, _ in bounds], [high for _, high in bounds]]
    naive = label not in sweep.estimators
    panel.errorbar(at, heights, yerr=None if naive else reach, capsize=2, label=label, **style)
    return min(heights)


def _known(sweep: RunsSweep, name: str, label: str) -> Sequence[Drawn]:
    found = [(point, row, row.scores.get(name)) for point in sweep.points for row in [_row(point, label)]]
    ordered = sorted(found, key=lambda one: one[0].runs)
    return [(point, row, value) for point, row, value in ordered if value is not None]


def _reach(value: Value) -> tuple[float, float]:
    """How far error bars go down and up: to the interval's ends, else one standard deviation over groups."""
    if value.interval is not None:
        return max(0.0, value.value - value.interval[0]), max(0.0, value.interval[1] - value.value)
    return (value.std or 0.0, value.std or 0.0)
