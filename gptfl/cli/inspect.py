"""``gptfl inspect``."""

from pathlib import Path

from rich.cells import cell_len
from rich.table import Table

from gptfl.cli import console
from gptfl.cli.adapter import with_options
from gptfl.core.texts import written_id
from gptfl.errors import UsageError
from gptfl.options.common import InspectOptions

ROOM = 40
"""The columns of a terminal that role, class and the beginning of a text need beside an id."""


@with_options(InspectOptions)
def command(options: InspectOptions) -> None:
    """Show what a gptfl file holds, or with --data what is understood of data of your own.

    Example: `gptfl inspect gptfl-work/rte-pythia-410m.dynamics.h5 --examples`
    """
    from gptfl.recording.inspect import inspect

    if options.file is None or options.data is not None:
        _show_data(options)
        return

    if options.command:
        _show_command(options.file, options)
        return
    found = inspect(options.file, examples=options.examples)
    if options.as_json:
        listed = [{"id": e.id, "role": e.role, "label": e.label, "text": e.text} for e in found.examples or []]
        console.say_json(
            {"file": str(found.path), **dict(found.rows), **({"examples": listed} if options.examples else {})}
        )
        return
    if found.examples is None:
        console.show_pairs(dict(found.rows))
        return
    rows = [(written_id(one.id), one.role, one.label, one.text) for one in found.examples]
    widest = max((cell_len(cells[0]) for cells in rows), default=0)
    # Whole lines for grep and cut, and where ids would leave no room: an id that is cut short names nothing.
    if not console.out.is_terminal or widest + ROOM > console.out.width:
        for cells in rows:
            console.say("\t".join(cells))
        return
    table = Table(box=None, pad_edge=False, expand=True)
    # A long id takes several lines, and leaves room for the text.
    table.add_column("id", overflow="fold", max_width=console.out.width // 3)
    table.add_column("role", no_wrap=True)
    labelled = any(one.label for one in found.examples)
    if labelled:
        table.add_column("class", overflow="fold", max_width=console.out.width // 4)
    table.add_column("text", overflow="ellipsis", no_wrap=True, ratio=1)
    for cells, one in zip(rows, found.examples, strict=True):
        # Text objects, so that brackets in an example are not read as markup.
        table.add_row(*map(console.plain, (*cells[: 3 if labelled else 2], one.excerpt)))
    console.out.print(table)


def _show_data(options: InspectOptions) -> None:
    from gptfl.recording.inspect_data import CLOSE, OPEN, inspect_data, one_line

    named = (options.data, *(getattr(options.rows, name) for name in ("train", "dataset")))
    if all(one is None for one in named):
        raise UsageError("there is nothing to inspect", "name a file that gptfl made, or give --data FILE")
    if options.file is not None:
        raise UsageError(f"{options.file} and --data {options.data} were given together", "choose one")
    if options.command or options.examples:
        raise UsageError(
            "--command and --examples are of files that gptfl made", "leave them out with data of your own"
        )
    with console.progress_bar() as progress:
        found = inspect_data(
            options.data, model=options.model, max_length=options.max_length, rows=options.rows, progress=progress
        )
    if options.as_json:
        shown = [
            {"id": one.id, "parts": [{"text": text, "learned": learned} for text, learned in one.parts]}
            for one in found.examples
        ]
        console.say_json({**dict(found.rows), "notes": list(found.notes), "examples": shown})
        return
    for text in found.notes:
        console.note(text)
    console.show_pairs(dict(found.rows))
    console.say(f"The first {len(found.examples)} to train on; what is learned stands in {OPEN} {CLOSE}")
    for one in found.examples:
        console.say(f"  {written_id(one.id)}  {one_line(one)}")


def _show_command(file: str | Path, options: InspectOptions) -> None:
    from gptfl.recording.command import command_of

    if options.examples:
        raise UsageError("--command and --examples were given together", "choose one")
    made = command_of(file, console.registry())
    if options.as_json:
        console.say_json({"command": ["gptfl", *made.words], "unknown": made.unknown})
        return
    console.note(f"not kept in the file, and so left at their defaults: {made.unknown}")
    console.say(str(made))
