"""Discovery: one broken plugin is a named problem, and everything else keeps working."""

import subprocess
import sys
import textwrap
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gptfl.errors import PluginError
from gptfl.plugins import EncoderTags, parts, registry
from gptfl.plugins.hooks import hookimpl


def plugin(name: str, **hooks: Callable[[], Any]) -> ModuleType:
    """A plugin module with these hooks."""
    module = ModuleType(name)
    for hook, function in hooks.items():
        setattr(module, hook, hookimpl(function))
    return module


class Upper:
    """A whole encoder, but for what it returns."""

    name = "upper"
    tags = EncoderTags(per_example=True)

    def __init__(self, width: int = 3) -> None:
        self.width = width

    def identity(self) -> dict[str, int]:
        return {"width": self.width}

    def encode(self, pool: object, test: object) -> dict[str, object]:
        return {}


def healthy(name: str = "healthy", part: str = "upper") -> ModuleType:
    return plugin(name, gptfl_encoders=lambda: {part: Upper})


def reasons(found: registry.Registry, owner: str) -> list[str]:
    return [problem.reason for problem in found.problems if problem.owner == owner]


def test_own_parts_come_through_the_hooks() -> None:
    found = registry.build([])
    assert found.problems == []
    assert "gptfluence" in found.names("estimator")
    assert {part.owner for claims in found.parts.values() for part in claims} == {"gptfl"}
    assert {kind for kind, _ in found.parts} == set(parts.KINDS)


def test_a_plugin_adds_its_part() -> None:
    found = registry.build([healthy()])
    assert found.find("encoder", "upper").owner == "healthy"
    assert found.make("encoder", "upper", width=5).identity() == {"width": 5}


BROKEN = {
    "returns-a-list": (
        lambda: plugin("broken", gptfl_encoders=lambda: ["a"]),
        "gptfl_encoders returned list, not a mapping of names to factories",
    ),
    "forgets-to-return": (
        lambda: plugin("broken", gptfl_encoders=lambda: None),
        "gptfl_encoders returned NoneType, not a mapping of names to factories",
    ),
    "factory-not-callable": (
        lambda: plugin("broken", gptfl_encoders=lambda: {"a": 3}),
        "its encoder 'a' is not a name with a factory: skipped",
    ),
    "name-not-a-string": (
        lambda: plugin("broken", gptfl_encoders=lambda: {3: Upper}),
        "its encoder 3 is not a name with a factory: skipped",
    ),
    "hook-raises": (
        lambda: plugin("broken", gptfl_encoders=lambda: {}["no such\nkey"]),
        "gptfl_encoders raised KeyError: 'no such\\nkey'",
    ),
    "hook-exits": (
        lambda: plugin("broken", gptfl_encoders=lambda: sys.exit("no")),
        "gptfl_encoders raised SystemExit: no",
    ),
    "misspelt-hook": (
        lambda: plugin("broken", gptfl_encoder=lambda: {"a": Upper}),
        "implements gptfl_encoder, which is no hook of gptfl: did you mean 'gptfl_encoders'?",
    ),
    "claims-gptfls-name": (
        lambda: plugin("broken", gptfl_encoders=lambda: {"minilm": Upper}),
        "encoder 'minilm' is gptfl's own name: skipped",
    ),
}


