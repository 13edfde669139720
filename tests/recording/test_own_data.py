"""Recordings of data of one's own: from a file to a ranking, what is kept of it, and what may differ later."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import gptfl
from gptfl import errors as gptfl_errors
from gptfl.errors import DataError, UsageError
from gptfl.plugins.registry import build
from gptfl.recording.command import command_of
from gptfl.recording.recording import open_recording, with_texts

TEMPLATE = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}\n{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
FEW: dict[str, Any] = {
    "runs": 2,
    "subset_size": 4,
    "batch_size": 2,
    "steps": 2,
    "lr": 1e-3,
    "progress": lambda *_: None,
}


def rows(count: int = 20) -> list[dict[str, Any]]:
    return [
        {
            "messages": [
                {"role": "system", "content": "the sun"},
                {"role": "user", "content": f"is it red {i}?"},
                {"role": "assistant", "content": "yes"},
                {"role": "user", "content": "who sees it"},
                {"role": "assistant", "content": "no"},
            ],
            "source": "web",
        }
        for i in range(count)
    ]


def write(path: Path, lines: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


@pytest.fixture(scope="module")
def chatty(neox: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random model with a chat template."""
    folder = tmp_path_factory.mktemp("models") / "chatty"
    shutil.copytree(neox, folder)
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write(tmp_path / "support.jsonl", rows())


def test_a_conversation_goes_all_the_way(chatty: Path, data: Path, tmp_path: Path) -> None:
    estimates: list[Any] = []
    recording = gptfl.collect(
        str(chatty), data=data, workspace=tmp_path, sketches=True, announce=estimates.append, **{**FEW, "runs": 3}
    )
    assert recording.path.name == "support-chatty.dynamics.h5"
    assert {len(recording.pool) + len(recording.test)} == {20}
    assert all(len(one.turns) == 5 and one.fields == {"source": "web"} for one in recording.pool)
    settings = recording.settings
    assert (settings["task"], settings["shape"], settings["end_token"]) == ("support", "messages", True)
    notes = " ".join(estimates[0].notes)
    for piece in ("20 rows of messages (system, user, assistant)", "kept to test on", "which is all there are"):
        assert piece in notes
    recording.featurize()
    simulator = recording.fit("exposure-gp")
    assert len(simulator.simulate(subset=[recording.pool[0].id]).values)
    words = command_of(recording.path, build([])).words
    assert "--task" not in words
    assert words[words.index("--data") + 1] == str(data)
    again = gptfl.collect(str(chatty), data=data, workspace=tmp_path, sketches=True, **{**FEW, "runs": 3})
    assert again.collected is not None
    assert again.collected.recorded_now == 0


def test_pairs_are_recorded_as_by_the_task_of_json_lines(neox: Path, tmp_path: Path) -> None:
    lines = [{"id": i, "prompt": f"is it red {i}?", "target": " yes" if i % 2 else " no"} for i in range(12)]
    folder = tmp_path / "pairs"
    folder.mkdir()
    write(folder / "train.jsonl", lines)
    write(folder / "test.jsonl", lines[:3])
    mine = gptfl.collect(str(neox), data=folder, workspace=tmp_path, **FEW)
    other = gptfl.collect(str(neox), "jsonl", data=folder, workspace=tmp_path, pool=12, test=3, **FEW)
    assert {one.id: one for one in mine.pool} == {one.id: one for one in other.pool}
    first = {
        one.id: float(value) for one, value in zip(mine.test, mine.dynamics.runs[0].metrics["loss"][0], strict=True)
    }
    theirs = {
        one.id: float(value) for one, value in zip(other.test, other.dynamics.runs[0].metrics["loss"][0], strict=True)
    }
    # The same examples in another order, and so in other places of a batch.
    assert first == pytest.approx(theirs, rel=1e-5)
    assert not {"end_token", "chat_template", "shape"} & other.settings.keys()
    assert "end_token" not in mine.settings


