"""What a recorder is given: numbers, texts and groups, or one line that says what they are not."""

from typing import Any

import numpy as np
import pytest
import torch

from gptfl.errors import GptflError, UsageError
from gptfl.recorder.inputs import (
    check_count,
    check_names,
    check_texts,
    group_places,
    is_number,
    listed,
    name_of,
    names_of,
    rate_of,
    say,
    stop_of,
)


@pytest.mark.parametrize("lr", [0, 0.5, np.float32(0.5), torch.tensor(0.5), np.array(0.25)])
def test_a_step_size_is_any_number_from_zero(lr: Any) -> None:
    assert rate_of(lr) == float(lr)
    assert type(rate_of(lr)) is float


@pytest.mark.parametrize("lr", [-0.1, float("nan"), float("inf"), "0.1", None, True])
def test_what_is_no_step_size_is_named(lr: Any) -> None:
    with pytest.raises(UsageError, match=r"lr is .*, no step size"):
        rate_of(lr)


def test_counts_are_whole_and_positive() -> None:
    check_count(1, "every")
    for value in (0, -1, 1.0, True, "2", None):
        with pytest.raises(UsageError, match=r"every=.*: give a whole number of steps, at least 1"):
            check_count(value, "every", " of steps")


def test_groups_are_places_of_test_examples() -> None:
    places = {"a": 0, "é": 1, "3": 2}
    found = group_places({"both": [3, "a"], "one": "é"}, places)
    assert {name: one.tolist() for name, one in found.items()} == {"both": [2, 0], "one": [1]}
    assert group_places({}, places) == {}
    for groups, message in (
        ({"g": ["a", "x"]}, "group 'g' names 'x', which is no test example"),
        ({"g": []}, "group 'g' is empty"),
        ({"": ["a"]}, "a group is called ''"),
        ({"g": [1.5]}, "group 'g' has the id 1.5"),
    ):
        with pytest.raises(GptflError, match=message):
            group_places(groups, places)


def test_several_values_are_listed_and_texts_are_no_such() -> None:
    assert listed((1, 2), "ids") == [1, 2]
    assert listed(np.arange(2), "ids") == [0, 1]
    assert names_of("größe", "tags") == ["größe"]
    assert names_of(iter(["a", "b"]), "tags") == ["a", "b"]
    for given in ("ab", b"ab", {"a": 1}, 3, None):
        with pytest.raises(UsageError, match=r"ids is .*: give a sequence"):
            listed(given, "ids")
    with pytest.raises(UsageError, match="a part of tags is 1: give a text"):
        names_of(["a", 1], "tags")


def test_texts_are_texts() -> None:
    check_texts(name="a", other="")
    with pytest.raises(UsageError, match="other is 3: give a text"):
        check_texts(name="a", other=3)


def test_a_rule_to_stop_is_a_function_or_a_number() -> None:
    assert stop_of({}) is None
    assert stop_of({"stop_when": 0.5}) == 0.5
    assert stop_of({"stop_when": is_number}) is is_number
    for stop in ("never", True, [1]):
        with pytest.raises(UsageError, match="stop_when="):
            stop_of({"stop_when": stop})  # type: ignore[typeddict-item]


def test_a_wrong_name_is_told_the_nearest_of_options_and_parameters() -> None:
    def record(every: int) -> None: ...

    check_names({"groups": None, "forecast": True}, record, "record")
    for name, nearest in (("stop_wen", "stop_when"), ("evry", "every")):
        with pytest.raises(TypeError, match=f"record has no option '{name}': did you mean '{nearest}'"):
            check_names({name: 1}, record, "record")


def test_lines_are_said_without_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    say("größe \x1b[31m\tred")
    said = capsys.readouterr().out
    assert said.startswith("gptfl: größe ")
    assert "\x1b" not in said
    assert said.endswith("\tred\n")


def test_a_model_is_called_as_it_calls_itself() -> None:
    model = torch.nn.Linear(1, 1)
    assert name_of(model) == "own"
    model.config = type("Config", (), {"_name_or_path": "org/model"})()
    assert name_of(model) == "org/model"
    model.config._name_or_path = "None"
    assert name_of(model) == "own"
