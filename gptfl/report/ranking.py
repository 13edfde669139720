"""The training examples in order of influence: as a table, for programs, and as the picture of flips found."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from gptfl.core.excerpts import excerpts_at
from gptfl.core.texts import json_text, shown_line, written_id
from gptfl.errors import UsageError
from gptfl.influence.ranking import Ranking, RankResult, TokenInfluence
from gptfl.influence.targets import LEVEL, SELF
from gptfl.report.cleaning import cleaning_table
from gptfl.report.groups import groups_of_json, groups_to_csv
from gptfl.report.kept import kept_cells, kept_json, kept_names, kept_verdicts
from gptfl.report.number_scale import NumberScale
from gptfl.report.pictures import drawn_text, new_figure, save_figure
from gptfl.report.plain import with_plain
from gptfl.report.ranking_rows import columns_of_table, count_shown, is_grouped, ranked_row, shown, table_rows
from gptfl.report.verdicts import verdict_counts
from gptfl.scores.detection import Detection, perfect_shares
from gptfl.store.outputs import written_whole
from gptfl.store.parquet_rows import write_parquet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TABLES = (".csv", ".parquet", ".json")
MADE_BY = "gptfl rank"
KINDS_OF: dict[str, type] = {
    **dict.fromkeys(("estimator", "id", "group", "class", "text"), str),
    **dict.fromkeys(("verdict", "retained_verdict", "both_verdict"), str),
    **dict.fromkeys(("rank", "rows", "rows_helpful", "rows_harmful", "rows_unclear"), int),
    "flipped": bool,
}
"""What the columns of a table hold; any other holds numbers."""

SHARES = (0.1, 0.2, 0.4)
"""The shares of the pool checked at which the table says how many flips were found."""
NAMED = 3
"""Examples that a token's row names on each side."""
# Okabe and Ito's palette, told apart by dash as well.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES: tuple[Any, ...] = ("solid", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
RANDOM = "#7F7F7F"


def check_table(path: Path) -> None:
    """Raise ``UsageError`` unless a suffix names a kind of table."""
    if path.suffix.lower() not in TABLES:
        raise UsageError(
            f"--output {path} has no known suffix for a table", f"end it in {', '.join(TABLES[:-1])} or {TABLES[-1]}"
        )


def to_csv(result: RankResult, top: int | None = None, reverse: bool = False, only: str | None = None) -> str:
    """CSV with a row for each estimator and example, or group where rows are in groups.

    Args:
        result: what ``gptfl.rank`` returned.
        top: how many of each estimator; None for all.
        reverse: whether the lowest influence comes first.
        only: the verdict of those to take; None for any.

    What one has as columns, ``ranking_rows.columns_of_table`` says.
    """
    if is_grouped(result):
        return groups_to_csv([(one.label, one.groups) for one in result.rankings if one.groups], top, reverse, only)
    text = io.StringIO()
    _put_csv(text, result, top, reverse, only)
    return text.getvalue()


def _put_csv(stream: TextIO, result: RankResult, top: int | None, reverse: bool, only: str | None) -> None:
    """Write the rows one after the other."""
    columns = columns_of_table(result)
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    for row in table_rows(result, top, reverse, only):
        row["id"] = written_id(row["id"])
        writer.writerow([_cell(row.get(column, "")) for column in columns])


def put_parquet(result: RankResult, path: Path, top: int | None, reverse: bool, only: str | None) -> None:
    """Write the rows as Parquet, some at a time, with the columns of the CSV; ids are as they are.

    Args:
        result: rankings of one recording.
        path: of the file.
        top: so many examples, or groups, of each ranking, None for all.
        reverse: whether the lowest come first.
        only: the verdict of the rows that count, None for all.
    """
    rows = table_rows(result, top, reverse, only)
    if is_grouped(result):
        held = list(rows)
        columns = list(dict.fromkeys(name for row in held for name in row)) or ["estimator", "rank", "group"]
        rows = iter(held)
    else:
        columns = columns_of_table(result)
    write_parquet(path, {name: KINDS_OF.get(name, float) for name in columns}, rows, MADE_BY)


