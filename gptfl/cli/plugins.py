"""``gptfl plugins``."""

from rich.table import Table

from gptfl.cli import console
from gptfl.cli.adapter import with_options
from gptfl.cli.tables import show_table
from gptfl.options.common import PluginsOptions
from gptfl.plugins.parts import KINDS


@with_options(PluginsOptions)
def command(options: PluginsOptions) -> None:
    """List every task, encoder, metric, estimator and executor, who provides it, and what is broken.

    Example: `gptfl plugins --json`
    """
    registry = console.registry()
    parts = [part for claims in registry.parts.values() for part in claims]
    parts.sort(key=lambda part: (list(KINDS).index(part.kind), part.name, part.owner))
    if options.as_json:
        console.say_json(
            {
                "parts": [
                    {
                        "kind": part.kind,
                        "name": part.name,
                        "provider": part.owner,
                        "usable": len(registry.parts[part.kind, part.name]) == 1,
                    }
                    for part in parts
                ],
                "problems": [{"provider": problem.owner, "reason": problem.reason} for problem in registry.problems],
            }
        )
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("kind", "name", "provided by"):
        table.add_column(heading)
    for part in parts:
        table.add_row(part.kind, part.name, part.owner)
    show_table(table)
    for problem in registry.problems:
        console.warn(f"{problem.owner}: {problem.reason}")
