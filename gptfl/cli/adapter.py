"""Gives a command its options: the fields of dataclasses become what Typer offers, and a file may set them, too."""

import functools
import inspect
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import MISSING
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from gptfl.cli import console
from gptfl.cli.config import read_config, written
from gptfl.cli.values import read_plainly
from gptfl.errors import GptflError, UsageError
from gptfl.options.base import Place, assemble, check_value, places
from gptfl.options.files import read_values

CONFIG, PRINT_CONFIG, RECIPE = "config", "print_config", "recipe"
GIVEN = "gptfl.given"
"""Where the context keeps the names of the options that were typed."""
PANEL = "Options as a file"
Command = Callable[..., None]


class Once(TyperCommand):
    """A command that refuses an option given twice where it takes one value: the last would hold, and nobody be told."""

    def get_params(self, ctx: Any) -> Any:
        """Its parameters, which read plain values themselves."""
        return read_plainly(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words. Raises ``UsageError`` for an option that is given twice."""
        if any(option.name == RECIPE for option in self.params) and not ctx.resilient_parsing:
            from gptfl.cli.trainer_flags import in_own_words

            args = in_own_words(
                args, {flag for option in self.params for flag in (*option.opts, *option.secondary_opts)}
            )
        if not ctx.resilient_parsing:
            _, _, given = self.make_parser(ctx).parse_args(args=list(args))
            help_requested = any(option.name == "help" for option in given)
            ctx.meta[GIVEN] = {option.name for option in given}
            for option, times in Counter(given).items():
                if times > 1 and _takes_one(option) and not help_requested:
                    flag = "/".join([option.opts[0], *option.secondary_opts[:1]])
                    raise UsageError(f"{flag} is given {'twice' if times == 2 else f'{times} times'}", "give it once")
        return super().parse_args(ctx, args)


def _takes_one(option: Any) -> bool:
    """Whether one of two would be lost: not of a flag that only says yes."""
    says_yes = getattr(option, "is_flag", False) and not option.secondary_opts
    return option.param_type_name == "option" and not option.multiple and not says_yes


def with_options(*kinds: type) -> Callable[[Command], Command]:
    """Give a command the fields of these dataclasses as options; it is called with one object of each.

    Besides, ``--config FILE`` takes options from a file, those of the command line going before, and
    ``--print-config`` prints them as one instead of calling the command.
    """
    ours = [place for kind in kinds for place in places(kind)]

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def called(**given: Any) -> None:
            given.pop(CONFIG, None)
            if RECIPE not in {place.name for place in ours}:
                given.pop(RECIPE, None)
            printing = given.pop(PRINT_CONFIG, False)
            objects: list[Any] = [assemble(kind, (), _values(kind, given)) for kind in kinds]
            if printing:
                from gptfl.cli import console

                console.say("\n".join(line for one in objects for line in written(one)))
                return
            command(*objects)

        parameters = [_parameter(place) for place in ours]
        if any(not place.option.argument for place in ours):
            parameters += [_config(ours), _print_config()]
        if any(place.group == "training" for place in ours):
            parameters.append(_recipe())
        parameters.sort(key=lambda one: one.default is not inspect.Parameter.empty)
        called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        called.__annotations__ = {one.name: one.annotation for one in parameters}
        return called

    return decorate


def _values(kind: type, given: dict[str, Any]) -> dict[str, Any]:
    """What is given of these options; several that weren't given stay at their default."""
    found = {}
    for place in places(kind):
        value = given[place.name]
        if not place.several:
            found[place.name] = value
        elif value:
            found[place.name] = tuple(value)
    return found


def _parameter(place: Place) -> inspect.Parameter:
    known = place.option
    shared: dict[str, Any] = {
        "help": known.help,
        "metavar": known.metavar,
        "show_default": known.shown,
        "rich_help_panel": place.panel,
        "autocompletion": completion(known.complete),
        "envvar": known.envvar,
        "callback": _checked(place),
    }
    info = typer.Argument(**shared) if known.argument else typer.Option(*place.flags, **shared)
    default = inspect.Parameter.empty if place.default is MISSING else None if place.several else place.default
    return inspect.Parameter(
        place.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[_type(place), info],
    )


def _checked(place: Place) -> Callable[..., Any] | None:
    """Refuses a number out of bounds as it is read, before anything is opened or loaded."""
    if place.option.bound is None:
        return None

    def callback(ctx: typer.Context, value: Any) -> Any:
        if not ctx.resilient_parsing:
            check_value(place, value)
        return value

    return callback


def _type(place: Place) -> Any:
    """The type that Typer reads: a file that Python also takes as text is a path here, and a number or a word a text."""
    kind: Any = next((one for one in (Path, str) if one in place.takes), place.takes[0])
    if place.several:
        return list[kind] | None
    return kind | None if place.default is None else kind


def _config(known: Sequence[Place]) -> inspect.Parameter:
    def read(ctx: typer.Context, value: Path | None) -> Path | None:
        if value is not None and not ctx.resilient_parsing:
            found = read_values(known, read_config(value), str(value), ctx.command_path)
            ctx.meta[GIVEN] = ctx.meta.get(GIVEN, set()) | found.keys()
            ctx.default_map = {**(ctx.default_map or {}), **{name: _typed(one) for name, one in found.items()}}
        return value

    info = typer.Option(
        "--config",
        metavar="FILE",
        help="Take options from this .toml or .json file; those that are given here go before.",
        show_default=False,
        rich_help_panel=PANEL,
        is_eager=True,
        callback=read,
    )
    return inspect.Parameter(
        CONFIG, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[Path | None, info]
    )


def _recipe() -> inspect.Parameter:
    def read(ctx: typer.Context, value: Path | None) -> Path | None:
        if value is not None and not ctx.resilient_parsing:
            from gptfl.cli import console
            from gptfl.options.recipe import read_recipe, typed

            recipe = read_recipe(value)
            options = recipe.without(ctx.meta.get(GIVEN, ()))
            ignored = f"; ignored: {', '.join(recipe.ignored)}" if recipe.ignored else ""
            console.note(f"recipe of {recipe.trainer}: {typed(options)}{ignored}")
            ctx.default_map = {**{name: _typed(one) for name, one in options.items()}, **(ctx.default_map or {})}
        return value

    info = typer.Option(
        "--recipe",
        metavar="FILE",
        help="Take the recipe of a YAML or JSON file of TRL, transformers, axolotl or LLaMA-Factory; options that are "
        "given here or by --config go before.",
        show_default=False,
        rich_help_panel=PANEL,
        callback=read,
    )
    return inspect.Parameter(
        RECIPE, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[Path | None, info]
    )


def _print_config() -> inspect.Parameter:
    info = typer.Option(
        "--print-config", help="Print the options as such a file (TOML), and do nothing.", rich_help_panel=PANEL
    )
    return inspect.Parameter(
        PRINT_CONFIG, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, info]
    )


def _typed(value: Any) -> Any:
    """A value as it would be typed, for Typer reads it as it reads what is typed."""
    if isinstance(value, tuple):
        return [_typed(one) for one in value]
    return value if isinstance(value, bool) else str(value) if isinstance(value, str | Path) else json.dumps(value)


def completion(of: str | tuple[str, ...] | None) -> Callable[[str], list[str]] | None:
    """What a shell offers for an option: words, the models with short names, or the registered parts of a kind."""
    if of is None:
        return None

    def names(incomplete: str) -> list[str]:
        return [name for name in _names(of) if name.startswith(incomplete)]

    return names


def _names(of: str | tuple[str, ...]) -> list[str]:
    if isinstance(of, tuple):
        return list(of)
    if of == "model":
        from gptfl.training.names import ALIASES, SMOLLM2_Q4, TINY

        return [*ALIASES, SMOLLM2_Q4, TINY]
    try:
        return list(console.registry().names(of))
    except GptflError:
        return []
