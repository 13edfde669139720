"""What groups of rows do, as a table and for programs."""

import csv
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from gptfl.core.texts import shown_line
from gptfl.influence.group_effects import GroupEffects
from gptfl.influence.targets import LEVEL
from gptfl.influence.verdicts import HARMFUL, HELPFUL, UNCLEAR
from gptfl.report.number_scale import NumberScale


def group_rows_of(
    groups: GroupEffects, reverse: bool = False, top: int | None = None, only: str | None = None
) -> list[dict[str, Any]]:
    """A row for each group by column, highest influence first.

    Args:
        groups: what each group does, in the metric's units.
        reverse: whether the lowest influence comes first.
        top: how many groups; None for all.
        only: the verdict of those to take; None for any. Where there are no verdicts, none has one.
    """
    order = np.argsort(-groups.influence, kind="stable")
    ranked = list(enumerate((int(one) for one in order), 1))
    if only is not None:
        verdicts = groups.verdicts
        ranked = [] if verdicts is None else [one for one in ranked if verdicts.of(one[1]) == only]
    found = []
    for rank, number in (ranked[::-1] if reverse else ranked)[:top]:
        size = int(groups.grouping.sizes[number])
        row: dict[str, Any] = {
            "rank": rank,
            "group": shown_line(groups.grouping.names[number]),
            "rows": size,
            "influence": float(groups.influence[number]),
        }
        if groups.low is not None and groups.high is not None:
            row |= {"low": float(groups.low[number]), "high": float(groups.high[number])}
        if groups.verdicts is not None:
            row |= {
                "verdict": groups.verdicts.of(number),
                "wrong_sign": float(groups.verdicts.wrong_sign[number]),
            }
        row["per_row"] = float(groups.influence[number]) / size
        if groups.of_rows:
            counts = groups.of_rows[number]
            row |= {"rows_helpful": counts[HELPFUL], "rows_harmful": counts[HARMFUL], "rows_unclear": counts[UNCLEAR]}
        found.append(row)
    return found


def groups_of_json(groups: GroupEffects, top: int | None, reverse: bool, only: str | None) -> dict[str, Any]:
    """What a JSON document says of groups: the field, and a row for each.

    Args:
        groups: what each group does, in the metric's units.
        top: how many groups; None for all.
        reverse: whether the lowest influence comes first.
        only: the verdict of those to take; None for any.
    """
    return {"by": groups.grouping.by, "groups": group_rows_of(groups, reverse, top, only)}


def groups_to_csv(
    rankings: Sequence[tuple[str, GroupEffects]], top: int | None, reverse: bool, only: str | None
) -> str:
    """CSV with a row for each estimator and group; columns that an estimator lacks are empty.

    Args:
        rankings: the estimator's label and what each group does by it, in the metric's units.
        top: how many groups of each estimator; None for all.
        reverse: whether the lowest influence comes first.
        only: the verdict of those to take; None for any.
    """
    rows = [
        {"estimator": label, **row} for label, groups in rankings for row in group_rows_of(groups, reverse, top, only)
    ]
    columns = list(dict.fromkeys(name for row in rows for name in row)) or ["estimator", "rank", "group"]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def group_table(groups: GroupEffects, top: int | None, reverse: bool, only: str | None = None) -> Table:
    """The groups as a table for the terminal.

    Args:
        groups: what each group does, in the metric's units.
        top: how many groups; None for all.
        reverse: whether the lowest influence comes first.
        only: the verdict of those to take; None for any.
    """
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False, caption_justify="left")
    rows = group_rows_of(groups, reverse, top, only)
    total = len(group_rows_of(groups, only=only))
    if len(rows) < total:
        end = "lowest" if reverse else "highest"
        table.caption = Text(f"the {len(rows)} of {end} influence, of {total} (--top {total} shows all)")
    bounds = [] if groups.low is None else [f"{LEVEL:.0%} interval"]
    for name in ("rank", "influence", *bounds, "per row", "rows"):
        table.add_column(name, justify="right", no_wrap=True)
    if groups.of_rows:
        for name in (HELPFUL, HARMFUL, UNCLEAR):
            table.add_column(name, justify="right", no_wrap=True)
    table.add_column(groups.grouping.by, overflow="fold")
    if groups.verdicts is not None:
        table.add_column("verdict", no_wrap=True)
    scale = NumberScale.of(groups.influence)
    for row in rows:
        cells = [str(row["rank"]), scale.number(row["influence"], "+.3g")]
        cells += [scale.span(row["low"], row["high"], "+.3g")] if bounds else []
        cells += [f"{row['per_row']:+.2g}", str(row["rows"])]
        if groups.of_rows:
            cells += [str(row[name]) for name in ("rows_helpful", "rows_harmful", "rows_unclear")]
        cells.append(row["group"])
        cells += [row["verdict"]] if groups.verdicts is not None else []
        table.add_row(*(Text(cell) for cell in cells))
    return table
