"""Each kind of choice is written as its own kind is."""

import json

import pytest

from gptfl.report.choices import chosen_csv, chosen_ids, chosen_json, draw_chosen, write_chosen_ids
from tests.report.chosen import frontier, mixture


@pytest.mark.parametrize("kind", ["frontier", "mixture", "selection"])
def test_ids_numbers_and_picture_are_of_the_kind(results, tmp_path, kind):
    result = {"frontier": frontier(), "mixture": mixture(), "selection": results.selection}[kind]
    write_chosen_ids(result, tmp_path / "ids.txt")
    assert (tmp_path / "ids.txt").read_text(encoding="utf-8") == chosen_ids(result)
    assert chosen_ids(result).splitlines()[1:] == list(result.ids)
    assert json.loads(chosen_json(result))["recording"] == result.recording
    assert chosen_csv(result).startswith("estimator,")
    if kind != "selection":
        draw_chosen(result, tmp_path / "a.png")
        assert (tmp_path / "a.png").is_file()