def to_json(result: RankResult, top: int | None = None, reverse: bool = False, only: str | None = None) -> str:
    """Everything as a JSON document, the curves of flips found included.

    Args:
        result: what ``gptfl.rank`` returned.
        top: how many rows, or groups, of each estimator; None for all.
        reverse: whether the lowest influence comes first.
        only: the verdict of those to take; None for any.
    """
    document = {
        "recording": result.recording,
        "metric": result.metric.name,
        "on": result.on,
        **({} if result.new is None else {"new": result.new}),
        "rankings": [
            {
                "estimator": ranking.label,
                "how": ranking.how,
                "step": ranking.step,
                "simulator": str(ranking.simulator),
                "meaning": ranking.meaning,
                **({} if ranking.low is None else {"level": LEVEL}),
                **({} if ranking.verdicts is None else {"verdicts": verdict_counts(ranking.verdicts)}),
                **kept_json(ranking),
                **({} if ranking.groups is None else groups_of_json(ranking.groups, top, reverse, only)),
                "examples": [
                    ranked_row(result, ranking, rank, place)
                    for rank, place in shown(ranking, top, reverse and result.on != SELF, only)
                ],
            }
            for ranking in result.rankings
        ],
        "flipped": None if result.flipped is None else int(result.flipped.sum()),
        "detection": {
            name: {
                "area": one.area,
                "random_area_sd": one.chance,
                "checked": one.checked.tolist(),
                "found": one.found.tolist(),
            }
            for name, one in result.detections.items()
        },
        **({} if result.tokens is None else {"tokens": list(result.tokens.tokens)}),
        "figure": None if result.figure is None else str(result.figure),
        "notes": list(result.notes),
    }
    return json_text(with_plain(result, document), indent=2) + "\n"


def write_table(
    result: RankResult, path: Path, top: int | None = None, reverse: bool = False, only: str | None = None
) -> None:
    """Write the CSV, Parquet or JSON that a suffix names; rows of the first two are never in memory all at once.

    Args:
        result: rankings of one recording.
        path: of the file, ending in .csv, .parquet or .json.
        top: so many examples of each ranking, None for all.
        reverse: whether the lowest come first.
        only: the verdict of the rows that count, None for all.

    Raises ``ResourceError`` if it can't be written.
    """
    suffix = path.suffix.lower()
    with written_whole(path) as part:
        if suffix == ".parquet":
            put_parquet(result, part, top, reverse, only)
        elif suffix == ".csv" and not is_grouped(result):
            with part.open("w", encoding="utf-8", newline="") as stream:
                _put_csv(stream, result, top, reverse, only)
        else:
            text = (to_csv if suffix == ".csv" else to_json)(result, top, reverse, only)
            part.write_text(text, encoding="utf-8")


def rich_table(result: RankResult, ranking: Ranking, top: int | None, reverse: bool, only: str | None = None) -> Table:
    """One estimator's ranking for the terminal; the caption says how much of it is shown.

    Args:
        result: that it is part of.
        ranking: the estimator's.
        top: so many examples, None for all.
        reverse: whether the lowest come first.
        only: the verdict of the rows that count, None for all.
    """
    reverse = reverse and result.on != SELF  # the most suspicious are the highest there
    total = count_shown(ranking, only)
    if result.signs is not None:
        rows = list(shown(ranking, top, reverse and result.on != SELF, only))
        return cleaning_table(result, ranking, rows, total)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False, caption_justify="left")
    if top is not None and top < total:
        end = "lowest" if reverse else "highest"
        which = "" if only is None else f" {only}"
        table.caption = Text(f"the {top} of {end} influence, of {total}{which} (--top {total} shows all)")
    bounds = () if ranking.low is None else (f"{LEVEL:.0%} interval",)
    for name in ("rank", "influence", *bounds):
        table.add_column(name, justify="right", no_wrap=True)
    extra = [() if result.flipped is None else ("flipped",), () if ranking.verdicts is None else ("verdict",)]
    if ranking.kept is not None:
        table.add_column("retained", justify="right", no_wrap=True)
        if ranking.kept.low is not None:
            table.add_column(f"{LEVEL:.0%} interval", justify="right", no_wrap=True)
    listed = [
        (place, ranked_row(result, ranking, rank, place))
        for rank, place in shown(ranking, top, reverse and result.on != SELF, only)
    ]
    classes = ("class",) if any(row["class"] for _, row in listed) else ()
    names = ("id", *classes, *extra[0], *extra[1], *kept_names(ranking))
    for name in names:
        table.add_column(name, no_wrap=True)
    # Where the terminal is narrow, the text alone gives way.
    table.add_column("text", overflow="fold")
    scale = NumberScale.of(ranking.influence)
    pieces = excerpts_at(result.pool, [place for place, _ in listed])
    for place, row in listed:
        span = [scale.span(row["low"], row["high"], "+.3g")] if bounds else []
        cells = [str(row["rank"]), scale.number(row["influence"], "+.3g"), *span, *kept_cells(ranking, place)]
        cells += [written_id(row["id"]), *(row[name] for name in classes)]
        if result.flipped is not None:
            cells.append("flipped" if row["flipped"] else "")
        if ranking.verdicts is not None:
            cells += [row["verdict"], *kept_verdicts(ranking, place)]
        table.add_row(*(Text(cell) for cell in (*cells, pieces[place])))
    return table


