"""``gptfl rank``."""

from shlex import quote
from typing import TYPE_CHECKING

from gptfl.cli import console
from gptfl.cli.adapter import with_options
from gptfl.cli.page import page_target, write_result_page
from gptfl.cli.picture import pictured
from gptfl.cli.tables import show_table
from gptfl.errors import UsageError
from gptfl.options.influence import RankOptions

if TYPE_CHECKING:
    from gptfl.influence.ranking import RankResult


@with_options(RankOptions)
def command(options: RankOptions) -> None:
    """Order the training examples by influence; positive makes the metric better.

    For a recording with flipped labels (collect --flip-labels), also say how early checking in this order finds them.
    With --new, order rows that were never recorded.

    Example: `gptfl rank --estimator gptfluence --on self --how drop --csv`
    """
    from gptfl.api.rank import rank_with
    from gptfl.report.ranking import to_csv, to_json

    if options.as_csv and options.as_json:
        raise UsageError("--csv and --json were given together", "choose one")
    options, page = pictured(options), page_target(options)
    console.warn_of_problems()
    with console.progress_bar() as progress:
        result, error = console.outcome(rank_with, options, progress=progress)
    for text in result.notes:
        console.note(text)
    top = options.top
    which = {"top": top, "reverse": options.reverse, "only": options.only}
    if options.as_csv or options.as_json:
        console.say((to_csv if options.as_csv else to_json)(result, top, options.reverse, options.only).rstrip("\n"))
        write_result_page(result, options, "rank", page, True, **which)
    else:
        show(result, top, options.reverse, options.only)
        write_result_page(result, options, "rank", page, False, **which)
        console.say(f"next: {next_of(result, options.reverse)}")
    console.show_unkept(result.unkept, error)


def next_of(result: "RankResult", reverse: bool) -> str:
    """What to do about a ranking: of rows that harm or are suspect, see what happens without them."""
    if result.new is not None:
        return f"gptfl check {quote(result.new)}, which says what all of them do together"
    if result.flipped is not None and not result.imported:
        return "gptfl relabel-study"
    rows = all(ranking.groups is None for ranking in result.rankings)
    if rows and (reverse or result.signs is not None):
        tried = "simulate" if result.imported else "verify"
        return f"gptfl {tried} --drop IDS (ids, one a line, or what --top N --output FILE.csv writes), then gptfl apply --drop IDS"
    return "gptfl select --size N"


def show(result: "RankResult", top: int | None, reverse: bool, only: str | None = None) -> None:
    """Print the rankings, what is known of the rows, and how early they find flips.

    Args:
        result: what ``gptfl.rank`` returned.
        top: how many rows, or groups, to print of each ranking; None for as many as a page shows.
        reverse: whether those of lowest influence come first. The order of ``--for cleaning`` stays.
        only: the verdict of those to print; None for any.
    """
    from gptfl.report.ranking_parts import TOP, ranking_parts

    for part in ranking_parts(result, TOP if top is None else top, reverse, only):
        if isinstance(part, str):
            console.say(part)
        else:
            show_table(part)
    console.say_paths(table=result.output, picture=result.figure)
