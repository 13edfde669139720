"""A selected subset: the file of its ids, the table and the numbers."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

from gptfl.report.selection import HEAD, ids_text, selection_csv, selection_table, to_json
from gptfl.store.id_files import ExampleIndex
from tests.report.made import printed


def test_the_file_of_ids_is_read_as_the_same_subset(results: SimpleNamespace, tmp_path: Path) -> None:
    selection = results.selection
    odd = replace(selection.examples[0], id="# größe, \n")
    changed = replace(selection, examples=(odd, *selection.examples[1:]))
    (tmp_path / "chosen.txt").write_text(ids_text(changed), encoding="utf-8")
    head, *lines = ids_text(changed).splitlines()
    assert head == f"{HEAD}: 4 of 12 examples of {selection.recording}, by exposure-gp"
    assert len(lines) == 4
    pool = ExampleIndex((*changed.examples[::-1],))
    assert pool.select(tmp_path / "chosen.txt", "--subset").tolist() == [3, 2, 1, 0]


def test_programs_get_every_example_in_its_order(results: SimpleNamespace) -> None:
    selection = results.selection
    document = json.loads(to_json(replace(selection, among=7, criteria={"cautious": 0.5})))
    assert [one["id"] for one in document["examples"]] == list(selection.ids)
    assert [one["influence"] for one in document["examples"]] == selection.influence.tolist()
    assert [one["low"] for one in document["examples"]] == selection.low.tolist()
    assert (document["among"], document["cautious"], document["output"]) == (7, 0.5, None)
    assert json.loads(to_json(selection))["among"] is None
    assert "low" not in json.loads(to_json(replace(selection, low=None, high=None)))["examples"][0]


def test_the_table_has_the_highest_first(results: SimpleNamespace) -> None:
    selection = results.selection
    text = printed(selection_table(selection, 2), 120)
    best = sorted(zip(-selection.influence, selection.ids, strict=True))
    assert text.index(best[0][1]) < text.index(best[1][1])
    assert best[3][1] not in text
    assert "the 2 of highest influence, of 4" in text


def test_tables_of_programs_have_a_row_each(results: SimpleNamespace) -> None:
    header, *lines = selection_csv(results.selection).splitlines()
    assert header == "estimator,id,influence,low,high,class,text"
    assert [line.split(",")[1] for line in lines] == list(results.selection.ids)
    assert selection_csv(replace(results.selection, low=None, high=None)).startswith(
        "estimator,id,influence,class,text"
    )
