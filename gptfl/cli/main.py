"""The application: its commands, and the one place where an error becomes a line and an exit code."""

import functools
import itertools
import logging
import os
import sys
import warnings
from collections.abc import Callable
from typing import Annotated, Any

import typer

from gptfl import interruption
from gptfl.cli.commands import COMMANDS, group
from gptfl.errors import DataError, GptflError, GptflWarning, ResourceError, is_memory_full, one_line
from gptfl.plugins.settings import check_utf8

INTERRUPTED = 130
# The base of what the option parser raises; typer has carried its own copy of click since some version.
UsageProblem: type[BaseException] = typer.BadParameter.__mro__[2]


class _Stopped(Exception):
    """A request to stop was followed; typer would print nothing of it. The text says what is left."""


def _stoppable(command: Callable[..., None]) -> Callable[..., None]:
    """The command, with a word on what an interruption or full memory leaves behind."""

    @functools.wraps(command)
    def stoppable(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except KeyboardInterrupt as stop:
            raise _Stopped(interruption.left_by(stop)) from stop
        except GptflError:
            raise
        except Exception as error:
            full = is_memory_full(error)
            # numpy's and scipy's; neither may be loaded.
            if not full and (type(error).__name__ == "LinAlgError" or "not contain infs or NaNs" in str(error)):
                raise DataError(
                    f"the numbers of these files can't be computed with: {_first_sentence(error)}",
                    "look whether the recording, features or simulator hold absurd values, and make them again",
                ) from error
            if not full:
                raise
            raise ResourceError(
                f"memory is full: {_first_sentence(error)}; {interruption.left_by(error)}",
                "see what else runs there, or ask for less at a time (for trainings: --accumulate, --train-layers)",
            ) from error

    return stoppable


def _first_sentence(error: BaseException) -> str:
    """What was asked for, without the process list and the advice that follow."""
    text = str(error).strip() or "the system gave no more"
    return ". ".join(text.splitlines()[0].split(". ")[:2]).rstrip(".")


app = typer.Typer(
    name="gptfl",
    cls=group(_stoppable),
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="Predict what fine-tuning a GPT model on other examples would have done, without running it.",
    epilog="Start with `gptfl demo`, or record your own: `gptfl collect --model pythia-410m --task rte`.",
)


def _show_version(is_given: bool) -> None:
    if is_given:
        from importlib.metadata import version

        from gptfl.cli import console

        console.say(f"gptfl {version('gptfl')}")
        raise typer.Exit


@app.callback()
def main(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and stop.")
    ] = False,
) -> None:
    """Every stage reads what the one before wrote into the workspace."""


def run() -> None:
    """Run the command line. What the user can mend becomes one line on stderr and an exit code."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Small models compute for microseconds at a time. Threads that spin in between starve each other where another
    # program wants the same cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # Where it can't write to the home folder, matplotlib would tell of the temporary one that it takes instead.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    try:
        for word in sys.argv[1:]:
            check_utf8(word, "the argument")
        with warnings.catch_warnings():
            warnings.simplefilter("always", GptflWarning)
            warnings.showwarning = _show_warning
            _NOTED.clear()
            code = app(prog_name="gptfl", standalone_mode=False)
        if code == INTERRUPTED:  # typer's own answer outside of a command, as while options are read
            code = _interrupted(interruption.NOTHING_LEFT)
    except GptflError as error:
        code = _refuse(error.line, error.exit_code)
    except UsageProblem as error:
        code = _show_usage(error)
    except _Stopped as stop:
        code = _interrupted(str(stop))
    except typer.Abort:  # what earlier versions of typer answer
        code = _interrupted(interruption.NOTHING_LEFT)
    sys.exit(code or 0)


_NOTED: set[str] = set()
"""The notes on arithmetic that were shown."""


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
) -> None:
    """Print what gptfl has to say as a note, and others' warnings as Python does; those of arithmetic once, shortly."""
    # Loaded here, as all that prints, so that help starts fast.
    from gptfl.cli import console

    if issubclass(category, GptflWarning):
        console.note(str(message))
    elif issubclass(category, RuntimeWarning):
        note = f"some numbers are too large or none ({message}): look whether the files hold absurd values"
        if not _NOTED:
            console.note(note)
        _NOTED.add(note)
    else:
        sys.stderr.write(warnings.formatwarning(message, category, filename, lineno, line))


def _interrupted(left: str) -> int:
    """Tell that a request to stop was followed, and what it left; returns the exit code."""
    from gptfl.cli import console

    console.err.print(f"interrupted: {one_line(left)}", markup=False, style="red", soft_wrap=True)
    return interruption.exit_code()


def _refuse(text: str, code: int) -> int:
    from gptfl.cli import console

    console.err.print(f"error: {text}", markup=False, soft_wrap=True, style="red")
    return code


def _show_usage(error: Any) -> int:
    message = error.format_message().rstrip(".")
    if not message or "\n" in message:  # not a mistake: a bare `gptfl` asks for the help
        error.show()
        return int(error.exit_code)
    names = getattr(getattr(error, "param", None), "opts", ())
    given = [value for name, value in itertools.pairwise(sys.argv) if name in names]
    if given and given[-1] not in message:
        message += f", not {given[-1]!r}"
    # An option without its value is told without the command.
    known = " ".join(["gptfl", *(word for word in sys.argv[1:2] if word in COMMANDS)])
    command = error.ctx.command_path if getattr(error, "ctx", None) is not None else known
    return _refuse(f"{message}: see {command} --help", error.exit_code)
