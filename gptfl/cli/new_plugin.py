"""``gptfl new-plugin``."""

import shlex

from gptfl.cli import console
from gptfl.cli.adapter import with_options
from gptfl.options.new_plugin import NewPluginOptions


@with_options(NewPluginOptions)
def command(options: NewPluginOptions) -> None:
    """Write a small plugin to start from: a package with an entry point, an example that works, and tests that pass.

    Nothing is overwritten, and nothing is installed. docs/writing-plugins.md explains what is in it.

    Example: `gptfl new-plugin letters --kind encoder`
    """
    from gptfl.api.new_plugin import new_plugin_with

    result = new_plugin_with(options, console.registry())
    console.say(f"{result.path}: {result.kind} {result.part}, {', '.join(result.files)}")
    console.say(f"next: cd {shlex.quote(str(result.path))}, python -m pytest, then pip install --editable .")
