"""What new rows do, as a table, as Markdown and as JSON."""

from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from gptfl.core.texts import json_text, shown_line
from gptfl.errors import UsageError
from gptfl.influence.additions import Check
from gptfl.influence.targets import LEVEL
from gptfl.interchange.apply_summary import escaped
from gptfl.store.outputs import written_whole

HEAD = "<!-- gptfl check -->"
"""How a page begins."""
COLUMNS = ("target", "influence", f"{LEVEL:.0%} interval", "novelty")


def check_page(path: Path) -> None:
    """Raise ``UsageError`` unless a path ends like a Markdown page."""
    if path.suffix.lower() != ".md":
        raise UsageError(f"--output {path} is no Markdown page", "end it in .md")


def meaning(check: Check) -> str:
    """What the numbers are, in a sentence."""
    better = "higher" if check.metric.higher_is_better else "lower"
    return (
        f"Positive: {check.metric.name} at the end is so much {better} with the {check.rows} new rows in the pool than without, "
        "the whole pool trained on by the recorded recipe and each new row seen as often as its rows."
    )


def cells(check: Check) -> list[tuple[str, ...]]:
    """The cells of each target."""
    return [
        (
            f"{shown_line(one.target)} ({one.tests})",
            f"{one.influence:+.3g}",
            f"{one.low:+.3g} to {one.high:+.3g}",
            f"{one.novelty:.2f}",
        )
        for one in check.additions
    ]


def check_table(check: Check) -> Table:
    """The table for the terminal."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False)
    for name in COLUMNS:
        table.add_column(name, justify="left" if name == "target" else "right")
    for row in cells(check):
        table.add_row(*(Text(cell) for cell in row))
    return table


def to_markdown(check: Check) -> str:
    """The page for CI."""
    lines = [
        HEAD,
        f"## {check.rows} new rows: {escaped(check.verdict)}",
        "",
        meaning(check),
        "",
        f"| {' | '.join(COLUMNS)} |",
        f"| {' | '.join('---' for _ in COLUMNS)} |",
        *(f"| {' | '.join(escaped(cell) for cell in row)} |" for row in cells(check)),
        "",
        f"By {escaped(check.estimator)}, from {escaped(check.recording)}.",
    ]
    return "\n".join(lines) + "\n"


def to_json(check: Check) -> str:
    """Everything."""
    document = {
        "recording": check.recording,
        "estimator": check.estimator,
        "metric": check.metric.name,
        "step": check.step,
        "rows": check.rows,
        "code": check.code,
        "verdict": check.verdict,
        "meaning": meaning(check),
        "targets": [
            {
                "target": one.target,
                "tests": one.tests,
                "influence": one.influence,
                "low": one.low,
                "high": one.high,
                "novelty": one.novelty,
            }
            for one in check.additions
        ],
        "notes": list(check.notes),
    }
    return json_text(document, indent=2) + "\n"


def write_page(check: Check, path: Path) -> None:
    """Write the page. Raises ``ResourceError`` if it can't be written."""
    with written_whole(path) as part:
        part.write_text(to_markdown(check), encoding="utf-8")
