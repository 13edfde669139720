"""What a ranking shows of itself, from top to bottom: in a terminal, in a notebook and in print."""

from collections.abc import Iterator

from rich.table import Table

from gptfl.influence.ranking import Ranking, RankResult
from gptfl.report.groups import group_table
from gptfl.report.kept import kept_line
from gptfl.report.ranking import detection_table, flips_line, heading, rich_table, token_table
from gptfl.report.verdicts import verdict_line

TOP = 10
"""How many rows, or groups, a ranking shows unless told."""


def ranking_parts(
    result: RankResult, top: int = TOP, reverse: bool = False, only: str | None = None
) -> Iterator[str | Table]:
    """Lines and tables: the rankings, what is known of the rows, and how early they find flips.

    Args:
        result: what ``gptfl.rank`` returned.
        top: how many rows, or groups, of each ranking.
        reverse: whether those of lowest influence come first. The order of ``--for cleaning`` stays.
        only: the verdict of those to show; None for any.
    """
    for ranking in result.rankings:
        yield from heading(result, ranking)
        if ranking.groups is not None and result.signs is None:
            yield group_table(ranking.groups, top, reverse, only)
            continue
        yield rich_table(result, ranking, top, reverse, only)
        if result.signs is None:
            yield from _lines(ranking)
    if result.tokens is not None:
        yield "Influence on each token of its target, to first order; their mean is the whole example's"
        yield token_table(result, result.tokens)
    if result.flipped is not None:
        yield flips_line(result)
        yield detection_table(result.detections)


def _lines(ranking: Ranking) -> Iterator[str]:
    """What is said below the rows of a ranking."""
    if ranking.verdicts is not None:
        yield verdict_line(ranking.verdicts)
    if ranking.kept is not None:
        yield f"Retained: {ranking.kept.subject}. {kept_line(ranking)}"