def test_what_is_not_given_is_what_there_is(neox: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pairs"
    folder.mkdir()
    for name, count in (("train", 9), ("test", 4)):
        write(folder / f"{name}.jsonl", [{"prompt": f"is it {i}?", "target": " yes"} for i in range(count)])
    made = gptfl.collect(str(neox), "jsonl", data=folder, workspace=tmp_path, **FEW)
    assert (len(made.pool), len(made.test), made.settings["pool"], made.settings["test"]) == (9, 4, 9, 4)
    with pytest.raises(DataError, match="--pool 10 is more than the 9 examples"):
        gptfl.collect(str(neox), "jsonl", data=folder, workspace=tmp_path, name="x", pool=10, **FEW)


def test_texts_that_were_not_kept_are_found_again(chatty: Path, data: Path, tmp_path: Path) -> None:
    made = gptfl.collect(str(chatty), data=data, workspace=tmp_path, texts=False, loss_on="last", eval_share=0.2, **FEW)
    opened = open_recording(made.path)
    assert not any(one.text or one.turns or "source" in one.fields for one in opened.dynamics.pool)
    pool, _ = with_texts(opened, None)
    assert [turn.target for turn in pool[0].turns] == [False] * 4 + [True]
    moved = data.rename(tmp_path / "moved.jsonl")
    assert with_texts(opened, moved)[0] == pool
    write(moved, rows(19))
    with pytest.raises(DataError, match=r"differ|are not as many|is more than"):
        with_texts(opened, moved)


def test_tokens_that_would_be_others_are_not_added_to_a_recording(chatty: Path, data: Path, tmp_path: Path) -> None:
    template = tmp_path / "other.jinja"
    template.write_text(TEMPLATE.replace("<", "["))
    given = {"data": data, "workspace": tmp_path, **FEW}
    gptfl.collect(str(chatty), **given)
    for changed, message in (
        ({"end_token": False}, "was recorded with --end-token, not no --end-token"),
        ({"chat_template": template}, "not a chat template of its own"),
    ):
        with pytest.raises(DataError, match=message):
            gptfl.collect(str(chatty), **given, **changed)
    gptfl.collect(str(chatty), **given, chat_template=template, name="other")
    with pytest.raises(DataError, match="was recorded with a chat template of its own, not no --chat-template"):
        gptfl.collect(str(chatty), **given, name="other")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"task": "errands", "fields": "prompt=a"},
            "--fields is of data of your own, and --task errands has its own rows",
        ),
        ({"task": "errands", "eval": "x"}, "--eval is of data of your own"),
        ({}, "neither a task nor data of your own is named"),
        ({"data": "DATA", "instructions": True}, "--instructions words prompts, and '.*' is a conversation"),
    ],
)
def test_options_that_do_not_go_together(data: Path, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    given = {name: data if value == "DATA" else value for name, value in options.items()}
    with pytest.raises(UsageError, match=message):
        gptfl.collect("tiny", given.pop("task", None), workspace=tmp_path, **FEW, **given)


def test_a_template_for_what_is_no_conversation_is_refused(neox: Path, tmp_path: Path) -> None:
    template = tmp_path / "t.jinja"
    template.write_text(TEMPLATE)
    pairs = write(tmp_path / "p.jsonl", [{"prompt": f"is it {i}?", "target": " yes"} for i in range(9)])
    with pytest.raises(UsageError, match="--chat-template is of conversations, and the rows are none"):
        gptfl.collect(str(neox), data=pairs, chat_template=template, workspace=tmp_path, **FEW)
    template.write_bytes(b"\xff")
    with pytest.raises(DataError, match="is not UTF-8 text"):
        gptfl.collect(
            str(neox), data=write(tmp_path / "c.jsonl", rows()), chat_template=template, workspace=tmp_path, **FEW
        )


def test_paths_that_the_system_refuses_are_one_line(tmp_path: Path) -> None:
    for name in ("x" * 300, "x" * 300 + ".jsonl", "a\0b.jsonl"):
        for flag in ("data", "train"):
            with pytest.raises(gptfl_errors.GptflError):
                gptfl.collect("tiny", workspace=tmp_path, **{flag: tmp_path / name}, **FEW)


def test_new_rows_are_read_in_the_shape_of_the_recording(chatty: Path, data: Path, tmp_path: Path) -> None:
    from gptfl.recording.new_examples import read_new_examples

    made = gptfl.collect(str(chatty), data=data, workspace=tmp_path, loss_on="last", **FEW)
    new = write(tmp_path / "new.jsonl", [{**rows(1)[0], "id": "mine"}, {**rows(2)[1], "first": 1.5}])
    found = read_new_examples(None, new, made.dynamics, made.dynamics.metrics["loss"], build([]))
    assert [one.id for one in found.test] == ["mine", "new-1"]
    assert [turn.target for turn in found.test[1].turns] == [False] * 4 + [True]
    assert found.first.tolist()[1] == 1.5