def heading(result: RankResult, ranking: Ranking) -> list[str]:
    """What stands above a ranking's table: whose influence on what, by which estimator, and what it means."""
    if result.signs is not None:
        said = f"{len(result.pool)} training examples, the most suspicious first, by {ranking.label}"
        return [said, ranking.meaning]
    how = f"--how {ranking.how}" if result.new is None else "each as if added"
    how += "" if ranking.step is None else f", {result.metric.name} at step {ranking.step}"
    rows = "training examples" if result.new is None else "new rows"
    said = f"Influence of each of {len(result.pool)} {rows} on {result.subject}, by {ranking.label} ({how})"
    groups = () if ranking.groups is None else (ranking.groups.meaning,)
    return [said, *filter(None, (ranking.meaning,)), *groups]


def flips_line(result: RankResult) -> str:
    """What stands above ``detection_table``. The result is of a recording with flipped labels."""
    flips = 0 if result.flipped is None else int(result.flipped.sum())
    first = (
        "most suspicious"
        if result.signs is not None
        else "highest influence"
        if result.on == SELF
        else "lowest influence"
    )
    return f"{flips} of {len(result.pool)} labels are flipped; checking the {first} first:"


def token_table(result: RankResult, tokens: TokenInfluence) -> Table:
    """By token of the target: the examples that helped and that hurt most, with their influence on it to first order."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("token", no_wrap=True)
    for name in ("helped most by", "hurt most by"):
        table.add_column(name, overflow="fold")
    for place, token in enumerate(tokens.tokens):
        values = tokens.influence[:, place]
        order = np.argsort(-values, kind="stable")
        helped = [one for one in order[:NAMED] if values[one] > 0.0]
        hurt = [one for one in order[::-1][:NAMED] if values[one] < 0.0]
        cells = (
            ", ".join(f"{written_id(result.pool[one].id)} ({values[one]:+.2g})" for one in some)
            for some in (helped, hurt)
        )
        table.add_row(*(Text(cell) for cell in (shown_line(json_text(token)), *cells)))
    return table


def detection_table(detections: Mapping[str, Detection]) -> Table:
    """How early each way of checking finds the flips, with random order in the last row."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("order of checking")
    table.add_column("area", justify="right")
    for share in SHARES:
        table.add_column(f"found in {share:.0%}", justify="right")
    for name, one in detections.items():
        table.add_row(Text(name), f"{one.area:.3f}", *(f"{one.found_at(share):.0%}" for share in SHARES))
    chance = next(iter(detections.values())).chance
    table.add_row("random order", f"0.500 ±{chance:.3f}", *(f"{share:.0%}" for share in SHARES))
    return table


def detection_figure(detections: Mapping[str, Detection], flips: int, total: int, title: str) -> "Figure":
    """The figure: share of flips found against share of the pool checked (the paper's study on SST-2).

    Args:
        detections: by estimator.
        flips: how many labels are flipped.
        total: how many training examples there are.
        title: above it.
    """
    from matplotlib.ticker import PercentFormatter

    figure = new_figure(5.6, 4.6)
    axes = figure.add_subplot()
    axis = np.arange(total + 1) / total
    axes.plot(axis, perfect_shares(flips, total), color="#000000", lw=1.0, ls=(0, (1, 2)), label="perfect order (1)")
    axes.plot(axis, axis, color=RANDOM, lw=1.4, label="random order (0.5)")
    for number, (name, one) in enumerate(detections.items()):
        label = f"{drawn_text(name)} ({one.area:.2f})"
        colour, dash = COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)]
        axes.plot(one.checked, one.found, color=colour, ls=dash, lw=1.9, label=label)
    axes.set_xlabel("share of training examples checked")
    axes.set_ylabel(f"share of the {flips} flipped labels found")
    for side in (axes.xaxis, axes.yaxis):
        side.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, lw=0.6)
    axes.legend(fontsize=8, frameon=False, loc="lower right", title="area under the curve in brackets")
    axes.get_legend().get_title().set_fontsize(8)  # type: ignore[union-attr]
    axes.set_title(drawn_text(title), fontsize=10, wrap=True)
    return figure


def draw_detection(path: Path, detections: Mapping[str, Detection], flips: int, total: int, title: str) -> None:
    """Write ``detection_figure``.

    Args:
        path: of the picture.
        detections: by estimator.
        flips: how many labels are flipped.
        total: how many training examples there are.
        title: above it.

    Raises ``ResourceError`` if it can't be written.
    """
    save_figure(detection_figure(detections, flips, total, title), path)


def _cell(value: object) -> object:
    return int(value) if isinstance(value, bool) else value
