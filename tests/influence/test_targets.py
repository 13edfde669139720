"""What an influence is measured on."""

from pathlib import Path

import numpy as np
import pytest

from gptfl.errors import DataError, GptflError, UsageError
from gptfl.influence.targets import HOWS, InfluenceTarget, check_how, influence_target
from tests.synthetic import synthetic

DYNAMICS = synthetic(1, test=5)[0]


def test_words_name_test_examples(tmp_path: Path) -> None:
    path = tmp_path / "ids.txt"
    path.write_text("# some\ntest-4\ntest-1\n")
    for on, name, tests, text in (
        ("mean", "mean", [0, 1, 2, 3, 4], "the mean of all 5 test examples"),
        ("test:test-2", "test:test-2", [2], "test example test-2"),
        (f"group:{path}", f"group:{path}", [4, 1], "the mean of 2 test examples"),
        (["test-3", "test-0", "test-1"], "group", [3, 0, 1], "the mean of 3 test examples"),
    ):
        found = influence_target(on, DYNAMICS)
        assert found.tests is not None
        assert (found.name, found.tests.tolist(), found.text, found.itself) == (name, tests, text, False)


def test_rows_on_themselves_need_no_test_example() -> None:
    found = influence_target("self", DYNAMICS)
    assert found == InfluenceTarget("self", None)
    assert found.itself
    assert found.text == "itself"


@pytest.mark.parametrize(
    ("on", "error", "message"),
    [
        ("all", UsageError, "'all' is unknown: use mean, self, test:ID or group:FILE"),
        ("test-2", UsageError, "'test-2' is unknown: did you mean test:test-2?"),
        ("test:", UsageError, "'test:' is unknown"),
        ("group:", UsageError, "'group:' is unknown"),
        ("", UsageError, "'' is unknown"),
        ("test:tset-2", DataError, "'tset-2' is not an id of the test set"),
        (["test-0", "nobody"], DataError, "'nobody' is not an id of the test set"),
        ("group:/no/such/file", DataError, "/no/such/file does not exist"),
        ([], DataError, "no example"),
    ],
)
def test_what_names_no_test_example_is_one_line(on: object, error: type[GptflError], message: str) -> None:
    with pytest.raises(error) as caught:
        influence_target(on, DYNAMICS)  # type: ignore[arg-type]
    assert message in caught.value.line
    assert "\n" not in caught.value.line


def test_ways_to_tell_it_are_known_and_near_misses_are_guessed() -> None:
    for how in (None, *HOWS):
        check_how(how)
    for wrong, remedy in (
        ("remov", "did you mean 'remove'"),
        ("x", "use remove, replace, drop, closed-form, derivative"),
    ):
        with pytest.raises(UsageError) as caught:
            check_how(wrong)
        assert caught.value.line.startswith(f"--how {wrong!r} is unknown: ")
        assert remedy in caught.value.line


def test_a_single_test_example_is_no_plural() -> None:
    assert InfluenceTarget("mean", np.arange(1)).text == "the only test example"
    assert InfluenceTarget("group", np.array([2])).text == "the mean of 1 test example"
