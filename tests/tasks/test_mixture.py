"""Mixtures of tasks, instructions and flipped labels: what is drawn, what is kept, what is refused."""

import json
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gptfl import collect
from gptfl.core import Example, TaskData, classes_of, tasks_of
from gptfl.errors import DataError, GptflError, PluginError, UsageError
from gptfl.plugins.registry import get_registry
from gptfl.recording.inspect import inspect
from gptfl.recording.recording import open_recording, with_texts
from gptfl.store.recordings import read_dynamics
from gptfl.tasks.label_noise import flip_labels
from gptfl.tasks.mixture import ExampleSource, Mixture, open_task

SMALL: dict[str, Any] = {"runs": 1, "test": 6, "subset_size": 4, "batch_size": 2, "steps": 2, "lr": 1e-3}
TASKS = "rte,sst2,webnlg"


def rows(task: str, count: int) -> list[dict[str, Any]]:
    made: dict[str, Any] = {
        "rte": lambda i: {"premise": f"Nora sold {i} pears.", "hypothesis": "Nora sold fruit.", "label": i % 2},
        "sst2": lambda i: {"sentence": f"film {i} is a joy", "label": i % 2},
        "webnlg": lambda i: {"triples": [[f"Mill_{i}", "builtBy", "Emil"]], "references": [f"Emil built mill {i}."]},
        "jsonl": lambda i: {"prompt": f"What is {i}?", "target": f" It is {i}."},
    }
    return [made[task](i) for i in range(count)]


def fill(folder: Path, task: str, count: int = 12, test: int = 6) -> None:
    folder.mkdir(parents=True)
    for name, number in (("train", count), ("test", test)):
        lines = "\n".join(json.dumps(row) for row in rows(task, number))
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for task in ("rte", "sst2", "webnlg", "jsonl"):
        fill(tmp_path / "data" / task, task)
    return tmp_path / "data"


def load(tasks: str, data: Path, pool: int, test: int = 3, seed: int = 7, **source: Any) -> TaskData:
    return ExampleSource(open_task(get_registry(), tasks, data), **source).load(pool, test, seed)


def test_every_task_has_its_share_and_every_example_its_task(data: Path) -> None:
    loaded = load(TASKS, data, 11, 6)
    assert loaded.task == TASKS
    assert [e.task for e in loaded.pool] == ["rte", "sst2", "webnlg"] * 3 + ["rte", "sst2"]
    assert [e.task for e in loaded.test] == ["rte", "sst2", "webnlg"] * 2
    assert all(e.id.startswith(f"{e.task}:") for e in (*loaded.pool, *loaded.test))
    assert len({e.id for e in loaded.pool}) == 11
    assert loaded.source == "; ".join(f"{name}: {data / name}" for name in TASKS.split(","))
    alone = load("sst2", data / "sst2", 4)
    mine = [e for e in loaded.pool if e.task == "sst2"]
    assert [(e.id, e.text, e.label) for e in mine] == [(f"sst2:{e.id}", e.text, e.label) for e in alone.pool]


@pytest.mark.parametrize("instructions", [False, True])
def test_a_smaller_pool_is_the_beginning_of_a_larger_one_and_the_seed_decides(data: Path, instructions: bool) -> None:
    small, large = (load(TASKS, data, size, instructions=instructions) for size in (7, 30))
    assert large.pool[:7] == small.pool
    assert large.test == small.test
    assert load(TASKS, data, 7, instructions=instructions) == small
    assert load(TASKS, data, 7, seed=8, instructions=instructions).pool != small.pool


def test_a_task_without_templates_gets_an_opening_before_its_prompt(data: Path) -> None:
    plain, worded = (load("jsonl,errands", data, 12, 2, instructions=on).pool for on in (False, True))
    for before, after in zip(plain, worded, strict=True):
        assert after.prompt.endswith(before.prompt)
        assert after.prompt != before.prompt
        assert (after.id, after.target, after.choices) == (before.id, before.target, before.choices)
    assert "template" not in plain[0].fields


def test_the_wording_of_an_example_is_the_same_alone_and_in_a_mixture(data: Path) -> None:
    alone = load("rte", data / "rte", 5, instructions=True).pool
    mixed = load("rte,sst2", data, 10, instructions=True).pool
    assert [e.prompt for e in mixed if e.task == "rte"] == [e.prompt for e in alone]


def test_the_learning_rate_is_the_least_of_the_tasks(data: Path) -> None:
    assert open_task(get_registry(), "webnlg,rte", data).learning_rate == 5e-7
    assert open_task(get_registry(), "webnlg,errands", data).learning_rate == 1e-6


