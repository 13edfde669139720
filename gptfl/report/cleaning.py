"""The rows of a pool, most suspicious first, with each sign of it."""

from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table
from rich.text import Text

from gptfl.core import word_of
from gptfl.core.excerpts import excerpts
from gptfl.core.texts import shown_line, written_id
from gptfl.influence.cleaning import COMBINED, signs_at
from gptfl.influence.ranking import Ranking, RankResult

if TYPE_CHECKING:
    from collections.abc import Sequence


def row_of(result: RankResult, ranking: Ranking, rank: int, place: int) -> dict[str, Any]:
    """One row with its suspicion and all signs, by column, for CSV and JSON.

    Args:
        result: of ``--for cleaning``.
        ranking: its order, whose ``influence`` is the suspicion (``cleaning.suspicion_of``, without unit).
        rank: the row's rank, from 1 for the most suspicious.
        place: its place in the pool.
    """
    example = result.pool[place]
    return {
        "rank": rank,
        "id": example.id,
        COMBINED: float(ranking.influence[place]),
        **signs_at(result.signs or {}, place),
        "class": shown_line(word_of(example)),
        **({} if result.flipped is None else {"flipped": bool(result.flipped[place])}),
        "text": shown_line(example.text),
    }


def cleaning_table(result: RankResult, ranking: Ranking, rows: "Sequence[tuple[int, int]]", total: int) -> Table:
    """The most suspicious rows as a table for the terminal.

    Args:
        result: of ``--for cleaning``.
        ranking: its order.
        rows: rank and place in the pool of each row to show.
        total: how many rows there are in all, for the caption.
    """
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False, caption_justify="left")
    if len(rows) < total:
        table.caption = Text(f"the {len(rows)} most suspicious, of {total} (--top {total} shows all)")
    signs = tuple(result.signs or {})
    for name in ("rank", COMBINED, *signs):
        table.add_column(name, justify="right")
    every = [(place, row_of(result, ranking, rank, place)) for rank, place in rows]
    classes = ("class",) if any(row["class"] for _, row in every) else ()
    for name in ("id", *classes, *(() if result.flipped is None else ("flipped",))):
        table.add_column(name, no_wrap=True)
    table.add_column("text", overflow="fold")
    pieces = excerpts(result.pool)
    for place, row in every:
        numbers = [str(row["rank"]), f"{row[COMBINED]:+.2f}", *(f"{row[name]:.3g}" for name in signs)]
        marks = [] if result.flipped is None else ["flipped" if row["flipped"] else ""]
        cells = (*numbers, written_id(row["id"]), *(row[name] for name in classes), *marks, pieces[place])
        table.add_row(*(Text(cell) for cell in cells))
    return table
