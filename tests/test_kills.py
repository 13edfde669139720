"""A share of tools/kills.py: what is killed at any moment goes on to the very result."""

import importlib
import os
from pathlib import Path
from random import Random
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="forks and kills processes")
TOOLS = Path(__file__).parents[1] / "tools"


@pytest.fixture(scope="module")
def kills() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TOOLS))
        yield importlib.import_module("kills")


def test_what_is_killed_goes_on_to_the_same_result(kills: Any, tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    stages = ("fit", "simulate")
    taken = kills.make_base(base, stages)
    random = Random(1)
    tried = [
        kills.try_stage(name, base, taken[name], tmp_path / f"{number}", random) for number, name in enumerate(stages)
    ]
    assert [one for one in tried if one.fault] == []
    assert sum(one.kills for one in tried) > 0