def test_the_classes_of_a_mixture_are_those_of_each_task(data: Path) -> None:
    pool = load(TASKS, data, 12).pool
    assert set(classes_of(pool) or ()) == {("rte", 0), ("rte", 1), ("sst2", 0), ("sst2", 1), ("webnlg", None)}
    assert classes_of(load("webnlg", data / "webnlg", 3).pool) is None
    assert classes_of(load("rte", data / "rte", 2).pool) is not None
    assert tasks_of(pool)[:4] == ("rte", "sst2", "webnlg", "rte")
    assert tasks_of(load("rte", data / "rte", 3).pool) == ()
    same = tuple(replace(e, fields={"task": "one"}) for e in load("webnlg", data / "webnlg", 3).pool)
    assert (classes_of(same), tasks_of(same)) == (None, ())


@pytest.mark.parametrize(
    ("tasks", "error", "message"),
    [
        ("rte,sst", PluginError, "unknown task 'sst': did you mean 'sst2'"),
        ("rte,,sst2", UsageError, "'rte,,sst2' names no task at place 2"),
        ("rte,sst2,rte", DataError, "names 'rte' twice, and the ids of its examples would clash: name it once"),
        ("rte,boolq", DataError, r"holds no folder 'boolq' for the task of that name: .*test\.jsonl into .*boolq"),
    ],
)
def test_a_mixture_that_cannot_be(data: Path, tasks: str, error: type[GptflError], message: str) -> None:
    with pytest.raises(error, match=message):
        load(tasks, data, 6)


def test_more_than_there_is_names_the_flag_that_asked(data: Path) -> None:
    with pytest.raises(
        DataError, match=r"--per-task 13 is more than the 12 pool examples of .*'rte'.*--per-task 12 or"
    ):
        load("rte,sst2", data, 26)
    with pytest.raises(DataError, match=r"--test shared by 2 tasks makes 7 each, more than the 6 .*--test 12 or fewer"):
        load("rte,sst2", data, 4, 14)
    with pytest.raises(UsageError, match="--test 1 leaves some of the 2 tasks of rte,sst2 without"):
        load("rte,sst2", data, 4, 1)


def test_a_data_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere is not a folder"):
        load("rte,sst2", tmp_path / "nowhere", 4)


def test_ids_that_clash_are_named() -> None:
    class Careless:
        name, learning_rate = "careless", 1e-3

        def load(self, pool: int | None, test: int | None, seed: int) -> TaskData:
            same = tuple(Example("x", "p", " t") for _ in range(2))
            return TaskData(self.name, same, same[:1])

    with pytest.raises(DataError, match="two pool examples have the id 'careless:x'"):
        Mixture({"careless": Careless(), "other": Careless()}).load(4, 2, 0)


def test_flips_have_the_share_and_are_kept_and_leave_the_test_alone(data: Path) -> None:
    clean, flipped = (load("rte", data / "rte", 12, flip=share) for share in (None, 0.4))
    assert flipped.test == clean.test
    changed = [(old, new) for old, new in zip(clean.pool, flipped.pool, strict=True) if old != new]
    assert len(changed) == 5
    for old, new in changed:
        assert (new.id, new.prompt, new.choices) == (old.id, old.prompt, old.choices)
        assert new.label != old.label
        assert new.label is not None
        assert new.target == new.choices[new.label]
        assert new.fields == {"flipped": True, "clean_label": old.label}
        assert new.digest != old.digest
    assert load("rte", data / "rte", 12, flip=0.4) == flipped


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 1.5, float("nan"), float("inf")])
def test_a_share_that_is_none(neox: Path, data: Path, tmp_path: Path, share: float) -> None:
    with pytest.raises(UsageError, match=r"flip_labels is .*between 0 and 1"):
        collect(str(neox), "rte", data=data / "rte", workspace=tmp_path / "w", pool=8, flip_labels=share, **SMALL)


def test_what_has_no_classes_cannot_be_flipped(data: Path) -> None:
    with pytest.raises(DataError, match=r"--flip-labels: pool example '[0-9]+' has no classes"):
        load("webnlg", data / "webnlg", 6, flip=0.4)
    with pytest.raises(DataError, match=r"--flip-labels: pool example 'webnlg:[0-9]+' has no classes"):
        load("rte,webnlg", data, 6, flip=0.4)
    with pytest.raises(DataError, match=r"--flip-labels 0\.01 of 6 pool examples flips none"):
        load("rte", data / "rte", 6, flip=0.01)
    odd = [Example("o", "p", " something else", (" a", " b"), 0)]
    with pytest.raises(DataError, match="the target of pool example 'o' is not the choice that its label names"):
        flip_labels(odd, 0.9, 0)


