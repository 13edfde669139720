"""The rows of rankings in the order that they are shown in, one at a time: a pool may have a million."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from gptfl.core import Example, word_of
from gptfl.core.texts import shown_line
from gptfl.influence.cleaning import CLEANING, COMBINED
from gptfl.influence.ranking import Ranking, RankResult
from gptfl.influence.targets import SELF
from gptfl.influence.verdicts import BOTH_SIDES
from gptfl.report.cleaning import row_of
from gptfl.report.groups import group_rows_of
from gptfl.report.kept import columns_of, kept_row

_AT_ONCE = 4096
"""Ranks that are numbers of Python's at a time."""


@dataclass(frozen=True, slots=True)
class ShownRows:
    """The rows to show, in order: (rank, place in the pool) each; ranks count from 1 at the highest influence."""

    ranks: Int[np.ndarray, " row"]
    places: Int[np.ndarray, " row"]

    def __len__(self) -> int:
        return len(self.ranks)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        for start in range(0, len(self), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            yield from zip(self.ranks[part].tolist(), self.places[part].tolist(), strict=True)


def shown(ranking: Ranking, top: int | None, reverse: bool, only: str | None = None) -> ShownRows:
    """The rows to show. Of the ``top`` ones alone, the others aren't sorted.

    Args:
        ranking: whose rows.
        top: how many; None for all.
        reverse: whether the lowest influence comes first. The order of ``--for cleaning`` stays.
        only: the verdict of those to show; None for any.
    """
    reverse = reverse and ranking.how != CLEANING  # whose first are the suspicious ones
    count = len(ranking.influence)
    if only is None and top is not None and top < count:
        places = first_places(-ranking.influence, top, reverse)
        ranks = np.arange(count, count - top, -1) if reverse else np.arange(1, top + 1)
        return ShownRows(ranks, places)
    places = np.argsort(-ranking.influence, kind="stable")
    ranks = np.arange(1, count + 1)
    if only is not None:
        kept = _having(ranking, only)[places]
        places, ranks = places[kept], ranks[kept]
    if reverse:
        places, ranks = places[::-1], ranks[::-1]
    return ShownRows(ranks[:top], places[:top])


def first_places(values: Float[np.ndarray, " row"], count: int, reverse: bool = False) -> Int[np.ndarray, " first"]:
    """The places of the ``count`` lowest values, lowest first and ties in order of place, without sorting the others.

    Args:
        values: to order by.
        count: how many; fewer than there are.
        reverse: whether they are those that a stable sort has last, the last first.
    """
    if count <= 0:
        return np.zeros(0, dtype=np.int64)
    at = len(values) - count if reverse else count - 1
    limit = np.partition(values, at)[at]
    near = np.flatnonzero(values >= limit if reverse else values <= limit)
    if np.isnan(limit) or len(near) < count:  # what isn't a number is compared with nothing
        near = np.arange(len(values))
    order = near[np.argsort(values[near], kind="stable")]
    return order[::-1][:count] if reverse else order[:count]


def count_shown(ranking: Ranking, only: str | None) -> int:
    """How many rows there are to show where all are."""
    return len(ranking.influence) if only is None else int(_having(ranking, only).sum())


def _having(ranking: Ranking, only: str) -> Bool[np.ndarray, " pool"]:
    """Which rows have a verdict, on both sides where that is asked for."""
    count = len(ranking.influence)
    if only == BOTH_SIDES:
        known = None if ranking.kept is None else ranking.kept.known
        return np.zeros(count, dtype=bool) if known is None else np.asarray(known, dtype=bool)
    verdicts = ranking.verdicts
    if verdicts is None:
        return np.zeros(count, dtype=bool)
    return np.fromiter((verdicts.of(place) == only for place in range(count)), dtype=bool, count=count)


def class_of(example: Example) -> str:
    """An example's class by its text, where it has choices; else by its number; empty without a class."""
    return shown_line(word_of(example))


def is_grouped(result: RankResult) -> bool:
    """Whether a table has rows of groups."""
    return any(ranking.groups is not None for ranking in result.rankings)


def columns_of_table(result: RankResult) -> list[str]:
    """The columns of a table of single rows, the estimator's first.

    ``low``, ``high``, ``verdict`` and ``wrong_sign`` are there only where an estimator says how sure it is, ``flipped``
    only for a recording with flipped labels.
    """
    bounds = ["low", "high"] if any(ranking.low is not None for ranking in result.rankings) else []
    known = ["verdict", "wrong_sign"] if any(ranking.verdicts is not None for ranking in result.rankings) else []
    known += columns_of([one.kept for one in result.rankings if one.kept is not None])
    extra = [] if result.flipped is None else ["flipped"]
    named = [] if result.tokens is None else [f"token {number}" for number in range(1, 1 + len(result.tokens.tokens))]
    if result.signs is not None:
        bounds = [*result.signs]
    value = "influence" if result.signs is None else COMBINED
    return ["estimator", "rank", "id", value, *bounds, *named, *known, "class", *extra, "text"]


def table_rows(
    result: RankResult, top: int | None = None, reverse: bool = False, only: str | None = None
) -> Iterator[dict[str, Any]]:
    """A row for each estimator and example, or group where rows are in groups, by column; what one lacks is left out.

    Args:
        result: what ``gptfl.rank`` returned.
        top: how many of each estimator; None for all.
        reverse: whether the lowest influence comes first.
        only: the verdict of those to take; None for any.
    """
    for ranking in result.rankings:
        first = {"estimator": ranking.label}
        if is_grouped(result):
            rows = [] if ranking.groups is None else group_rows_of(ranking.groups, reverse, top, only)
            yield from ({**first, **row} for row in rows)
            continue
        for rank, place in shown(ranking, top, reverse and result.on != SELF, only):
            row = ranked_row(result, ranking, rank, place)
            if result.tokens is not None:
                row |= {f"token {number}": value for number, value in enumerate(row.pop("tokens", ()), 1)}
            yield {**first, **row}


def ranked_row(result: RankResult, ranking: Ranking, rank: int, place: int) -> dict[str, Any]:
    """What programs are told of an example, by column.

    Args:
        result: that the ranking is part of.
        ranking: an estimator's.
        rank: of the example.
        place: in the pool.
    """
    if result.signs is not None:
        return row_of(result, ranking, rank, place)
    example = result.pool[place]
    flips = {} if result.flipped is None else {"flipped": bool(result.flipped[place])}
    bounds = {"low": ranking.low, "high": ranking.high}
    return {
        "rank": rank,
        "id": example.id,
        "influence": float(ranking.influence[place]),
        **{name: float(bound[place]) for name, bound in bounds.items() if bound is not None},
        **(
            {}
            if ranking.verdicts is None
            else {"verdict": ranking.verdicts.of(place), "wrong_sign": float(ranking.verdicts.wrong_sign[place])}
        ),
        **kept_row(ranking, place),
        **({} if result.tokens is None else {"tokens": result.tokens.influence[place].tolist()}),
        "class": class_of(example),
        **flips,
        "text": shown_line(example.text),
    }