@pytest.mark.parametrize(("make", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_broken_plugin_is_named_and_stays_alone(make: Callable[[], ModuleType], reason: str) -> None:
    found = registry.build([make(), healthy()])
    assert reasons(found, "broken") == [reason]
    assert len(found.problems) == 1
    assert found.find("encoder", "upper").owner == "healthy"
    assert found.find("encoder", "minilm").owner == "gptfl"


def test_one_bad_name_leaves_the_plugins_other_names() -> None:
    found = registry.build([plugin("half", gptfl_encoders=lambda: {"minilm": Upper, "good": Upper, "bad": None})])
    assert found.find("encoder", "good").owner == "half"
    assert len(reasons(found, "half")) == 2
    assert "bad" not in found.names("encoder")


def test_a_plugin_without_hooks_is_reported_so() -> None:
    module = ModuleType("forgetful")
    module.gptfl_encoders = lambda: {"upper": Upper}  # type: ignore[attr-defined]
    assert "implements no hook" in reasons(registry.build([module]), "forgetful")[0]


def test_a_hook_with_foreign_arguments_takes_none_of_its_plugin() -> None:
    module = plugin("curious", gptfl_encoders=lambda: {"upper": Upper}, gptfl_tasks=lambda: {"t": Upper})
    module.gptfl_metrics = hookimpl(lambda config: {})  # type: ignore[attr-defined]
    found = registry.build([module])
    assert found.names("encoder") == registry.build([]).names("encoder")
    assert "can't be registered" in reasons(found, "curious")[0]


def test_a_name_that_two_claim_fails_only_when_it_is_used() -> None:
    found = registry.build([healthy("one"), healthy("two"), healthy("three", "other")])
    assert [problem.owner for problem in found.problems] == ["one and two"]
    assert found.find("encoder", "other").owner == "three"
    with pytest.raises(PluginError, match="'upper' is claimed by one and two: uninstall all but one"):
        found.find("encoder", "upper")


def test_unknown_names_get_a_suggestion() -> None:
    found = registry.build([])
    with pytest.raises(PluginError, match=r"unknown encoder 'minlm': did you mean 'minilm'\?"):
        found.find("encoder", "minlm")
    with pytest.raises(PluginError, match="unknown metric 'x': known: accuracy, bleu, loss, rougeL"):
        found.find("metric", "x")


def test_an_unknown_setting_is_named() -> None:
    with pytest.raises(PluginError, match="encoder 'upper' has no setting 'height'"):
        registry.build([healthy()]).make("encoder", "upper", height=1)


@pytest.mark.parametrize(("kind", "name"), [("estimator", "mean-run"), ("metric", "loss"), ("encoder", "tfidf-svd")])
def test_an_unknown_setting_of_gptfls_own_is_named(kind: str, name: str) -> None:
    with pytest.raises(PluginError, match=f"{kind} '{name}' has no setting 'dim': (it takes none|did you mean 'dims')"):
        registry.build([]).make(kind, name, dim=1)


@pytest.mark.parametrize(
    "error", [TypeError("unexpected keyword argument 'inner'"), RuntimeError("a\nb"), KeyError("k")]
)
def test_whatever_a_plugins_factory_raises_is_its_own_fault(error: Exception) -> None:
    def factory(**settings: object) -> None:
        raise error

    found = registry.build([plugin("buggy", gptfl_encoders=lambda: {"buggy": factory})])
    problem = f"encoder 'buggy' of buggy raised {type(error).__name__} in its factory"
    with pytest.raises(PluginError, match=problem) as caught:
        found.make("encoder", "buggy", inner=1)
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("needs", ["choices", ["choices"], {1}, None])
def test_needs_are_a_set_of_words(needs: object) -> None:
    def metric() -> object:
        names = dict.fromkeys(parts.interface_members("metric"))
        return type("Needy", (), names | {"needs": needs})()

    found = registry.build([plugin("needy", gptfl_metrics=lambda: {"needy": metric})])
    with pytest.raises(PluginError, match=r"metric 'needy' of needy has needs .*, which is not a set of words"):
        found.make("metric", "needy")


def test_tags_of_another_kind_are_reported_as_the_plugins_fault() -> None:
    def estimator() -> object:
        names = dict.fromkeys(parts.interface_members("estimator"))
        return type("Untagged", (), names | {"tags": {"requires": "features"}})()

    found = registry.build([plugin("odd", gptfl_estimators=lambda: {"untagged": estimator})])
    with pytest.raises(PluginError, match=r"estimator 'untagged' of odd has tags .*, which are no EstimatorTags"):
        found.make("estimator", "untagged")


def test_a_missing_library_is_named() -> None:
    def factory() -> None:
        raise ModuleNotFoundError("No module named 'faraway.lib'", name="faraway.lib")

    found = registry.build([plugin("needy", gptfl_encoders=lambda: {"needy": factory})])
    with pytest.raises(PluginError, match=r"encoder 'needy' of needy needs the Python module 'faraway\.lib'"):
        found.make("encoder", "needy")


def test_a_part_that_lacks_a_member_is_refused() -> None:
    found = registry.build([plugin("partial", gptfl_metrics=lambda: {"partial": Upper})])
    with pytest.raises(PluginError, match="metric 'partial' of partial lacks info, needs, check, measure"):
        found.make("metric", "partial")


def install(folder: Path, name: str, code: str, modules: str = "{}") -> None:
    """Lay out a distribution the way pip does, with an entry point for each module named."""
    module = name.replace("-", "_")
    (folder / f"{module}.py").write_text(textwrap.dedent(code), encoding="utf-8")
    info = folder / f"{module}-2.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.1\n", encoding="utf-8")
    lines = "\n".join(f"{part} = {modules.format(module)}" for part in ("first",))
    (info / "entry_points.txt").write_text(f"[gptfl]\n{lines}\n", encoding="utf-8")


GOOD = """
    from gptfl.plugins.hooks import hookimpl

    @hookimpl
    def gptfl_encoders():
        return {"%s": object}
"""


def test_installed_plugins_are_found_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "sound-plugin", GOOD % "sound")
    install(tmp_path, "raising-plugin", "raise RuntimeError('two\\nlines')")
    install(tmp_path, "exiting-plugin", "raise SystemExit(1)")
    install(tmp_path, "syntax-plugin", "def")
    install(tmp_path, "absent-plugin", "", modules="no_such_module")
    install(tmp_path, "object-plugin", "thing = [1]", modules="{}:thing")
    monkeypatch.syspath_prepend(tmp_path)
    found = registry.installed.__wrapped__()
    assert found.find("encoder", "sound").owner == "sound-plugin 2.1"
    assert reasons(found, "raising-plugin 2.1") == ["can't be loaded: RuntimeError: two lines"]
    assert reasons(found, "exiting-plugin 2.1") == ["can't be loaded: SystemExit: 1"]
    assert "SyntaxError" in reasons(found, "syntax-plugin 2.1")[0]
    assert "No module named 'no_such_module'" in reasons(found, "absent-plugin 2.1")[0]
    assert "implements no hook" in reasons(found, "object-plugin 2.1")[0]


def test_a_distribution_may_have_several_entry_points() -> None:
    modules = [healthy("a", "first"), healthy("b", "second")]
    points = [EntryPoint(module.__name__, module.__name__, "gptfl") for module in modules]
    sys.modules.update({module.__name__: module for module in modules})
    try:
        found = registry.build([*points, points[0]])
    finally:
        for module in modules:
            del sys.modules[module.__name__]
    assert found.problems == []
    assert {"first", "second"} <= set(found.names("encoder"))


HEAVY = ("torch", "transformers", "datasets", "sklearn", "matplotlib", "h5py")


@pytest.mark.parametrize(
    "statement", ["import gptfl", "from gptfl.plugins.registry import build; build([])", "import gptfl.testing"]
)
def test_heavy_libraries_stay_unloaded(statement: str) -> None:
    code = f"import sys; {statement}; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