def test_a_mixture_is_recorded_by_one_command(neox: Path, data: Path, tmp_path: Path) -> None:
    space = tmp_path / "w"
    first = collect(str(neox), TASKS, data=data, workspace=space, per_task=4, **SMALL)
    assert first.path.name == "rte-sst2-webnlg-small-neox.dynamics.h5"
    recorded = read_dynamics(first.path)
    assert (recorded.settings["pool"], recorded.settings["test"], recorded.settings["instructions"]) == (12, 6, True)
    assert all("template" in e.fields for e in (*recorded.pool, *recorded.test))
    assert collect(str(neox), "rte, sst2,webnlg", data=data, workspace=space, pool=12, **SMALL).recorded_now == 0
    with pytest.raises(DataError, match="was recorded with --instructions, not --no-instructions"):
        collect(str(neox), TASKS, data=data, workspace=space, per_task=4, instructions=False, **SMALL)
    shown = dict(inspect(first.path).rows)
    assert shown["task: sst2"] == "4 pool + 2 test examples"


def test_one_task_has_plain_prompts_unless_instructions_are_asked_for(neox: Path, data: Path, tmp_path: Path) -> None:
    common = {"data": data / "rte", "workspace": tmp_path / "w", "per_task": 4, **SMALL}
    plain = read_dynamics(collect(str(neox), "rte", **common).path)
    worded = read_dynamics(collect(str(neox), "rte", name="worded", instructions=True, **common).path)
    assert len(plain.pool) == 4
    assert [e.id for e in plain.pool] == [e.id for e in worded.pool]
    assert all(e.prompt.startswith("Text: ") and not e.fields for e in plain.pool)
    assert all("template" in e.fields for e in worded.pool)


def test_recordings_from_before_there_were_instructions_go_on(neox: Path, data: Path, tmp_path: Path) -> None:
    from gptfl.store.recordings import write_dynamics

    common = {"data": data / "rte", "workspace": tmp_path / "w", "pool": 4, **SMALL}
    path = collect(str(neox), "rte", **common).path
    old = read_dynamics(path)
    lacking = {key: value for key, value in old.settings.items() if key not in ("instructions", "flip_labels")}
    write_dynamics(path, replace(old, settings=lacking))
    assert collect(str(neox), "rte", **{**common, "runs": 2}).recorded_now == 1
    with pytest.raises(DataError, match=r"was recorded with no --flip-labels, not --flip-labels 0\.5"):
        collect(str(neox), "rte", flip_labels=0.5, **common)


@pytest.mark.parametrize("texts", [True, False])
def test_tasks_templates_and_flips_are_found_again(neox: Path, data: Path, tmp_path: Path, texts: bool) -> None:
    common = {"data": data, "workspace": tmp_path / "w", "pool": 8, "flip_labels": 0.5, "texts": texts, **SMALL}
    path = collect(str(neox), "rte,sst2", **common).path
    recorded = read_dynamics(path)
    assert sum(e.fields.get("flipped") is True for e in recorded.pool) == 4
    assert tasks_of(recorded.pool) == ("rte", "sst2") * 4
    shown = dict(inspect(path).rows)
    assert shown["flipped labels"].startswith("4 of 8 pool examples (50%)")
    listed = inspect(path, examples=True).examples or []
    assert sum("(flipped from " in row.label for row in listed) == 4
    pool, test = with_texts(open_recording(path), None)
    expected = load("rte,sst2", data, 8, 6, 42, instructions=True, flip=0.5)
    assert (pool, test) == (expected.pool, expected.test)


def test_without_texts_no_word_of_a_field_is_kept() -> None:
    fields = {"task": "a name", "template": 3, "flipped": "these are words", "clean_label": ["more"], "other": "text"}
    assert Example("i", "p", " t", fields=fields).without_texts().fields == {"task": "a name", "template": 3}


def test_json_lines_that_name_tasks_are_a_mixture(tmp_path: Path) -> None:
    lines = [{"prompt": f"p{i}", "target": " t", "task": ("sums", "names", "sums")[i % 3]} for i in range(6)]
    for name in ("train.jsonl", "test.jsonl"):
        (tmp_path / name).write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    loaded = load("jsonl", tmp_path, 6)
    assert set(tasks_of(loaded.pool)) == {"sums", "names"}
    assert set(classes_of(loaded.pool) or ()) == {("sums", None), ("names", None)}


def test_a_generated_task_of_a_plugin_needs_no_folder(data: Path) -> None:
    from gptfl.plugins.hooks import hookimpl
    from gptfl.plugins.registry import build

    class Made:
        name, learning_rate, generated = "made", 1e-4, True

        def __init__(self, data: Path | None = None) -> None:
            assert data is None

        def load(self, pool: int | None, test: int | None, seed: int) -> TaskData:
            examples = tuple(Example(str(i), f"p{i}", " t") for i in range(9))
            return TaskData(self.name, examples[:pool], examples[:test])

    plugin = types.ModuleType("acme")
    plugin.gptfl_tasks = hookimpl(lambda: {"made": Made}, specname="gptfl_tasks")  # type: ignore[attr-defined]
    registry = build([plugin])
    loaded = ExampleSource(open_task(registry, "made,rte", data), instructions=True).load(4, 2, 0)
    assert [e.task for e in loaded.pool] == ["made", "rte"] * 2
    assert loaded.pool[0].prompt.endswith("\np0")
