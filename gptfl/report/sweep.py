"""A sweep as a table and as the figure of an ablation: each score against the value that varies."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table
from rich.text import Text

from gptfl.core.texts import json_text
from gptfl.errors import UsageError
from gptfl.report.cells import NOTHING, TITLES, csv_of, number, seconds, spread
from gptfl.report.comparison_plot import COLOURS, DASHES, MARKERS, MEAN_RUN
from gptfl.report.footnotes import footnotes, setting
from gptfl.report.pictures import new_figure, save_figure
from gptfl.scores.comparison import LOWER_IS_BETTER, SCORES, ScoreRow
from gptfl.scores.sweep import Sweep
from gptfl.store.outputs import written_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANELS = ("mse", "rho", "skill", "lds")
MOST_LINES = 9
"""The first axis runs along x, and so many combinations of the others are told apart as lines."""
FORMATS = (".json", ".csv")


def check_sweep_format(path: Path) -> None:
    """Raise ``UsageError`` unless the suffix names a table's format."""
    if path.suffix not in FORMATS:
        raise UsageError(f"--output {path} is no table of a sweep", f"let its name end in {' or '.join(FORMATS)}")


def sweep_table(sweep: Sweep) -> Table:
    """The table for the terminal: a line a combination."""
    first = sweep.points[0].comparison
    table = Table(
        title=Text(f"{sweep.estimator}; {setting(first)}"),
        caption=Text(
            "\n".join(
                [*footnotes(first)[:3], "mean-run's MSE stands beside, for it is what skill is against.", *first.notes]
            )
        ),
        caption_justify="left",
        title_justify="left",
        box=box.SIMPLE_HEAD,
    )
    for axis in sweep.axes:
        table.add_column(axis)
    for name in SCORES:
        table.add_column(TITLES[name], justify="right")
    table.add_column("mean-run MSE", justify="right")
    table.add_column("fit s", justify="right")
    for point in sweep.points:
        cells = [Text(str(point.values[axis])) for axis in sweep.axes]
        for name in SCORES:
            value = point.row.scores.get(name)
            cells.append(
                Text(NOTHING if value is None else f"{number(name, value.value)} {spread(name, value)}".strip())
            )
        reference = reference_mse(point.comparison.rows)
        cells += [Text(NOTHING if reference is None else number("mse", reference)), Text(seconds(point.row))]
        table.add_row(*cells)
    return table


def reference_mse(rows: tuple[ScoreRow, ...]) -> float | None:
    """What mean-run scores on the same runs and steps."""
    found = [row.scores["mse"].value for row in rows if row.name == "mean-run" and "mse" in row.scores]
    return found[0] if found else None


def records(sweep: Sweep) -> list[dict[str, Any]]:
    """A flat mapping for each combination: the values, every score with its spread, and the fit's seconds."""
    found = []
    for point in sweep.points:
        record: dict[str, Any] = {"estimator": sweep.estimator, **point.values}
        for name in SCORES:
            value = point.row.scores.get(name)
            low, high = (None, None) if value is None or value.interval is None else value.interval
            record[name] = None if value is None else value.value
            record[f"{name}_std"] = None if value is None else value.std
            record[f"{name}_low"], record[f"{name}_high"] = low, high
        record["mean_run_mse"] = reference_mse(point.comparison.rows)
        record["seconds"] = point.row.seconds
        found.append(record)
    return found


def sweep_json(sweep: Sweep) -> str:
    """The sweep for programs."""
    first = sweep.points[0].comparison
    return json_text(
        {
            "recording": first.recording,
            "estimator": sweep.estimator,
            "axes": {axis: list(values) for axis, values in sweep.axes.items()},
            "metric": first.metric.name,
            "folds": first.folds,
            "held_out_runs": first.runs,
            "seed": first.seed,
            "points": records(sweep),
            "notes": list(first.notes),
        },
        indent=2,
    )


def sweep_csv(sweep: Sweep) -> str:
    """One line a combination."""
    return csv_of(records(sweep))


def write_sweep(sweep: Sweep, path: Path) -> None:
    """Write the table in the format that the suffix names."""
    check_sweep_format(path)
    text = sweep_json(sweep) + "\n" if path.suffix == ".json" else sweep_csv(sweep)
    with written_whole(path) as part:
        part.write_text(text, encoding="utf-8")


def sweep_figure(sweep: Sweep) -> "Figure":
    """Draw each score against the first axis, a line for each combination of the others, beside mean-run's."""
    axis, *others = sweep.axes
    lines: dict[str, list[int]] = {}
    for place, point in enumerate(sweep.points):
        lines.setdefault(_line(point.values, others), []).append(place)
    ticks = list(sweep.axes[axis])
    drawn = [name for name in PANELS if any(name in point.row.scores for point in sweep.points)]
    figure = new_figure(3.4 * len(drawn), 3.4)
    panels = figure.subplots(1, len(drawn), squeeze=False)[0]
    for name, panel in zip(drawn, panels, strict=True):
        for count, (label, places) in enumerate(list(lines.items())[:MOST_LINES]):
            known = [place for place in places if name in sweep.points[place].row.scores]
            values = [sweep.points[place].row.scores[name] for place in known]
            heights = [value.value for value in values]
            at = [ticks.index(sweep.points[place].values[axis]) for place in known]
            bounds = [(v.value - v.interval[0], v.interval[1] - v.value) if v.interval else (0.0, 0.0) for v in values]
            panel.errorbar(
                at,
                heights,
                yerr=[[max(low, 0.0) for low, _ in bounds], [max(high, 0.0) for _, high in bounds]],
                color=COLOURS[count % len(COLOURS)],
                linestyle=DASHES[count // len(COLOURS) % len(DASHES)],
                marker=MARKERS[count % len(MARKERS)],
                capsize=2,
                label=label or sweep.estimator,
            )
        _reference(sweep, name, axis, ticks, panel)
        better = "lower" if name in LOWER_IS_BETTER else "higher"
        panel.set_title(f"{TITLES[name]} ({better} is better)", fontsize=9)
        panel.set_xticks(range(len(ticks)), [str(tick) for tick in ticks])
        panel.set_xlabel(axis)
        panel.grid(alpha=0.3)
    panels[0].legend(fontsize=8)
    figure.suptitle(f"{sweep.estimator}: {sweep.points[0].comparison.metric.name}", fontsize=10)
    return figure


def draw_sweep(sweep: Sweep, path: Path) -> None:
    """Write ``sweep_figure``. Raises ``UsageError`` for a suffix that names no picture, ``ResourceError`` if it can't be written."""
    save_figure(sweep_figure(sweep), path)


def _reference(sweep: Sweep, name: str, axis: str, ticks: list[Any], panel: Any) -> None:
    """mean-run's own score at each tick, in grey."""
    heights: dict[int, float] = {}
    for point in sweep.points:
        for row in point.comparison.rows:
            if row.name == "mean-run" and name in row.scores:
                heights.setdefault(ticks.index(point.values[axis]), row.scores[name].value)
    if heights:
        panel.plot(sorted(heights), [heights[at] for at in sorted(heights)], color=MEAN_RUN, lw=1, label="mean-run")


def _line(values: Mapping[str, Any], axes: list[str]) -> str:
    return ", ".join(f"{axis}={values[axis]}" for axis in axes)
