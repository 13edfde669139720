"""``gptfl check``."""

import typer

from gptfl.cli import console
from gptfl.cli.adapter import with_options
from gptfl.cli.tables import show_table
from gptfl.options.check import CheckOptions


@with_options(CheckOptions)
def command(options: CheckOptions) -> None:
    """Tell before any training what new rows would do to the test examples, and exit with 1 where that is clearly worse.

    Exits with 0 where nothing speaks against them, with 1 where an interval lies below 0 as a whole, and with 6 where
    the recorded runs leave open what they do.

    Example: `gptfl check new.jsonl --by class --output check.md`
    """
    from gptfl.api.check import check_with
    from gptfl.report.additions import check_table, meaning, to_json

    console.warn_of_problems()
    with console.progress_bar() as progress:
        found, error = console.outcome(check_with, options, progress=progress)
    for text in found.notes:
        console.note(text)
    if options.as_json:
        console.say(to_json(found).rstrip("\n"))
    else:
        console.say(f"{found.rows} new rows: {found.verdict}")
        console.say(meaning(found))
        show_table(check_table(found))
        console.say_paths(page=found.output)
    console.show_unkept(found.unkept, error)
    if found.code:
        raise typer.Exit(found.code)
