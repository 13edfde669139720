"""The designs of ``collect``: what they default to, what they refuse, and that a recording of one holds together."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gptfl import collect
from gptfl.api.compare import compare
from gptfl.core import FIT, REPEAT, TEST, Example, RecordingSettings
from gptfl.errors import DataError, GptflError, UsageError
from gptfl.recording.cost import CostEstimate
from gptfl.recording.design import POOL, SUBSET, choose_design, choose_epochs_of, choose_steps
from gptfl.simulation.unseen import hold_out_examples
from gptfl.store.recordings import read_dynamics

OPEN: dict[str, Any] = {"subset_size": None, "reserve_pool": 0, "leave_out_size": None, "repeats": 0}


def choose(name: str = "contrast", runs: int = 8, pool: int = 200, **changed: Any):
    return choose_design(name, runs, pool, 3, **{**OPEN, **changed}).check()


@pytest.mark.parametrize(
    ("name", "pool", "reserve", "subset", "steps"),
    [
        ("uniform", 200, 0, 128, 96),
        ("uniform", 250, 50, 128, 96),
        ("contrast", 200, 40, 32, 48),
        ("balanced", 1000, 0, 32, 48),
        ("leave-out", 60, 0, 10, 15),
        ("repeat", 3, 0, 1, 2),
        ("leave-small", 200, 0, 200, 150),
    ],
)
def test_what_is_left_open_is_the_designs_own(name, pool, reserve, subset, steps):
    if name == "leave-out":
        assert choose(name, pool=pool).swapped == 1
    design = choose(name, pool=pool, reserve_pool=reserve)
    assert design.subset == subset
    assert choose_steps(design, None, None, 4) == steps
    assert choose_steps(design, 7, None, 4) == 7
    assert choose_steps(design, None, 2.0, 4) == -(-2 * subset // 4)
    assert choose_steps(design, None, 2.0, 4, pool) == -(-2 * pool // 4)


def test_epochs_are_of_the_pool_where_the_data_is_ones_own():
    assert choose_epochs_of(None, None, own=False) == choose_epochs_of(None, 2.0, own=False) == SUBSET
    assert choose_epochs_of(None, 2.0, own=True) == choose_epochs_of("pool", 2.0, own=False) == POOL
    assert choose_epochs_of("subset", 2.0, own=True) == SUBSET
    with pytest.raises(UsageError, match="epochs_of 'all' is unknown: use pool or subset"):
        choose_epochs_of("all", 2.0, own=True)
    with pytest.raises(UsageError, match="--epochs-of pool says of what --epochs are, and there are none"):
        choose_epochs_of("pool", None, own=True)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"name": "contrasts"}, r"design 'contrasts' is unknown: use uniform, contrast"),
        ({"subset_size": 201}, "--subset-size 201 is larger than --pool 200"),
        ({"reserve_pool": -1}, "reserve_pool is -1: give 0, or 2 or more"),
        ({"reserve_pool": 1}, "reserve_pool is 1: give 0, or 2 or more"),
        ({"reserve_pool": 180}, "--reserve-pool 180 leaves 20 of --pool 200, too few for --subset-size 32"),
        ({"reserve_pool": 10**9}, "--reserve-pool 1000000000 leaves 0 of --pool 200"),
        ({"repeats": 9}, "--repeats 9 is more than --runs 8, and each repeats another run: give at most 8"),
        ({"repeats": 1, "name": "repeat"}, "--repeats 1 adds to other designs.*: leave it out and raise --runs"),
        ({"runs": 10**6 + 1}, "runs is 1000001: a recording holds at most 1,000,000"),
        ({"leave_out_size": 3}, "--leave-out-size 3 is for --design leave-out: add that, or leave it out"),
        (
            {"name": "leave-small", "subset_size": 9},
            "--subset-size 9 with --design leave-small: its runs are trained on",
        ),
        (
            {"name": "leave-small:x"},
            "design leaves 'x' of the pool out: give a share above 0, up to 0.5, as in leave-s",
        ),
        ({"name": "leave-small:60%"}, "design leaves '60%' of the pool out: give a share above 0, up to 0.5"),
        ({"name": "leave-small:nan"}, "design leaves 'nan' of the pool out: give a share above 0"),
        ({"name": "contrast:0.1"}, "design 'contrast:0.1' is unknown"),
        ({"name": "leave-small:0.1", "leave_out_size": 3}, "--design leave-small:0.1 and --leave-out-size 3: give one"),
        (
            {"name": "leave-small", "leave_out_size": 101},
            "--design leave-small leaves 101 of --pool 200 out: take 1 to 100",
        ),
        ({"name": "leave-small", "reserve_pool": 4}, "--reserve-pool 4 with --design leave-small"),
        ({"name": "leave-out", "leave_out_size": 0}, "--leave-out-size is 0: give 1 to 16, half of --subset-size 32"),
        ({"name": "leave-out", "leave_out_size": 17}, "--leave-out-size is 17: give 1 to 16"),
        ({"name": "leave-out", "subset_size": 1}, "--subset-size 1 has no group to leave out: give at least 2"),
        ({"name": "leave-out", "subset_size": 198}, "come to more than the 200 examples that runs draw from"),
        ({"name": "leave-out", "reserve_pool": 6}, r"--reserve-pool 6 is too small to swap .* give 0, or at least 8"),
    ],
)
def test_designs_that_make_no_sense_are_refused_in_one_line(changed, message):
    with pytest.raises(UsageError, match=message) as caught:
        choose(**changed)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "size"), [("leave-small", 10), ("leave-small:0.01", 2), ("leave-small:2.5%", 5)])
def test_the_share_that_leave_small_leaves_out_follows_its_name(name, size):
    design = choose(name)
    assert (design.name, design.swapped) == ("leave-small", size)
    assert choose("leave-small", leave_out_size=size).swapped == size


def marked(count: int, **fields: Any) -> list[Example]:
    return [Example(f"e{i}", "q", "a", (), i % 2, fields if i == 1 else {}) for i in range(count)]


def test_a_reserve_has_as_many_of_each_class_and_is_marked():
    design = choose(pool=20, reserve_pool=6)
    pool = design.reserved(marked(20))
    places = design.places(pool)
    assert [bool(example.fields.get("reserved")) for example in pool] == [i in places for i in range(20)]
    assert np.bincount([pool[place].label for place in places]).tolist() == [3, 3]
    assert pool[places[0]].without_texts().fields == {"reserved": True}
    assert choose(pool=20).reserved(marked(20)) == tuple(marked(20))


def test_marks_of_a_file_and_a_reserve_do_not_mix():
    with pytest.raises(DataError, match="--reserve-pool 6: pool example 'e1' is marked 'reserved' in its file"):
        choose(pool=20, reserve_pool=6).reserved(marked(20, reserved=True))


@pytest.mark.parametrize(
    ("pool", "subset", "message"),
    [
        (
            [Example(f"e{i}", "q", "a") for i in range(12)],
            4,
            "--design balanced needs classes, and the pool of x has none",
        ),
        ([Example(f"e{i}", "q", "a", (), 0) for i in range(12)], 4, "the pool of x has one: use --design contrast"),
        (marked(12), 1, "--subset-size 1 has no room for the 2 classes of x: give at least 2"),
    ],
)
def test_a_balanced_design_needs_classes(pool, subset, message):
    with pytest.raises(DataError, match=message):
        choose("balanced", pool=12, subset_size=subset).draws(pool, "x")


def test_what_a_recording_of_the_usual_design_is_reported_by_has_not_changed() -> None:
    def identity(**more: Any) -> str:
        return RecordingSettings.of({"seed": 1, "pool": 12, **more}).identity("examples")

    assert identity(design="uniform", reserve_pool=0, leave_out_size=None) == identity()
    assert identity(design="contrast") != identity()


SMALL: dict[str, Any] = {"pool": 24, "test": 4, "subset_size": 6, "batch_size": 3, "steps": 4, "record_every": 4}


def record(model: Path, workspace: Path, **changed: Any):
    return collect(str(model), "errands", **{"workspace": workspace, "lr": 1e-3, "runs": 3, **SMALL, **changed})


def test_a_contrast_recording_with_a_reserve_and_repeats(neox: Path, tmp_path: Path) -> None:
    estimates: list[CostEstimate] = []
    options: dict[str, Any] = {"design": "contrast", "reserve_pool": 6}
    record(neox, tmp_path, **options)
    path = record(neox, tmp_path, runs=9, repeats=4, announce=estimates.append, **options).path
    dynamics = read_dynamics(path)
    assert [run.role for run in dynamics.runs] == [TEST if run in (2, 4, 6) else FIT for run in range(9)] + [REPEAT] * 4
    assert dynamics.settings["design"] == "contrast"
    reserved = {place for place, example in enumerate(dynamics.pool) if example.fields.get("reserved")}
    assert len(reserved) == 6
    for run in dynamics.runs[:9]:
        assert bool(set(run.curriculum.batches.ravel()) & reserved) == (run.role == TEST)
    np.testing.assert_array_equal(dynamics.runs[-1].metrics["loss"], dynamics.runs[0].metrics["loss"])
    assert (dynamics.runs[9].metrics["loss"][-1] != dynamics.runs[0].metrics["loss"][-1]).any()
    assert estimates[0].identifies is not None
    assert (estimates[0].identifies.runs, estimates[0].identifies.examples) == (6, 18)

    held_out = hold_out_examples(dynamics, "train", None, 42)
    assert held_out is not None
    assert set(held_out.pool) == reserved
    unseen = compare(dynamics=path, unseen="train", folds=3, estimators=["class-share"], figure=False)
    assert (unseen.held_out.names, unseen.folds, unseen.fit_runs) == (("run-0002", "run-0004", "run-0006"), None, 6)
    assert any("--folds 3 changes nothing" in note for note in unseen.notes)
    assert not any("intervals between recorded scores" in note for note in unseen.notes)
    whole = compare(dynamics=path, folds=3, estimators=["mean-run"], figure=False)
    assert whole.runs == 9
    assert whole.ceiling is not None
    assert (whole.ceiling.runs, whole.ceiling.subsets) == (6, 3)
    assert any(note.startswith("device noise: none, a curriculum carried out again (once)") for note in whole.notes)


def test_a_recording_goes_on_in_its_own_design_only(neox: Path, tmp_path: Path) -> None:
    record(neox, tmp_path, runs=1)
    with pytest.raises(DataError, match="was recorded with --design uniform, not --design contrast"):
        record(neox, tmp_path, runs=2, design="contrast")
    with pytest.raises(DataError, match="was recorded with --reserve-pool 0, not --reserve-pool 4"):
        record(neox, tmp_path, runs=2, reserve_pool=4)
    assert record(neox, tmp_path, runs=1, repeats=1).recorded_now == 1


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"design": "other"}, UsageError, "design 'other' is unknown"),
        ({"repeats": 4}, UsageError, "--repeats 4 is more than --runs 3"),
        (
            {"runs": 10**12, "repeats": 10**12},
            UsageError,
            "--runs 1000000000000 and --repeats 1000000000000 of 4 steps",
        ),
    ],
)
def test_collect_refuses_before_it_makes_anything(
    neox: Path, tmp_path: Path, changed: dict[str, Any], error: type[GptflError], message: str
) -> None:
    with pytest.raises(error, match=message):
        record(neox, tmp_path, **changed)
    assert list(tmp_path.iterdir()) == []


def test_the_plan_of_leave_small_says_what_its_runs_lack(
    neox: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    from gptfl.cli.plan import announce

    plans: list[Any] = []
    options: dict[str, Any] = {"design": "leave-small:25%", "subset_size": None, "runs": 4}
    record(neox, tmp_path, **options, announce=plans.append)
    announce(plans[0])
    shown = " ".join(capsys.readouterr().out.split())
    assert "all 24 examples, or all but 6" in shown
    assert "how trainings on all 24 examples but another 6 end" in shown
