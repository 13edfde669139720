"""A public function with more than three parameters lists each of them in its docstring.

Those that it takes as options of its command are listed in docs/cli.md, and in its signature.
"""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import gptfl
import gptfl.plugins
from gptfl import testing
from gptfl.influence.methods import compute_influence
from gptfl.recording.collect import collect
from gptfl.studies.rivals import baseline_choices

MOST = 3
"""So many parameters a first line can tell."""
MAIN = (collect, compute_influence, baseline_choices)


def public() -> Iterator[tuple[str, Callable[..., Any]]]:
    for module in (gptfl, gptfl.plugins, testing):
        for name in module.__all__:
            found = getattr(module, name)
            if inspect.isfunction(found) and not found.__module__.startswith("gptfl.api"):
                yield f"{module.__name__}.{name}", found
    yield from ((f"{one.__module__}.{one.__name__}", one) for one in MAIN)


def spelt(function: Callable[..., Any]) -> list[str]:
    """The parameters that a function spells itself."""
    code = inspect.unwrap(function).__code__
    flags = bool(code.co_flags & inspect.CO_VARARGS) + bool(code.co_flags & inspect.CO_VARKEYWORDS)
    return list(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount + flags])


FUNCTIONS = {name: one for name, one in public() if len(spelt(one)) > MOST}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_parameter_is_in_the_list(name: str) -> None:
    text = inspect.getdoc(FUNCTIONS[name]) or ""
    assert "Args:\n" in text
    listed = [line.strip().split(":")[0] for line in text.split("Args:\n")[1].split("\n\n")[0].splitlines()]
    missing = [one for one in spelt(FUNCTIONS[name]) if one not in listed]
    assert missing == []


def test_the_public_functions_are_found() -> None:
    assert {"gptfl.import_", "gptfl.plugins.whole", "gptfl.testing.check_task"} <= set(FUNCTIONS)
