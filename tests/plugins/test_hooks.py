"""The hooks: there is one for each kind of part, and what marks an implementation is read by gptfl alone."""

import inspect
import types
from typing import get_type_hints

import pluggy
import pytest

from gptfl.plugins import hooks, registry
from gptfl.plugins.parts import KINDS

NAMES = [name for name in vars(hooks) if name.startswith("gptfl_")]


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_a_hook_that_gives_factories_of_it(kind: str) -> None:
    hook = getattr(hooks, f"gptfl_{kind}s")
    _, factory = get_type_hints(hook)["return"].__args__
    assert factory.__args__[-1] is KINDS[kind]
    # One that took something would get it from gptfl, and a plugin that didn't ask for it would be refused.
    assert not inspect.signature(hook).parameters


def test_there_are_no_other_hooks() -> None:
    assert sorted(NAMES) == sorted(registry.HOOKS) == sorted(f"gptfl_{kind}s" for kind in KINDS)


def test_only_marked_functions_are_read() -> None:
    manager = pluggy.PluginManager("gptfl")
    manager.add_hookspecs(hooks)
    module = types.ModuleType("acme")
    module.gptfl_tasks = hooks.hookimpl(lambda: {"errand": object})  # type: ignore[attr-defined]
    module.gptfl_metrics = lambda: {"unmarked": object}  # type: ignore[attr-defined]
    module.gptfl_encoders = pluggy.HookimplMarker("other")(lambda: {"others": object})  # type: ignore[attr-defined]
    manager.register(module)
    assert manager.hook.gptfl_tasks() == [{"errand": object}]
    assert manager.hook.gptfl_metrics() == manager.hook.gptfl_encoders() == []


def test_plugins_are_looked_for_in_the_group_that_gptfl_names(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(registry, "entry_points", lambda *, group: asked.append(group) or ())
    registry.installed.__wrapped__()
    assert asked == [hooks.ENTRY_POINT_GROUP] == ["gptfl"]
