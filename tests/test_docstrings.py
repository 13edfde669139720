"""A public function with more than three parameters lists each of them in its docstring.

Those of the public Python API that it takes as options of its command are listed in docs/cli.md, and in its signature.
"""

import ast
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gptfl
import gptfl.plugins
from gptfl import testing

MOST = 3
"""So many parameters a first line can tell."""
ROOT = Path(gptfl.__file__).parent


def spelt(function: ast.FunctionDef) -> list[str]:
    """The parameters that a function spells itself."""
    found = function.args
    more = [one for one in (found.vararg, found.kwarg) if one is not None]
    names = [one.arg for one in (*found.posonlyargs, *found.args, *found.kwonlyargs, *more)]
    return [name for name in names if name not in ("self", "cls")]


def functions_of(node: ast.Module | ast.ClassDef) -> Iterator[ast.FunctionDef]:
    return (one for one in node.body if isinstance(one, ast.FunctionDef) and not one.name.startswith("_"))


def public() -> Iterator[tuple[str, ast.FunctionDef]]:
    """Every function and method whose name says that others may call it."""
    for path in sorted(ROOT.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        where = f"{path.relative_to(ROOT).as_posix()}:"
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield from ((f"{where}{node.name}.{one.name}", one) for one in functions_of(node))
        yield from ((f"{where}{one.name}", one) for one in functions_of(tree))


EVENTS = "recorder/callback.py:GptflCallback.on_"
"""Events of a trainer, whose parameters transformers lays down."""
FUNCTIONS = {name: one for name, one in public() if len(spelt(one)) > MOST and not name.startswith(EVENTS)}


def listed(function: ast.FunctionDef) -> list[str]:
    """The parameters that its docstring lists; what a line goes on with is indented further."""
    _, found, rest = (ast.get_docstring(function) or "").partition("Args:\n")
    lines = rest.split("\n\n")[0].splitlines() if found else []
    return [line.strip().split(":")[0] for line in lines if line.startswith("    ") and line[4:5] != " "]


def test_every_parameter_is_in_the_list_and_no_other() -> None:
    wrong = {name: (spelt(one), listed(one)) for name, one in FUNCTIONS.items() if set(spelt(one)) != set(listed(one))}
    assert wrong == {}


def in_public_api() -> Iterator[tuple[str, Callable[..., Any]]]:
    for module in (gptfl, gptfl.plugins, testing):
        for name in module.__all__:
            found = getattr(module, name)
            if inspect.isfunction(found):
                yield f"{module.__name__}.{name}", found


def test_the_public_functions_are_found() -> None:
    code = {Path(inspect.unwrap(one).__code__.co_filename): name for name, one in in_public_api()}
    assert {path.relative_to(ROOT).parts[0] for path in code} >= {"api", "plugins", "testing"}
    assert {
        "interchange/import_recording.py:import_",
        "plugins/settings.py:whole",
        "recording/collect.py:collect",
    } <= set(FUNCTIONS)
