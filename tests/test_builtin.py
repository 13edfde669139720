"""gptfl's own parts, as its hooks register them."""

import importlib
import inspect
import subprocess
import sys

import pytest

from gptfl import builtin
from gptfl.builtin import Lazy
from gptfl.plugins.parts import KINDS, OWN
from gptfl.plugins.registry import HOOKS, build

PARTS = {(kind, name): lazy for hook, kind in HOOKS.items() for name, lazy in getattr(builtin, hook, dict)().items()}
NEEDED = {"causal-lm": {"model": "tiny"}}


@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_a_part_is_what_it_is_registered_as(kind: str, name: str) -> None:
    lazy = PARTS[kind, name]
    part = getattr(importlib.import_module(f"gptfl.{lazy.module}"), lazy.name)
    assert inspect.signature(lazy) == inspect.signature(part)
    made = lazy(**NEEDED.get(name, {}))
    assert isinstance(made, part)
    assert (made.info if kind == "metric" else made).name == name


def test_each_kind_has_one_and_all_are_gptfls_own() -> None:
    assert {kind for kind, _ in PARTS} == set(KINDS)
    registry = build([])
    assert {key: claims[0].owner for key, claims in registry.parts.items()} == dict.fromkeys(PARTS, OWN)
    assert registry.problems == []


def test_settings_reach_the_part_and_unknown_ones_its_own_error() -> None:
    made = Lazy("encoders", "TfidfSvd")(dims=3)
    assert made.dims == 3
    with pytest.raises(TypeError, match="dim"):
        Lazy("encoders", "TfidfSvd")(dim=3)


def test_registering_loads_none_of_them() -> None:
    code = "import sys\nfrom gptfl import builtin\n[getattr(builtin, name)() for name in dir(builtin) if name.startswith('gptfl_')]\n"
    code += "print([one for one in ('torch', 'sklearn', 'gptfl.encoders', 'gptfl.estimators.class_share') if one in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
