"""The readers of the released layout: what they take, and how they refuse."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gptfl.core.texts import natural
from gptfl.errors import DataError
from gptfl.interchange import gptdynamics
from gptfl.interchange.gptdynamics import Budget, Duplicates, find_runs, read_batches, read_scores
from gptfl.interchange.texts import read_texts
from gptfl.store import jsonlines
from tests.released import lines, released, trajectory

PLACES = {str(i): i for i in range(6)}


def test_runs_are_found_in_natural_order_and_extra_files_are_passed_over(tmp_path: Path) -> None:
    released(tmp_path, runs=11)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "pictures").mkdir()
    lines(tmp_path / "half" / "all_bleu_trajectory.out", [])
    runs, without = find_runs(tmp_path)
    assert [run.name for run in runs] == [f"run_seed-{i}" for i in range(1, 12)]
    assert [list(run.scores) for run in runs] == [["loss"]] * 11
    assert without == ["half"]


def test_natural_order_compares_numbers_as_numbers() -> None:
    names = ["a-10", "a-9", "a", "b", "a-9-b-2", "a-9-b-10"]
    assert sorted(names, key=natural) == ["a", "a-9", "a-9-b-2", "a-9-b-10", "a-10", "b"]


def test_batches_keep_the_last_of_a_repeated_step_and_count_what_differs(tmp_path: Path) -> None:
    rows = [(1, [0, 1]), (2, [2, 3]), (2, [2, 3]), (4, ["5"]), (1, [4, 1])]
    path = lines(tmp_path / "b.json", ({"step": s, "samples_id": ids} for s, ids in rows))
    found = read_batches(path, PLACES, Budget())
    np.testing.assert_array_equal(found.array(5, Budget(), path), [[4, 1], [2, 3], [-1, -1], [5, -1], [-1, -1]])
    assert found.duplicates == Duplicates(repeats=2, differing=1)
    assert found.rates == {}


def test_scores_are_put_by_step_and_test_example_however_the_file_orders_them(tmp_path: Path) -> None:
    rows = [trajectory(2, {3: 1.5, 1: 2}), "", trajectory("0", {8: 4.25}), trajectory(4, {})]
    found = read_scores(lines(tmp_path / "s.out", rows), PLACES, "loss", Budget())
    expected = np.full((3, 6), np.nan)
    expected[[0, 1], 2], expected[2, 0] = [2, 1.5], 4.25
    np.testing.assert_array_equal(found.steps, [1, 3, 8])
    np.testing.assert_array_equal(found.values, expected)
    np.testing.assert_array_equal(found.named, [0, 2, 4])
    assert found.values.dtype == np.float32
    assert found.duplicates == Duplicates()


def test_repeated_scores_within_a_line_and_across_lines(tmp_path: Path) -> None:
    twice = {"id": 1, "loss_trajectory": [{"step": 1, "loss": 1.0}, {"step": 1, "loss": 2.0}, {"step": 2, "loss": 5.0}]}
    rows = [twice, trajectory(1, {2: 5.0, 1: 3.0})]
    found = read_scores(lines(tmp_path / "s.out", rows), PLACES, "loss", Budget())
    np.testing.assert_array_equal(found.values[:, 1], [3, 5])
    assert found.duplicates == Duplicates(repeats=3, differing=2)


def test_the_key_inside_may_be_loss_or_the_metric(tmp_path: Path) -> None:
    own = {"id": 1, "bleu_trajectory": [{"step": 1, "bleu": 7.0}]}
    found = read_scores(lines(tmp_path / "s.out", [trajectory(0, {1: 6.0}), own]), PLACES, "bleu", Budget())
    np.testing.assert_array_equal(found.values[0, :2], [6, 7])


def batches(path: Path) -> object:
    return read_batches(path, PLACES, Budget())


def scores(path: Path) -> object:
    return read_scores(path, PLACES, "loss", Budget())


def batch(step: object = 1, ids: object = (0,)) -> dict[str, object]:
    return {"step": step, "samples_id": ids}


def score(step: object = 1, value: object = 1.0, test: object = 0) -> dict[str, object]:
    return {"id": test, "loss_trajectory": [{"step": step, "loss": value}]}


TEXT = {"id": 0, "input": "a b"}


@pytest.mark.parametrize(
    ("read", "row", "pieces"),
    [
        (batches, "{not json", ("is no JSON", "column 2", '"samples_id"')),
        (batches, "[1]", ("is [1], not an object",)),
        (batches, '{"step": 1, "step": 2, "samples_id": [0]}', ('has the key "step" twice',)),
        (batches, "[" * 100_000, ("nested too deeply",)),
        (batches, '{"step": ' + "1" * 5000 + ', "samples_id": [0]}', ("too many digits",)),
        (batches, batch("one"), ('"step" is "one", not a whole number from 1',)),
        (batches, batch(1.5), ('"step" is 1.5',)),
        (batches, batch(True), ('"step" is True',)),
        (batches, batch(0), ('"step" is 0',)),
        (batches, batch(10**9), ('"step" is 1000000000',)),
        (batches, {"samples_id": [0]}, ('"step" is missing',)),
        (batches, {"step": 1}, ('"samples_id" is missing, not a list',)),
        (batches, batch(1, 3), ('"samples_id" is 3, not a list',)),
        (batches, batch(1, [9]), ('no text of the example "9"', "--train-texts")),
        (batches, batch(1, [0.5]), ('"id" is 0.5',)),
        (batches, {**batch(), "learning_rate": -1}, ('"learning_rate" is -1',)),
        (scores, score(test=9), ('no text of the example "9"', "--test-texts")),
        (scores, {"id": 0}, ('"loss_trajectory" is missing',)),
        (scores, {"id": 0, "loss_trajectory": [3]}, ("3 is no score",)),
        (scores, {"loss_trajectory": []}, ('"id" is missing',)),
        (scores, score("1"), ('"step" is "1", not a whole number from 0',)),
        (scores, score(-1), ('"step" is -1',)),
        (scores, score(2, "high"), ('"loss" at step 2 is "high"', "leave the entry out")),
        (scores, score(2, None), ('"loss" at step 2 is missing',)),
        (scores, score(2, float("nan")), ("holds NaN, which is no number",)),
        (scores, score(2, float("-inf")), ("holds -Infinity",)),
        (scores, score(2, 10**400), ("holds the number 10000000000000000...", "too many digits")),
        (scores, score(2, 1e39), ('"loss" at step 2 is 1e+39',)),
        (
            scores,
            '{"id": 0, "loss_trajectory": [{"step": 1, "loss": 1e999}]}',
            ("holds the number 1e999, which is too large",),
        ),
        (read_texts, {"id": 0}, ('"input" is missing',)),
        (read_texts, {"id": 0, "input": " "}, ('"input" is " "',)),
        (read_texts, {"input": "a"}, ('"id" is missing',)),
        (read_texts, {"id": [1], "input": "a"}, ('"id" is [1]',)),
        (read_texts, {**TEXT, "target": 5}, ('"target" is 5, not a text',)),
        (read_texts, {**TEXT, "target": "c"}, ('does not end with its target "c"',)),
        (read_texts, {**TEXT, "choices": [1]}, ('"choices" is [1]',)),
        (read_texts, {**TEXT, "choices": ["b"], "label": 1}, ('"label" is 1 of 1 choices',)),
        (read_texts, {**TEXT, "choices": [], "label": 10_000}, ('"label" is 10000 of 0 choices',)),
        (read_texts, {**TEXT, "id": "a\x1b[2J"}, ('"id" is "a\\u001b[2J"',)),
        (read_texts, {**TEXT, "id": "a\x9b2J"}, ('"id" is "a\\u009b2J"', "U+009B")),
        (read_texts, '{"id": 1, "input": "\\ud800"}', ("lone surrogate",)),
    ],
)
def test_what_is_wrong_is_reported_with_file_and_line(
    tmp_path: Path, read: Callable[[Path], object], row: Any, pieces: tuple[str, ...]
) -> None:
    good = {batches: batch(2), scores: score(5), read_texts: {"id": "good", "input": "good"}}[read]
    path = lines(tmp_path / "f.json", [good, row])
    with pytest.raises(DataError) as caught:
        read(path)
    text = str(caught.value)
    assert f"{path}, line 2" in text
    assert caught.value.remedy
    assert len(text) < 400
    for piece in pieces:
        assert piece in text


def test_an_id_that_is_a_number_here_and_a_text_there_is_one_id(tmp_path: Path) -> None:
    path = lines(tmp_path / "t.json", [{"id": 1, "input": "a"}, {"id": "1", "input": "b"}])
    with pytest.raises(DataError, match=r'line 2: the id "1" was there before \(line 1\)'):
        read_texts(path)


@pytest.mark.parametrize(("read", "noun"), [(batches, "batch"), (read_texts, "text")])
def test_empty_files(tmp_path: Path, read: Callable[[Path], object], noun: str) -> None:
    with pytest.raises(DataError, match=f"holds no {noun}"):
        read(lines(tmp_path / "f.json", ["", ""]))
    with pytest.raises(DataError, match="does not exist"):
        read(tmp_path / "absent.json")
    with pytest.raises(DataError, match="is not a file"):
        read(tmp_path)


def test_a_line_is_read_no_further_than_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonlines, "MAX_LINE", 1000)
    path = lines(tmp_path / "f.json", [batch(), json.dumps(batch(2, [0] * 1000))])
    with pytest.raises(DataError, match="line 2 is longer than"):
        batches(path)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_bytes(b'{"step": 1, "samples_id": [0]}\n{"\xff": 1}\n')
    with pytest.raises(DataError, match="line 2 is not UTF-8 text"):
        batches(path)


def test_few_bytes_can_not_ask_for_many(tmp_path: Path) -> None:
    # A row for each step of one test example among many; and a batch at a late step.
    path = lines(tmp_path / "s.out", [trajectory(0, dict.fromkeys(range(200), 1.0))])
    many = {str(i): i for i in range(1000)}
    read_scores(path, many, "loss", Budget(4 * 256 * 1000))
    with pytest.raises(DataError, match="larger than"):
        read_scores(path, many, "loss", Budget(4 * 255 * 1000))
    late = lines(tmp_path / "b.json", [batch(9_000_000, [0, 1])])
    found = read_batches(late, PLACES, Budget())
    with pytest.raises(DataError, match="larger than"):
        found.array(9_000_000, Budget(100_000_000), late)


@pytest.mark.parametrize(
    ("make", "piece"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.write_text(""), "is not a folder"),
        (lambda path: path.mkdir(), "holds no run"),
        (lambda path: lines(path / "train_samples_id.json", [batch()]), "is one run"),
    ],
)
def test_folders_without_runs(tmp_path: Path, make: Callable[[Path], object], piece: str) -> None:
    make(tmp_path / "d")
    with pytest.raises(DataError, match=piece):
        find_runs(tmp_path / "d")


def test_so_many_folders_are_no_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gptdynamics, "MAX_RUNS", 2)
    with pytest.raises(DataError, match="more than 2 folders"):
        find_runs(released(tmp_path, runs=3))


def test_what_repeats_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gptdynamics, "MAX_REPEATS", 3)
    path = lines(tmp_path / "batches.json", [{"step": 1, "samples_id": [0]}] * 6)
    with pytest.raises(DataError, match="line 6: 5 entries so far were there before"):
        read_batches(path, PLACES, Budget())
    path = lines(tmp_path / "scores.out", [{"id": 0, "loss_trajectory": [{"step": 1, "loss": 2.5}] * 20}])
    with pytest.raises(DataError, match="entries so far were there before"):
        read_scores(path, PLACES, "loss", Budget())
