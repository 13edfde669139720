"""``gptfl apply``."""

from gptfl.cli import console
from gptfl.cli.adapter import with_options
from gptfl.options.apply import ApplyOptions


@with_options(ApplyOptions)
def command(options: ApplyOptions) -> None:
    """Write your own rows back without some of them, every other byte as it was, with reasons and a summary.

    Nothing is overwritten: the rows go to a new folder.

    Example: `gptfl rank --only harmful --output harmful.csv`, then `gptfl apply --drop harmful.csv --data train.jsonl`
    """
    from gptfl.core.texts import counted
    from gptfl.interchange.apply_rows import apply_with

    console.warn_of_problems()
    with console.progress_bar() as progress:
        result = apply_with(options, progress=progress)
    for text in result.notes:
        console.note(text)
    console.say(
        f"{result.path}: {counted(result.kept, 'row', ',')} kept, {result.dropped:,} left out: {', '.join(result.files)}"
    )
