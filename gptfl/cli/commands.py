"""The commands: their names, what each does in a line, and their modules, which are loaded when they are called."""

import importlib
import keyword
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from gptfl.cli.values import read_plainly

COMMANDS: Mapping[str, str] = {
    "collect": "Record how fine-tuning on random subsets moves every test example's metrics.",
    "import": "Turn what others recorded into a recording that every other command takes; no model is needed.",
    "featurize": "Embed the pool and the test examples of a recording; what is embedded already is reused.",
    "fit": "Learn a simulator from a recording's runs to fit; its test runs are not looked at.",
    "simulate": "Predict what training on other examples, or in another order, would have done.",
    "verify": "Predict a run that was never made, then make it, and show how far the prediction was right.",
    "compare": "Hold every estimator's simulation against the held-out runs, in one table.",
    "sweep": "Compare an estimator with itself over a grid of settings, as the paper's ablations do.",
    "learning-curve": "Predict the same held-out runs after fits to few and to many others, to see how many recorded runs it takes.",
    "rank": "Order the training examples by influence; positive makes the metric better.",
    "report": "Make one HTML page of a recording and its simulator: what-if switches, influences, suspects and trust.",
    "serve": "Show the page of gptfl report in a browser of this machine, for pools too large for a file.",
    "attribute": "Tell which examples of a finished fine-tuning helped and which hurt, from its checkpoints.",
    "relabel-study": "Retrain after correcting the labels that a ranking checks first, beside random and perfect order.",
    "removal-study": "Retrain without the most harmful, the most helpful and random rows, to see whether a ranking is right.",
    "select": "Select the training examples that are predicted to be best to train on for some test examples.",
    "select-study": "Train on what gptfl select chooses, beside random subsets and TracIn's choice, to see what selecting "
    "is worth.",
    "check": "Tell before any training what new rows would do to the test examples, and exit with 1 where that is clearly worse.",
    "apply": "Write your own rows back without some of them, every other byte as it was, with reasons and a summary.",
    "doctor": "Find the rows of your own data that harm, within a time budget, and verify what leaving them out does.",
    "demo": "Go the recommended road on a small built-in model and task, in a minute or two on two cores.",
    "inspect": "Show what a gptfl file holds, or with --data what is understood of data of your own.",
    "unlock": "Make a file readable again that another program had open to write when it was killed.",
    "export": "Write a recording in the layout of the released recordings, or as tables for other tools.",
    "new-plugin": "Write a small plugin to start from: a package with an entry point, an example that works, and tests that pass.",
    "plugins": "List every task, encoder, metric, estimator and executor, who provides it, and what is broken.",
}
"""The first line of each command's help, so that ``gptfl --help`` loads none of them."""
MARKUP: Any = "markdown"
"""How the help of a command is printed: in panels. That of the group is plain, for panels take as long to load as all else."""

Guard = Callable[[Callable[..., None]], Callable[..., None]]


def module(name: str) -> str:
    """The module of a command; a word that Python keeps for itself gets an underscore."""
    return f"gptfl.cli.{name.replace('-', '_')}{'_' * keyword.iskeyword(name)}"


class _Loaded(Mapping[str, Any]):
    """The commands by name, each loaded when it is looked up."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        self.known: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in COMMANDS:
            raise KeyError(name)
        if name not in self.known:
            # Loads what reads options, which the list of commands needs nothing of.
            from gptfl.cli.adapter import Once

            alone = typer.Typer(add_completion=False, rich_markup_mode=MARKUP, pretty_exceptions_enable=False)
            alone.command(name, cls=Once)(self.guard(importlib.import_module(module(name)).command))
            self.known[name] = typer.main.get_command(alone)
        return self.known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


def group(guard: Guard) -> type[TyperGroup]:
    """The class of the group of all commands; each command goes through ``guard`` when it is loaded."""

    class Commands(TyperGroup):
        """Lists the commands by their first line, and loads the one that is called."""

        def __init__(self, **rest: Any) -> None:
            super().__init__(**{**rest, "commands": {}})
            self.commands: Any = _Loaded(guard)

        def get_params(self, ctx: Any) -> Any:
            return read_plainly(super().get_params(ctx))

        def list_commands(self, ctx: Any) -> list[str]:
            return list(COMMANDS)

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            """The command as lists show it."""
            if cmd_name not in COMMANDS:
                return None
            return TyperCommand(cmd_name, help=COMMANDS[cmd_name], rich_markup_mode=MARKUP)

        def format_commands(self, ctx: Any, formatter: Any) -> None:
            """Every line in full; the group's own method cuts them."""
            with formatter.section("Commands"):
                formatter.write_dl(list(COMMANDS.items()))

        def resolve_command(self, ctx: Any, args: list[str]) -> Any:
            """The command that is called, loaded."""
            name, found, rest = super().resolve_command(ctx, args)
            return name, found if name is None else self.commands[name], rest

    return Commands
