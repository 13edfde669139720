"""What options of a recording can't be given together, and what no file holds."""

from typing import Any

import pytest

from gptfl.errors import UsageError
from gptfl.recording.plan_checks import check_generation, check_name, check_recording_size, check_together
from gptfl.store.safety import MAX_BYTES


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"shard": True, "processes": 1}, "--shard spreads a model over several processes: give --processes"),
        ({"device": "cuda:1"}, "--processes 2 with --device cuda:1: .*: use --device cuda"),
        ({"executor": "ray"}, "--processes 2 with --executor ray"),
        (
            {"along": "--sketches"},
            "--processes 2 with --sketches: gradients of single examples are taken by one process",
        ),
        ({"shard": True, "precision": "fp16"}, "--shard with --precision fp16: .*: use bf16 or fp32"),
        ({"shard": True, "generates": True}, "--shard with a --metric of generated text"),
    ],
)
def test_options_that_do_not_go_together(changed: dict[str, Any], message: str) -> None:
    fine = {"processes": 2, "shard": False, "device": "auto", "precision": "fp32", "executor": "local"}
    given: dict[str, Any] = {**fine, "generates": False, "along": None}
    check_together(**given)
    with pytest.raises(UsageError, match=message):
        check_together(**{**given, **changed})


def test_another_number_than_was_started_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "3")
    given: dict[str, Any] = {"device": "cpu", "precision": "fp32", "executor": "local", "generates": False}
    check_together(1, True, **given, along=None)
    with pytest.raises(UsageError, match="--processes 2, and 3 were started: leave --processes out"):
        check_together(2, False, **given, along=None)


@pytest.mark.parametrize("name", ["a/b", "", "größe", "x" * 81, ".."])
def test_a_name_begins_the_names_of_files(name: str) -> None:
    with pytest.raises(UsageError, match="can't begin the names of files: take at most 80 letters"):
        check_name(name)


def test_usual_names_are_taken() -> None:
    for name in (None, "a", "rte-1.b_c", "x" * 80):
        check_name(name)


def test_a_recording_is_refused_from_the_byte_on_that_no_file_holds() -> None:
    # A run of s steps has s * (batch + 1) numbers of 8 bytes, and each of s + 2 points 4 bytes a test example and 8 more.
    each = 10 * (3 + 1) * 8 + 12 * (5 * 2 * 4 + 8)
    most = MAX_BYTES // each
    check_recording_size(most - 1, 1, 10, 3, 1, 5, 2)
    with pytest.raises(UsageError, match=rf"--runs {most} and --repeats 1 of 10 steps, .* make a recording of"):
        check_recording_size(most, 1, 10, 3, 1, 5, 2)
    with pytest.raises(UsageError, match=rf"--runs {most + 1} of 10 steps"):
        check_recording_size(most + 1, 0, 10, 3, 1, 5, 2)


def test_packed_rows_are_judged_by_the_examples_of_the_largest_step() -> None:
    each = 10 * (7 + 1) * 8 + 12 * (5 * 2 * 4 + 8)
    most = MAX_BYTES // each
    check_recording_size(most, 0, 10, 3, 1, 5, 2, 7)
    check_recording_size(most + 1, 0, 10, 3, 1, 5, 2)
    with pytest.raises(UsageError, match=r"each of --batch-size 3 rows, which hold up to 7 examples, measured"):
        check_recording_size(most + 1, 0, 10, 3, 1, 5, 2, 7)


def test_texts_are_generated_at_recorded_steps() -> None:
    assert check_generation(True, "greedy", None, None, 2) is None
    assert check_generation(True, "nucleus", 2, 9, 2) is None
    assert check_generation(True, "greedy", 6, None, 2) == 6
    assert check_generation(False, "greedy", None, None, 2) is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((True, "beam", None, None, 2), "decode 'beam' is unknown: use greedy or nucleus"),
        ((False, "nucleus", None, None, 2), "--decode nucleus changes nothing: no metric reads generated text"),
        ((False, "greedy", 4, None, 2), "--generate-every 4 changes nothing"),
        ((False, "greedy", None, 5, 2), "--generate-tokens 5 changes nothing"),
        ((True, "greedy", 5, None, 2), "--generate-every 5 is no multiple of --record-every 2: give 4, or another"),
        ((True, "greedy", 1, None, 5), "--generate-every 1 is no multiple of --record-every 5: give 5, or another"),
    ],
)
def test_generation_that_makes_no_sense(given: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_generation(*given)
