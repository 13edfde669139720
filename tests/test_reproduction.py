"""The page of the paper's tables: what it shows is what lies in the raw results, and these hold nothing local."""

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reproduction", ROOT / "tools" / "reproduction.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_shows_the_raw_results(script: ModuleType) -> None:
    text = script.PAGE.read_text(encoding="utf-8")
    assert script.with_tables(text) == text, "run: python tools/reproduction.py page"


def test_every_result_belongs_to_a_study(script: ModuleType) -> None:
    known = {name for study in script.STUDIES for name in study.results}
    assert {path.stem for path in script.RAW.glob("*.json")} <= known


def strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for pair in value.items() for item in pair for text in strings(item)]
    if isinstance(value, list):
        return [text for item in value for text in strings(item)]
    return [value] if isinstance(value, str) else []


def test_raw_results_hold_no_path_of_a_machine(script: ModuleType) -> None:
    for path in script.RAW.glob("*.json"):
        for text in strings(json.loads(path.read_text(encoding="utf-8"))):
            assert not re.search(r"(^|\s)/\w+/", text), (path.name, text)


def test_what_was_not_run_is_said(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = script.STUDIES[2]
    monkeypatch.setattr(script, "RAW", tmp_path)
    assert f"Not run: {', '.join(study.results)}." in script.rendered(study)


def test_local_parts_of_a_result_are_dropped(script: ModuleType) -> None:
    kept = script.scrubbed({"rankings": [{"simulator": "/a/b.h5", "examples": [{"id": "1", "text": "hush"}]}]})
    assert kept == {"rankings": [{"examples": [{"id": "1"}]}]}
