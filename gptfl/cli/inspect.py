"""``gptfl inspect``."""

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
    """Show what a gptfl file holds.

    Example: `gptfl inspect gptfl-work/rte-pythia-410m.dynamics.h5 --examples`
    """
    from gptfl.recording.inspect import inspect

    if options.command:
        _show_command(options)
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
    table.add_column("class", overflow="fold", max_width=console.out.width // 4)
    table.add_column("text", overflow="ellipsis", no_wrap=True, ratio=1)
    for cells in rows:
        # Text objects, so that brackets in an example are not read as markup.
        table.add_row(*map(console.plain, cells))
    console.out.print(table)


def _show_command(options: InspectOptions) -> None:
    from gptfl.recording.command import command_of

    if options.examples:
        raise UsageError("--command and --examples were given together", "choose one")
    made = command_of(options.file)
    if options.as_json:
        console.say_json({"command": ["gptfl", *made.words], "unknown": made.unknown})
        return
    console.note(f"not kept in the file, and so left at their defaults: {made.unknown}")
    console.say(str(made))
