"""Plain values are read without pydantic, and exactly as Typer reads them."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.core import TyperCommand

from gptfl.cli.values import read_plainly

KINDS = {"whole": int, "number": float, "text": str, "file": Path}
WORDS = {
    "whole": ["3", "-7", "007", "+3", " 3", "3.0", "1_000", "x", "", "1e3", "٣", "9" * 30],
    "number": [
        "3",
        "0.5",
        "-1e-4",
        "1E3",
        "1e999",
        ".5",
        "5.",
        "inf",
        "nan",
        "-inf",
        "1_0",
        "x",
        "",
        " 2",
        "1.5e",
        "9" * 400,
    ],
    "text": ["", "a", "-", "ρ", "a b"],
    "file": [".", "-", "", "not there", __file__, "a\0b", "/dev/null"],
}


def read(kind: type, word: str, plainly: bool, several: bool) -> Any:
    """What a command gets of an option's word, or how it is refused."""
    got = []
    annotation: Any = list[kind] | None if several else kind | None  # type: ignore[valid-type]

    class Command(TyperCommand):
        def get_params(self, ctx: Any) -> Any:
            return read_plainly(super().get_params(ctx)) if plainly else super().get_params(ctx)

    app = typer.Typer()

    @app.command(cls=Command)
    def command(value: Annotated[annotation, typer.Option()] = None) -> None:
        got.append(value)

    try:
        app(["--value", word], standalone_mode=False)
    except Exception as error:
        return type(error).__name__, str(error)
    return type(got[0]), repr(got[0])


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize(("kind", "word"), [(kind, word) for kind, words in WORDS.items() for word in words])
def test_a_value_is_what_typer_makes_of_it(kind: str, word: str, several: bool) -> None:
    plain, usual = (read(KINDS[kind], word, plainly, several) for plainly in (True, False))
    assert plain == usual


def test_a_command_loads_no_pydantic() -> None:
    code = (
        "import sys; sys.argv = ['gptfl', 'simulate', '--subset', 'a.txt', '--orders', '2', '--lr', '1e-3',"
        "'--print-config']\nimport gptfl.cli.main as m\ntry: m.run()\nexcept SystemExit: pass\n"
        "print(sorted({'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "lr = 0.001\n" in done.stdout
    assert done.stdout.endswith("\n[]\n")
