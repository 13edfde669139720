"""What docs/architecture.md says of the code is so."""

import ast
import re
import tomllib
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text()


def modules() -> list[Path]:
    return sorted((ROOT / "gptfl").rglob("*.py"))


def test_the_picture_of_rooms_is_the_contract() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    picture = re.search(r"## Rooms.*?```\n(.*?)```", PAGE, re.DOTALL)
    assert picture is not None
    assert picture[1].split("\n")[:-1] == [layer for layer in layers if layer != "__main__"]


def test_every_file_that_the_page_names_is_there() -> None:
    named = re.findall(r"`((?:\w+/)+\w+\.py)`", PAGE)
    assert named
    for name in named:
        assert (ROOT / "gptfl" / name).is_file() or (ROOT / name).is_file(), name


def test_no_two_classes_have_one_name() -> None:
    where = defaultdict(list)
    for path in modules():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                where[node.name].append(path.relative_to(ROOT).as_posix())
    assert {name: paths for name, paths in where.items() if len(paths) > 1} == {}


def test_nothing_that_computes_imports_the_reports() -> None:
    above = {"report", "api", "cli"}
    for path in modules():
        room = path.relative_to(ROOT / "gptfl").parts[0].removesuffix(".py")
        if room in above or room.startswith("__"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert not (node.module or "").startswith("gptfl.report"), path


def test_gptfls_own_estimators_have_their_names_in_one_place_and_plugins_theirs_in_none() -> None:
    own = {"gptfluence", "exposure-gp"}
    theirs = {"tracin-cp", "grad-dot", "tracin-own-run", "datamodels", "simfluence"}
    for path in modules():
        where = path.relative_to(ROOT / "gptfl").as_posix()
        known = own if where in ("builtin.py", "options/defaults.py") or where.startswith("estimators/") else set()
        values = {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
        assert not (values & (own | theirs)) - known, where


def test_what_is_installed_is_looked_up_at_the_doors_only() -> None:
    doors = {
        "api/attribute.py",
        "cli/console.py",
        "interchange/import_recording.py",
        "recorder/recorder.py",
        "recording/collect.py",
        "recording/recording.py",
        "recording/run_worker.py",
    }
    calls = defaultdict(list)
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
            if name in ("get_registry", "installed"):
                calls[path.relative_to(ROOT / "gptfl").as_posix()].append(node.lineno)
    calls.pop("plugins/registry.py")
    assert {name: len(lines) for name, lines in calls.items()} == dict.fromkeys(doors, 1)


def test_tests_import_nothing_private() -> None:
    for path in [*(ROOT / "tests").rglob("*.py"), *(ROOT / "plugins").rglob("test_*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gptfl"):
                assert [one.name for one in node.names if one.name.startswith("_")] == [], path


def test_modules_stay_readable() -> None:
    every = [*modules(), *(ROOT / "tests").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")]
    longest = {path.relative_to(ROOT).as_posix(): path.read_text().count("\n") for path in every}
    assert {name: lines for name, lines in longest.items() if lines > 350} == {}


def code_lines(function: ast.FunctionDef) -> int:
    """From ``def`` to the end, the docstring aside."""
    first = function.body[0]
    described = ast.get_docstring(function) is not None
    return (function.end_lineno or 0) - function.lineno + 1 - described * ((first.end_lineno or 0) - first.lineno + 1)


def test_functions_fit_on_a_screen() -> None:
    others = [path for folder in ("plugins", "tools", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    long = {}
    for path in [*modules(), *sorted(others)]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and code_lines(node) > 60:
                long[f"{path.relative_to(ROOT).as_posix()}:{node.name}"] = code_lines(node)
    assert long == {}


def test_every_module_has_the_tests_that_its_name_says() -> None:
    lacking = {}
    for path in modules():
        place = path.relative_to(ROOT / "gptfl")
        if place.name.startswith("__"):
            continue
        mirrored = ROOT / "tests" / place.parent / f"test_{place.name.lstrip('_')}"
        if not mirrored.exists():
            lacking[place.as_posix()] = f"{mirrored.relative_to(ROOT).as_posix()} is not there"
            continue
        text = mirrored.read_text()
        if not re.search(r"^(async )?def test_", text, re.MULTILINE):
            lacking[place.as_posix()] = "its file holds no test"
        elif not any(re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text) for name in names_of(path)):
            lacking[place.as_posix()] = "its file doesn't name it"
    assert not lacking, "\n".join(f"{module}: {what}" for module, what in lacking.items())


def names_of(path: Path) -> set[str]:
    """What a test of a module may name: the module, as it is imported, what it defines, or the command that it is."""
    place = path.relative_to(ROOT).with_suffix("")
    dotted = ".".join(place.parts)
    defined = {
        node.name
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_")
    }
    command = {place.name.strip("_").replace("_", "-")} if "command" in defined else set()
    return {dotted, f"{place.parent.name} import {place.name}", *(defined - {"command"}), *command}
