"""The application: its commands, and the one place where an error becomes a line and an exit code."""

import importlib
import os
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from gptfl.cli import console
from gptfl.errors import GptflError

INTERRUPTED = 130
COMMANDS = ("collect", "featurize", "fit", "simulate", "compare", "demo", "inspect", "plugins")

app = typer.Typer(
    name="gptfl",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="Predict what fine-tuning a GPT model on other examples would have done, without running it.",
    epilog="Start with `gptfl demo`, or record your own: `gptfl collect --model pythia-410m --task rte`.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        console.say(f"gptfl {version('gptfl')}")
        raise typer.Exit


@app.callback()
def main(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and stop.")
    ] = False,
) -> None:
    """Every stage reads what the one before wrote into the workspace."""


for command in COMMANDS:
    module = importlib.import_module(f"gptfl.cli.{command}")
    app.command(command)(module.command)


def run() -> None:
    """Run the command line. A ``GptflError`` becomes one line on stderr and its exit code."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        app()
    except GptflError as error:
        console.err.print(f"error: {error}", markup=False, soft_wrap=True, style="red")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        console.err.print("interrupted: finished work is kept, the same command goes on from there", style="red")
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # The reader of a pipe has left (`gptfl inspect … | head`); nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
