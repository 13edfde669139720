"""The released layout, written."""

from dataclasses import replace
from typing import Any

import pytest

from gptfl.interchange.gptdynamics_writer import folder_names
from tests.synthetic import synthetic


@pytest.mark.parametrize(
    "names", [["../a", "b", "c"], ["a", "A", "b"], ["b", "a", "c"], ["a", "b"], [1, 2, 3], "abc", ["a/b", "c", "d"]]
)
def test_names_that_a_file_tells_are_taken_only_if_they_are_plain(names: Any) -> None:
    dynamics = replace(synthetic(3)[0], settings={"run_names": names})
    assert folder_names(dynamics) == ["run-0000", "run-0001", "run-0002"]
    assert folder_names(replace(dynamics, settings={"run_names": ["s-1", "s-2", "s-10"]})) == ["s-1", "s-2", "s-10"]
