"""A share of tools/fuzz_models.py: no broken model folder ends in a traceback, in several lines or in a long wait."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

TOOL = Path(__file__).parents[1] / "tools" / "fuzz_models.py"
SHARE = 3
"""Of so many cases one is tried here; what is not refused before torch is asked takes longer, and comes last."""


def load_tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz_models", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz_models"] = module
    spec.loader.exec_module(module)
    return module


fuzz = load_tool()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fuzz.make_base(tmp_path_factory.mktemp("base") / "model")


@pytest.mark.parametrize("name", [*fuzz.TAKEN, *fuzz.REFUSED][::SHARE])
def test_a_folder_is_taken_or_refused_in_one_line(base: Path, tmp_path: Path, name: str) -> None:
    outcome = fuzz.try_case(name, base, tmp_path / "model")
    assert outcome.fault in ("", "slow"), outcome


def test_there_are_enough_cases() -> None:
    assert len(fuzz.TAKEN) + len(fuzz.REFUSED) >= 100
