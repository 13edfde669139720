"""What is no path, no sequence or no group of options is refused in one line, by every public function that takes one."""

from pathlib import Path
from typing import Any

import pytest

import gptfl
from gptfl.errors import GptflError, UsageError
from gptfl.options.rows import RowOptions


class Odd:
    """Neither a path nor anything else."""


ODD: tuple[Any, ...] = (3, -1.5, b"x", {"a": 1}, ["x", 3], Odd(), True)


@pytest.mark.parametrize("odd", ODD)
def test_paths(odd: Any) -> None:
    for call in (
        lambda: gptfl.open_recording(odd),
        lambda: gptfl.open_recording(workspace=odd),
        lambda: gptfl.Recording(odd),
        lambda: gptfl.Recording("x.h5", workspace=odd),
        lambda: gptfl.open_simulator(odd),
        lambda: gptfl.open_simulator("x.h5", dynamics=odd),
        lambda: gptfl.open_simulator("x.h5", features=odd),
        lambda: gptfl.open_simulator("x.h5", workspace=odd),
        lambda: gptfl.Simulator(odd),
        lambda: gptfl.Simulator("x.h5", features=odd),
        lambda: gptfl.inspect(odd),
        lambda: gptfl.inspect_data(odd),
        lambda: gptfl.save(None, odd),
        lambda: gptfl.plot(None, odd),
        lambda: gptfl.Recorder("x", pool=[], test=[], workspace=odd, measure=list),
    ):
        with pytest.raises(UsageError, match=r"give a (text|path)"):
            call()


def test_an_empty_text_and_a_folder_are_no_files(tmp_path: Path) -> None:
    for empty in ("", ".", "/"):
        with pytest.raises(GptflError):
            gptfl.simulate(dynamics=empty, workspace=tmp_path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"name": 3}, "name is 3: give a text"),
        ({"id_column": ["a"]}, r"id_column is \['a'\]: give a text"),
        ({"pool": 3}, "pool is 3: give a sequence"),
        ({"test": "abc"}, "test is 'abc': give a sequence"),
        ({"higher_is_better": ["loss", 3]}, "a part of higher_is_better is 3: give a text"),
        ({"higher_is_better": 3}, "higher_is_better is 3: give a sequence"),
    ],
)
def test_what_a_recorder_is_given(changed: dict[str, Any], message: str, tmp_path: Path) -> None:
    row = {"id": "a", "text": "b"}
    given = {"name": "x", "pool": [row], "test": [row], "workspace": tmp_path, **changed}
    with pytest.raises(UsageError, match=message):
        gptfl.Recorder(**given, measure=lambda: [1.0])
    with pytest.raises(UsageError, match=message):
        gptfl.GptflCallback(**given)


def test_groups_of_options() -> None:
    with pytest.raises(UsageError, match="simulate: 3 is no group of options"):
        gptfl.simulate(None, 3)
    with pytest.raises(UsageError, match="inspect_data: 3 is no group of options"):
        gptfl.inspect_data("x.jsonl", rows=3)
    with pytest.raises(UsageError, match="inspect_data: fields is 3: give a text"):
        gptfl.inspect_data("x.jsonl", fields=3)
    with pytest.raises(UsageError, match="inspect_data: eval_share is 'a': give a number"):
        gptfl.inspect_data("x.jsonl", rows=RowOptions(eval_share="a"))
    with pytest.raises(UsageError, match="collect: progress is 3: give a function, or leave it out"):
        gptfl.collect("tiny", "errands", progress=3)
