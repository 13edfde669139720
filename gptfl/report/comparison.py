"""The comparison as a table: for the terminal, for programs and for papers."""

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gptfl.core.texts import json_text
from gptfl.errors import UsageError
from gptfl.report.calibration import calibration_lines, coverage_cells, coverage_columns, coverage_dict
from gptfl.report.cells import NOTHING, TITLES, number, seconds, spread
from gptfl.report.footnotes import ORACLE, UNCONDITIONED, footnotes, label, marks, setting
from gptfl.report.number_scale import short_power
from gptfl.report.plain import with_plain
from gptfl.report.removals import removals_dict
from gptfl.scores.bootstrap import METHOD
from gptfl.scores.comparison import SCORES, Comparison, ScoreRow, Value
from gptfl.store.outputs import written_whole

LONGEST = 14
WIDTH = 80
"""Columns of a terminal; where cells are wide, the gaps between them shrink to keep to it."""


def rich_table(comparison: Comparison) -> Table:
    """The table for the terminal, 80 columns wide, with its footnotes as caption."""
    table = Table(
        title=Text(setting(comparison)),
        caption=Text("\n".join(footnotes(comparison, "* (bold)"))),
        caption_justify="left",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("estimator", overflow="fold", min_width=LONGEST)
    for name in SCORES:
        table.add_column(TITLES[name], justify="right", no_wrap=True)
    table.add_column("fit s", justify="right", no_wrap=True)
    for row in comparison.rows:
        cells = [_cell(row, name) for name in SCORES]
        table.add_row(Text(_in_lines(row, comparison)), *cells, Text(seconds(row)))
        for task, own in row.of_tasks().items():
            table.add_row(Text(f" {task}", style="dim"), *(_short_cell(own, name) for name in SCORES))
    roomy = Console(width=10 * WIDTH, file=io.StringIO())
    if roomy.measure(table).maximum > WIDTH:
        table.padding = 0
    return table


def cost_table(comparison: Comparison) -> Table | None:
    """Seconds and operations a simulated trajectory, for the terminal; None where they weren't measured."""
    known = [(row, row.cost) for row in comparison.rows if row.cost is not None]
    if not known:
        return None
    table = Table(
        title=Text("Cost of one simulated trajectory of one test example"),
        caption=Text(
            "Measured on this machine, many trajectories at a time. FLOPs: an estimator's own count, else those of its "
            f"matrix products; {NOTHING} where neither is known. What was recorded or embedded before is not in it."
        ),
        caption_justify="left",
        title_justify="left",
        box=box.SIMPLE_HEAD,
    )
    for head in ("estimator", "seconds", "FLOPs", "fit s"):
        table.add_column(head, justify="left" if head == "estimator" else "right")
    for row, cost in known:
        flops = NOTHING if cost.flops is None else short_power(f"{cost.flops:.2g}")
        table.add_row(Text(label(row, comparison)), short_power(f"{cost.seconds:.2g}"), flops, seconds(row))
    return table


def _in_lines(row: ScoreRow, comparison: Comparison) -> str:
    """The label, a long name broken behind a hyphen and each setting on a line: rows have two lines anyway."""
    name, bracket, settings = row.estimator.partition(" (")
    mark = "".join(f" {one}" for one in marks(row, comparison))
    lines = (name + mark) if len(name + mark) <= LONGEST else name.replace("-", "-\n", 1) + mark
    return lines + ("\n(" + settings.replace(", ", ",\n ") if bracket else "")


def _cell(row: ScoreRow, name: str) -> Text:
    value = row.scores.get(name)
    if value is None:
        return Text(NOTHING, style="dim")
    best = name in row.best
    # Logs and pipes show no bold.
    text = Text(_marked(row, name, value) + "*" * best, style="bold" if best else "")
    below = spread(name, value)
    return Text.assemble(text, "\n", Text(below, style="dim")) if below else text


def _short_cell(row: ScoreRow, name: str) -> Text:
    """One line, for a mixture has many: the spread is in the other formats."""
    value = row.scores.get(name)
    return Text(NOTHING if value is None else _marked(row, name, value), style="dim")


def _marked(row: ScoreRow, name: str, value: Value) -> str:
    doubtful = name == "lds" and not row.lds_reliable
    # Of predictions that don't differ between runs, LDS is 0 by definition, however few the runs.
    by_definition = value.value == 0 and value.interval == (0.0, 0.0)
    return number(name, value.value) + ("?" if doubtful and not by_definition else "")


def to_dict(comparison: Comparison) -> dict[str, Any]:
    """The whole table, JSON-able: every score by name with value, std and interval."""
    return {
        "recording": comparison.recording,
        "metric": comparison.metric.name,
        "runs": {
            "fit": comparison.fit_runs,
            "validation": comparison.validation_runs,
            "held_out": list(comparison.held_out.names),
        },
        "folds": comparison.folds,
        "seed": comparison.seed,
        **({} if comparison.unseen is None else {"unseen": dict(comparison.unseen)}),
        **({} if not comparison.observed else {"observed": comparison.observed}),
        **({} if comparison.ceiling is None else {"ceiling": comparison.ceiling.to_json()}),
        "interval_method": METHOD,
        "estimators": [_row_dict(row, comparison) for row in comparison.rows],
        "left_out": dict(comparison.left_out),
        "notes": list(comparison.notes),
        "definitions": footnotes(comparison)[:3],
        "figure": None if comparison.figure is None else str(comparison.figure),
    }


def _row_dict(row: ScoreRow, comparison: Comparison) -> dict[str, Any]:
    shares: dict[str, Any] = {}
    for score in ("skill", "lds"):
        share = row.shares.get(score)
        shares[f"{score}_share"] = None if share is None else share.value
        shares[f"{score}_share_interval"] = None if share is None else share.interval and list(share.interval)
    return {
        "estimator": row.estimator,
        "name": row.name or row.estimator,
        "oracle": row.oracle,
        "encoder": row.encoder,
        "scores": _scores_dict(row.scores),
        "by_task": {task: _scores_dict(scores) for task, scores in row.by_task.items()},
        "lds_reliable": row.lds_reliable,
        **({} if not row.skill_by_step else {"skill_by_step": {str(k): v for k, v in row.skill_by_step.items()}}),
        **({} if row.excess is None else {"excess": asdict(row.excess)}),
        **({} if row.removals is None else {"removals": removals_dict(row.removals)}),
        **({} if comparison.ceiling is None else shares),
        **({} if not row.coverage else {"coverage": coverage_dict(row.coverage)}),
        **(
            {"coverage_by_task": {task: coverage_dict(one) for task, one in row.coverage_by_task.items()}}
            if row.coverage_by_task
            else {}
        ),
        **({} if not comparison.observed else {"conditions": row.conditions}),
        "clearly_best": sorted(row.best),
        "settings": dict(row.settings),
        "seconds": round(row.seconds, 3),
        **({} if row.cost is None else {"cost": {"seconds": row.cost.seconds, "flops": row.cost.flops}}),
        "reused": row.reused,
        "notes": list(row.notes),
        "error": row.error,
    }


def _scores_dict(scores: Mapping[str, Value]) -> dict[str, Any]:
    return {
        name: {"value": value.value, "std": value.std, "interval": value.interval and list(value.interval)}
        for name, value in scores.items()
    }


def to_json(comparison: Comparison) -> str:
    """The table as JSON; numbers that are not finite are null."""
    return json_text(with_plain(comparison, to_dict(comparison)), indent=2) + "\n"


def records(comparison: Comparison) -> list[dict[str, Any]]:
    """One an estimator; each score has its value, its std or its interval's bounds; oracles are told apart.

    A mixture has a column more, the task: a record for all, and one for each.
    """
    costs = any(row.cost is not None for row in comparison.rows)
    levels = sorted({level for row in comparison.rows for level in row.coverage})
    mixed = any(row.by_task for row in comparison.rows)
    found = []
    for row in comparison.rows:
        for task, one in (("all", row), *row.of_tasks().items()):
            record: dict[str, Any] = {"estimator": one.estimator} | ({"task": task} if mixed else {})
            for name in SCORES:
                value = one.scores.get(name)
                record[name] = None if value is None else value.value
                if name in ("lds", "skill"):
                    low, high = (None, None) if value is None or value.interval is None else value.interval
                    record |= {f"{name}_low": low, f"{name}_high": high}
                else:
                    record[f"{name}_std"] = None if value is None else value.std
            record |= {"clearly_best": " ".join(sorted(one.best)), "seconds": one.seconds, "error": one.error}
            record["oracle"] = one.oracle
            if costs:
                record["trajectory_seconds"] = one.cost and one.cost.seconds
                record["trajectory_flops"] = one.cost and one.cost.flops
            record |= dict(zip(coverage_columns(levels), coverage_cells(one, levels), strict=True))
            if comparison.observed:
                record["conditions"] = one.conditions
            found.append(record)
    return found


def to_csv(comparison: Comparison) -> str:
    """The records, a line each."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    found = records(comparison)
    writer.writerow(found[0])
    for record in found:
        record["seconds"] = round(record["seconds"], 3)
        writer.writerow(("yes" if cell else "") if isinstance(cell, bool) else cell for cell in record.values())
    return out.getvalue()


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "ρ": r"$\rho$",
    ORACLE: r"\textdagger{}",
    UNCONDITIONED: r"\textdaggerdbl{}",
    "–": "--",
    "<": r"$<$",
    ">": r"$>$",
    "|": r"$|$",
    **{char: f"\\{char}" for char in "&%$#_{}"},
}


def latex_escaped(text: str) -> str:
    """Text that LaTeX sets as it reads."""
    return "".join(_LATEX.get(char, char) for char in text)


def to_latex(comparison: Comparison) -> str:
    r"""A ``table`` environment for the booktabs package, its notes below."""
    titles = " & ".join(latex_escaped(TITLES[name]) for name in SCORES)
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{latex_escaped(setting(comparison))}}}",
        rf"  \begin{{tabular}}{{l{'r' * len(SCORES)}}}",
        r"    \toprule",
        rf"    estimator & {titles} \\",
        r"    \midrule",
    ]
    for row in comparison.rows:
        cells = " & ".join(_latex_cell(row, name) for name in SCORES)
        lines.append(rf"    {latex_escaped(label(row, comparison))} & {cells} \\")
        for task, own in row.of_tasks().items():
            cells = " & ".join(_latex_cell(own, name) for name in SCORES)
            lines.append(rf"    \quad {latex_escaped(task)} & {cells} \\")
    notes = " ".join([*footnotes(comparison), *calibration_lines(comparison)])
    lines += [r"    \bottomrule", r"  \end{tabular}", rf"  \par\footnotesize {latex_escaped(notes)}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def _latex_cell(row: ScoreRow, name: str) -> str:
    value = row.scores.get(name)
    if value is None:
        return "--"
    text = latex_escaped(_marked(row, name, value))
    if name in row.best:
        text = rf"\textbf{{{text}}}"
    # Braces keep a bracket from being read as the optional argument of a preceding line break.
    below = latex_escaped(spread(name, value))
    return rf"{text} {{\footnotesize {below}}}" if below else text


FORMATS: dict[str, Callable[[Comparison], str]] = {".json": to_json, ".csv": to_csv, ".tex": to_latex}


def write_table(comparison: Comparison, path: Path) -> None:
    """Write the table in the format that the suffix names. Raises ``UsageError`` for another suffix."""
    check_format(path)
    text = FORMATS[path.suffix.lower()](comparison)
    with written_whole(path) as part:
        part.write_text(text, encoding="utf-8")


def check_format(path: Path) -> None:
    """Raise ``UsageError`` unless the suffix names a format."""
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"{path} has no known suffix", f"end it in {', '.join(FORMATS)}")
