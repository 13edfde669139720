"""Where the examples of a recording come from, and how many are taken."""

import json
from pathlib import Path
from typing import Any

import pytest

from gptfl.errors import DataError, UsageError
from gptfl.options.recording import DataOptions, DesignOptions
from gptfl.options.rows import RowOptions
from gptfl.plugins.registry import Registry, build
from gptfl.recording.source import count_examples, open_source, read_template, token_settings
from gptfl.tasks.errands import Errands
from gptfl.tasks.own_data import OwnData


@pytest.fixture
def parts() -> Registry:
    return build([])


def rows(folder: Path, count: int, chat: bool = False) -> Path:
    path = folder / f"rows{count}.jsonl"
    talk = [[{"role": "user", "content": f"a{i}"}, {"role": "assistant", "content": "b"}] for i in range(count)]
    made = [{"id": str(i), **({"messages": talk[i]} if chat else {"text": f"größe {i}"})} for i in range(count)]
    path.write_text("\n".join(map(json.dumps, made)))
    return path


def own(folder: Path, count: int = 40, chat: bool = False, **options: Any) -> OwnData:
    found = open_source(build([]), DataOptions(model="m", data=rows(folder, count, chat)), RowOptions(**options))
    assert isinstance(found, OwnData)
    return found


def test_without_a_task_rows_are_ones_own(parts: Registry, tmp_path: Path) -> None:
    assert own(tmp_path).name == "rows40"
    found = open_source(parts, DataOptions(model="m", task="errands"), RowOptions(end_token=True))
    assert isinstance(found, Errands)
    for given in ({"train": "x"}, {"eval_share": 0.1}, {"dataset": "a/b"}):
        flag = f"--{next(iter(given)).replace('_', '-')}"
        with pytest.raises(UsageError, match=f"{flag} is of data of your own, and --task errands has its own rows"):
            open_source(parts, DataOptions(model="m", task="errands"), RowOptions(**given))


def test_as_many_are_taken_as_there_are_up_to_the_usual(tmp_path: Path) -> None:
    small, large = own(tmp_path, 40), own(tmp_path, 900)
    pool, test, notes = count_examples(DesignOptions(), 1, small)
    assert (pool, test) == small.sizes()
    assert notes == (f"took --pool {pool} and --test {test}, which is all there are",)
    pool, test, notes = count_examples(DesignOptions(), 1, large)
    assert (pool, test) == (200, min(200, large.sizes()[1]))
    assert f"took --pool 200 of {large.sizes()[0]}; give them for more" in notes
    assert count_examples(DesignOptions(pool=7, test=3), 1, large) == (7, 3, ())


def test_the_share_of_a_task_makes_the_pool_of_a_mixture() -> None:
    assert count_examples(DesignOptions(per_task=5, test=4), 3, Errands()) == (15, 4, ())
    with pytest.raises(UsageError, match="--pool 9 and --per-task 5 both say how large the pool is"):
        count_examples(DesignOptions(per_task=5, pool=9), 3, Errands())


@pytest.mark.parametrize(
    ("chat", "given", "expected"),
    [(True, None, True), (True, False, False), (False, None, None), (False, False, None), (False, True, True)],
)
def test_conversations_have_their_end_token_unless_said(
    tmp_path: Path, chat: bool, given: bool | None, expected: bool | None
) -> None:
    options = RowOptions(end_token=given)
    assert token_settings(options, own(tmp_path, 40, chat)) == {"end_token": expected, "chat_template": None}


def test_a_template_is_of_conversations_and_a_small_text(tmp_path: Path) -> None:
    path = tmp_path / "t.jinja"
    path.write_bytes("\ufeff{{ größe }}".encode())
    assert read_template(path) == "{{ größe }}"
    options = RowOptions(chat_template=path)
    assert token_settings(options, own(tmp_path, 40, chat=True))["chat_template"] == "{{ größe }}"
    with pytest.raises(UsageError, match="--chat-template is of conversations, and the rows are none"):
        token_settings(options, own(tmp_path, 40))
    path.write_bytes(b"\xff")
    with pytest.raises(DataError, match=r"--chat-template .*t\.jinja is not UTF-8 text"):
        read_template(path)
    path.write_bytes(b"x" * (2**18 + 1))
    with pytest.raises(DataError, match="is larger than 262,144 bytes"):
        read_template(path)
