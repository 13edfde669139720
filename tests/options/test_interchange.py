"""The options of imports and exports."""

from pathlib import Path
from typing import Any

import pytest

from gptfl.core.schedules import SCHEDULES
from gptfl.errors import UsageError
from gptfl.options.base import function_name, make, places
from gptfl.options.interchange import ExportOptions, ImportOptions

FOLDER = {"layout": "gptdynamics", "folder": "rte"}


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"lr": 0.0}, "--lr is 0.0: give a positive number"),
        ({"lr": float("inf")}, "--lr is inf: give a positive number"),
        ({"warmup": 1.5}, "--warmup is 1.5: give a whole number of steps, or a share below 1"),
        ({"warmup": -1.0}, "--warmup is -1: give a whole number of steps, or a share below 1"),
    ],
)
def test_a_number_out_of_bounds_is_one_line(given: dict[str, Any], line: str) -> None:
    with pytest.raises(UsageError) as caught:
        make(ImportOptions, **FOLDER, **given)
    assert caught.value.line == line


def test_a_share_or_a_number_of_steps_is_a_warm_up() -> None:
    assert [make(ImportOptions, **FOLDER, warmup=one).warmup for one in (0, 0.1, 3)] == [0.0, 0.1, 3.0]


def test_layout_and_folder_are_told_by_place_and_where_to_has_to_be_said() -> None:
    assert [place.name for place in places(ImportOptions) if place.option.argument] == ["layout", "folder"]
    assert function_name(ImportOptions) == "import_", "import is a word that Python keeps for itself"
    with pytest.raises(TypeError, match="import_ needs 'folder'"):
        make(ImportOptions, layout="gptdynamics")
    with pytest.raises(TypeError, match="export needs 'to'"):
        make(ExportOptions)
    assert make(ExportOptions, to=Path("out")).to == Path("out")


def test_help_names_every_schedule() -> None:
    (schedule,) = (place.option.help for place in places(ImportOptions) if place.name == "schedule")
    assert all(name in schedule for name in SCHEDULES)
