"""The comparison as a table: for the terminal, for programs and for papers."""

import csv
import io
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gptfl.errors import UsageError
from gptfl.report.cells import NOTHING, TITLES, number, seconds, short_power, spread
from gptfl.report.notes import spanned
from gptfl.scores.comparison import FEWEST_CLEAR, SCORES, Comparison, Row, Value
from gptfl.scores.lds import FEWEST_RUNS, RELIABLE_RUNS, comparable
from gptfl.store.whole import written_whole

ORACLE = "†"
"""Marks the rows of estimators that looked along the runs that they predict."""
LONGEST = 14
WIDTH = 80
"""Columns of a terminal; where cells are wide, the gaps between them shrink to keep to it."""


def setting(comparison: Comparison) -> str:
    """What was compared on what, in one line."""
    name = f"{comparison.metric.name} of {comparison.recording}"
    if comparison.folds is None:
        runs = f"fitted on {comparison.fit_runs} runs (validated on {comparison.validation_runs})"
        return f"{name}: {runs}, tested on {comparison.runs}{_unseen(comparison)}"
    return f"{name}: {comparison.folds} folds over {comparison.runs} runs{_unseen(comparison)}"


def _unseen(comparison: Comparison) -> str:
    counts = {"training": "train", "test": "test"}
    told = [(noun, len((comparison.unseen or {}).get(side, ()))) for noun, side in counts.items()]
    parts = [f"{count} unseen {noun} examples" for noun, count in told if count]
    return f", {' and '.join(parts)}" if parts else ""


def footnotes(comparison: Comparison, best: str = "Bold") -> list[str]:
    """What a reader must know to read the table right; ``best`` says how the table marks the clear best."""
    within = "" if comparison.folds is None else ", each less its mean over the runs that the same fold held out"
    notes = [
        "MSE, MAE: over all steps after the first, ± standard deviation over runs. "
        "Final ρ: Spearman across test examples within a run, which knowing the test examples is enough to win.",
        "Skill: 1 - SSE / SSE of mean-run, the average training run. LDS: for each test example, Spearman across "
        f"held-out runs between predicted and recorded value at the final step{within}. It takes single runs, where "
        "TRAK's averages over seeds; the two aren't comparable.",
        "Brackets: 95 % bootstrap intervals over runs.",
    ]
    if (comparison.unseen or {}).get("test"):
        notes.append(
            "Only the unseen test examples are scored. Mean-run gives them the average change of the others, "
            "regressed on the first score."
        )
    compared = comparable(comparison.held_out.peers)
    if comparison.runs < FEWEST_RUNS:
        noun = "run" if comparison.runs == 1 else "runs"
        notes.append(f"LDS is not shown for {comparison.runs} held-out {noun}; it takes {FEWEST_RUNS}.")
    elif compared < FEWEST_RUNS:
        fewer = "" if comparison.folds is None else "; fewer folds would do"
        notes.append(
            f"LDS is not shown: it compares runs held out together that end at the same step, and only {compared} of "
            f"{comparison.runs} have another to be compared with, where it takes {FEWEST_RUNS}{fewer}."
        )
    elif compared < RELIABLE_RUNS:
        notes.append(f"? LDS of fewer than {RELIABLE_RUNS} held-out runs is unreliable.")
    if comparison.runs < FEWEST_CLEAR:
        notes.append(f"No best is marked with fewer than {FEWEST_CLEAR} held-out runs; more runs or folds would.")
    else:
        notes.append(f"{best}: best, by paired differences to all others whose intervals exclude 0.")
    if any(row.by_task for row in comparison.rows):
        notes.append(
            "Below each estimator, its scores on each task of the mixture. Above them, MSE, MAE and final ρ are the means "
            "of the tasks' own, as in the paper; LDS and skill take all test examples together."
        )
    if any(row.oracle for row in comparison.rows):
        notes.append(
            f"{ORACLE} Oracle: it looked along the very runs that it predicts, which no prediction of a run that was "
            "not made can do. It is never marked best."
        )
    kept = [row.estimator for row in comparison.rows if row.reused]
    if kept:
        notes.append(f"Taken from earlier fits: {', '.join(kept)}.")
    notes += [f"{row.estimator} failed: {row.error}" for row in comparison.rows if row.error]
    alike: dict[str, list[str]] = {}
    for name, reason in comparison.left_out.items():
        alike.setdefault(reason.removeprefix(f"{name} "), []).append(name)
    notes += [f"{', '.join(names)} left out: {reason}" for reason, names in alike.items()]
    for row in comparison.rows:
        name = row.name or row.estimator
        told = (note.removeprefix(name) if note.startswith(name) else f": {note}" for note in spanned(row.notes))
        notes += [f"{row.estimator}{rest}" for rest in told]
    return [*notes, *comparison.notes]


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
        table.add_row(Text(_in_lines(row)), *cells, Text(seconds(row)))
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
        table.add_row(Text(_label(row)), short_power(f"{cost.seconds:.2g}"), flops, seconds(row))
    return table


