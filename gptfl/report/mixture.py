"""Shares of groups to train on: as a table, as a picture, and for programs."""

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from gptfl.core.texts import json_text, shown_line, written_id
from gptfl.influence.mixture import MixtureSelection
from gptfl.influence.targets import LEVEL
from gptfl.influence.two_sides import BETTER, WORSE, Gain
from gptfl.report.pictures import drawn_text, new_figure, save_figure
from gptfl.report.plain import with_plain
from gptfl.report.ranking import COLOURS, RANDOM
from gptfl.report.selection import HEAD

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRAWN = 30
"""A picture has the bars of at most so many groups, those whose shares change most."""


def mixture_ids_text(mixture: MixtureSelection) -> str:
    """The ids of the rows drawn, one a line, after a comment that says what they are."""
    head = (
        f"{HEAD}: {len(mixture.ids)} of {mixture.pool} examples of {mixture.recording}, by {mixture.estimator}, "
        f"drawn by shares of {shown_line(mixture.by)}"
    )
    return "\n".join((head, *map(written_id, mixture.ids))) + "\n"


def better_words(mixture: MixtureSelection) -> str:
    """Whether these shares are better than the pool's own, in a sentence."""
    if (mixture.chosen == mixture.usual).all():
        return "these are the pool's own shares: no others are predicted to be better"
    found = mixture.better
    if found.low is None or found.high is None:
        return "nothing says whether that is more than chance"
    if found.verdict == BETTER:
        return "clearly better than the pool's own mixture, by what is predicted"
    if found.verdict == WORSE:
        return "clearly worse than the pool's own mixture"
    return "not clearly better than the pool's own mixture: the interval holds 0"


def mixture_rows(mixture: MixtureSelection) -> list[dict[str, Any]]:
    """A row for each group, the greatest share first."""
    order = np.lexsort((-mixture.rows, -mixture.chosen))
    return [
        {
            "group": shown_line(mixture.names[place]),
            "rows": int(mixture.rows[place]),
            "pool_share": float(mixture.pool_shares[place]),
            "share": float(mixture.shares[place]),
            "chosen": int(mixture.chosen[place]),
        }
        for place in map(int, order)
    ]


def mixture_table(mixture: MixtureSelection, top: int | None = None) -> Table:
    """The groups with their shares, and those of the pool; ``top`` of them, None for all."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False, caption_justify="left")
    table.add_column(Text(mixture.by), overflow="fold")
    for name in ("rows", "share of pool", "share chosen", "rows chosen"):
        table.add_column(name, justify="right", no_wrap=True)
    rows = mixture_rows(mixture)
    if top is not None and top < len(rows):
        table.caption = Text(f"the {top} of greatest share, of {len(rows)} (--top {len(rows)} shows all)")
    for row in rows[:top]:
        cells = (str(row["rows"]), f"{row['pool_share']:.0%}", f"{row['share']:.0%}", str(row["chosen"]))
        table.add_row(*map(Text, (row["group"], *cells)))
    return table


def mixture_csv(mixture: MixtureSelection) -> str:
    """A row for each group."""
    text = io.StringIO()
    rows = [{"estimator": mixture.estimator, **row} for row in mixture_rows(mixture)]
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def mixture_json(mixture: MixtureSelection) -> str:
    """Everything."""
    document = {
        "recording": mixture.recording,
        "estimator": mixture.estimator,
        "metric": mixture.metric.name,
        "higher_is_better": mixture.metric.higher_is_better,
        "on": mixture.on,
        "by": mixture.by,
        "pool": mixture.pool,
        "size": len(mixture.ids),
        "step": mixture.step,
        "level": LEVEL,
        "predicted": mixture.predicted,
        "predicted_with_pool_shares": mixture.predicted_usual,
        "reference": mixture.reference,
        "gain": _gain(mixture.gain),
        "better_than_pool_shares": _gain(mixture.better),
        "sd_over_draws": mixture.drawn,
        "words": better_words(mixture),
        "groups": mixture_rows(mixture),
        "ids": list(mixture.ids),
        "simulator": str(mixture.simulator),
        "output": None if mixture.output is None else str(mixture.output),
        "figure": None if mixture.figure is None else str(mixture.figure),
        "notes": list(mixture.notes),
    }
    return json_text(with_plain(mixture, document), indent=2) + "\n"


def _gain(gain: Gain) -> dict[str, Any]:
    return {"value": gain.value, "low": gain.low, "high": gain.high, "verdict": gain.verdict}


def mixture_figure(mixture: MixtureSelection) -> "Figure":
    """The figure: the share of each group, beside that in the pool."""
    from matplotlib.ticker import PercentFormatter

    apart = np.argsort(-np.abs(mixture.shares - mixture.pool_shares), kind="stable")[:DRAWN]
    order = apart[np.argsort(mixture.shares[apart], kind="stable")]
    figure = new_figure(6.4, 1.6 + 0.36 * len(order))
    axes = figure.add_subplot()
    places = np.arange(len(order))
    axes.barh(places + 0.2, mixture.shares[order], height=0.38, color=COLOURS[0], label="chosen")
    axes.barh(places - 0.2, mixture.pool_shares[order], height=0.38, color=RANDOM, label="the pool's own")
    axes.set_yticks(places, [drawn_text(shown_line(mixture.names[place])[:40]) for place in order])
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlabel(drawn_text(f"share of the {len(mixture.ids)} rows, by {mixture.by}"))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", alpha=0.25, lw=0.6)
    axes.legend(fontsize=8, frameon=False, loc="lower right")
    figure.suptitle("\n".join(map(drawn_text, (mixture.recording, better_words(mixture)))), fontsize=9)
    return figure


def draw_mixture(mixture: MixtureSelection, path: Path) -> None:
    """Write ``mixture_figure``. Raises ``ResourceError`` if it can't be written."""
    save_figure(mixture_figure(mixture), path)