def _label(row: Row) -> str:
    return f"{row.estimator} {ORACLE}" if row.oracle else row.estimator


def _in_lines(row: Row) -> str:
    """The label, a long name broken behind a hyphen and each setting on a line: rows have two lines anyway."""
    name, bracket, told = row.estimator.partition(" (")
    mark = f" {ORACLE}" if row.oracle else ""
    lines = (name + mark) if len(name + mark) <= LONGEST else name.replace("-", "-\n", 1) + mark
    return lines + ("\n(" + told.replace(", ", ",\n ") if bracket else "")


def _cell(row: Row, name: str) -> Text:
    value = row.scores.get(name)
    if value is None:
        return Text(NOTHING, style="dim")
    best = name in row.best
    # Logs and pipes show no bold.
    text = Text(_marked(row, name, value) + "*" * best, style="bold" if best else "")
    below = spread(name, value)
    return Text.assemble(text, "\n", Text(below, style="dim")) if below else text


def _short_cell(row: Row, name: str) -> Text:
    """One line, for a mixture has many: the spread is in the other formats."""
    value = row.scores.get(name)
    return Text(NOTHING if value is None else _marked(row, name, value), style="dim")


def _marked(row: Row, name: str, value: Value) -> str:
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
        "estimators": [_row_dict(row) for row in comparison.rows],
        "left_out": dict(comparison.left_out),
        "notes": list(comparison.notes),
        "definitions": footnotes(comparison)[:3],
        "figure": None if comparison.figure is None else str(comparison.figure),
    }


def _row_dict(row: Row) -> dict[str, Any]:
    return {
        "estimator": row.estimator,
        "name": row.name or row.estimator,
        "oracle": row.oracle,
        "scores": _scores_dict(row.scores),
        "by_task": {task: _scores_dict(scores) for task, scores in row.by_task.items()},
        "lds_reliable": row.lds_reliable,
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
    return json.dumps(_finite(to_dict(comparison)), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def to_csv(comparison: Comparison) -> str:
    """One line an estimator; each score has its value, its std or its interval's bounds; oracles are told apart.

    A mixture has a column more, the task: a line for all, and one for each.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    spreads = {name: ("low", "high") if name in ("lds", "skill") else ("std",) for name in SCORES}
    header = [column for name in SCORES for column in (name, *(f"{name}_{part}" for part in spreads[name]))]
    costs = any(row.cost is not None for row in comparison.rows)
    more = ["trajectory_seconds", "trajectory_flops"] if costs else []
    mixed = any(row.by_task for row in comparison.rows)
    writer.writerow(
        ["estimator", *(["task"] if mixed else []), *header, "clearly_best", "seconds", "error", "oracle", *more]
    )
    lines = [(task, one) for row in comparison.rows for task, one in (("all", row), *row.of_tasks().items())]
    for task, row in lines:
        cells: list[Any] = [task] if mixed else []
        for name in SCORES:
            value = row.scores.get(name)
            parts = (None,) * len(spreads[name]) if value is None else (value.interval or (value.std,))
            cells += [None if value is None else value.value, *parts]
        best, oracle = " ".join(sorted(row.best)), "yes" if row.oracle else ""
        cost = [] if not costs else [row.cost and row.cost.seconds, row.cost and row.cost.flops]
        writer.writerow([row.estimator, *cells, best, round(row.seconds, 3), row.error, oracle, *cost])
    return out.getvalue()


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "ρ": r"$\rho$",
    ORACLE: r"\textdagger{}",
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
        lines.append(rf"    {latex_escaped(_label(row))} & {cells} \\")
        for task, own in row.of_tasks().items():
            cells = " & ".join(_latex_cell(own, name) for name in SCORES)
            lines.append(rf"    \quad {latex_escaped(task)} & {cells} \\")
    notes = " ".join(footnotes(comparison))
    lines += [r"    \bottomrule", r"  \end{tabular}", rf"  \par\footnotesize {latex_escaped(notes)}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def _latex_cell(row: Row, name: str) -> str:
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
    with written_whole(path) as aside:
        aside.write_text(text, encoding="utf-8")


def check_format(path: Path) -> None:
    """Raise ``UsageError`` unless the suffix names a format."""
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"{path} has no known suffix", f"end it in {', '.join(FORMATS)}")
