"""The designs of a recording: what is left open becomes their own, and what makes no sense is one line."""

from typing import Any

import numpy as np
import pytest

from gptfl.core import Example
from gptfl.designs.draws import REPEATS_FROM
from gptfl.errors import DataError, UsageError
from gptfl.recording.design import (
    POOL,
    SUBSET,
    choose_design,
    choose_epochs_of,
    choose_steps,
    half_of,
    make_plans,
    read_name,
)

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
        ("groups", 200, 0, 100, 75),
    ],
)
def test_what_is_left_open_is_the_designs_own(name, pool, reserve, subset, steps):
    if name == "leave-out":
        assert choose(name, pool=pool).swapped == 1
    design = choose(name, pool=pool, reserve_pool=reserve, by="source" if name == "groups" else None)
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
        ({"name": "groups"}, "--design groups needs --by: name a field of the rows, or clusters"),
        ({"by": "source"}, "--by source is for --design groups: add that, or leave it out"),
        ({"name": "groups", "by": "clusters:1"}, "--by clusters:1 asks for 1 clusters: give 2 or more"),
        ({"name": "groups", "by": "clusters:"}, "--by clusters: asks for no number of clusters: give 2 or more"),
        ({"name": "groups", "by": "clusters:-3"}, "--by clusters:-3 asks for -3 clusters: give 2 or more"),
        ({"name": "groups", "by": "clusters:201"}, "--by clusters:201 asks for more clusters than --pool 200"),
        (
            {"name": "groups", "by": "source", "reserve_pool": 4},
            "--reserve-pool 4 with --design groups: its runs differ by whole groups: leave it out",
        ),
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


def test_names_may_hold_a_share() -> None:
    assert read_name("leave-small:0.05") == ("leave-small", 0.05)
    assert read_name("leave-small:50%") == ("leave-small", 0.5)
    for name in ("contrast", "contrast:0.1", "leave-small", ""):
        assert read_name(name) == (name, None)
    for share in ("0", "-0.1", "0.51", "inf", "", "5%%"):
        with pytest.raises(UsageError, match=r"of the pool out: give a share above 0, up to 0.5"):
            read_name(f"leave-small:{share}")


def test_steps_are_epochs_rounded_up_and_only_one_of_the_two_is_given() -> None:
    design = choose(subset_size=10)
    assert choose_steps(design, None, 1.0, 4) == 3
    with pytest.raises(UsageError, match="--epochs and --steps both say how long to train"):
        choose_steps(design, 5, 1.0, 4)


@pytest.mark.parametrize(
    ("name", "size", "epochs"),
    [
        ("contrast", 9, 6),
        ("contrast", 10, 3),
        ("balanced", 9, 6),
        ("balanced", 12, 3),
        ("uniform", 4, 3),
        ("repeat", 12, 6),
    ],
)
def test_few_examples_are_passed_over_oftener_than_half_of_the_pool(name: str, size: int, epochs: int) -> None:
    design = choose(name=name, pool=20, subset_size=size)
    assert choose_steps(design, None, None, 1) == epochs * size


def test_half_of_the_pool_is_of_what_is_not_reserved_and_at_least_one() -> None:
    assert [half_of(*one) for one in ((20, 0), (21, 0), (21, 5), (1, 0))] == [10, 10, 8, 1]


def test_plans_are_the_draws_with_their_batches_and_repeats_come_last() -> None:
    design = choose(runs=3, pool=20, subset_size=6, repeats=2)
    draws = design.draws(marked(20), "x")
    plans = make_plans(draws, 3, 4)
    assert [plan.index for plan in plans] == [0, 1, 2, REPEATS_FROM, REPEATS_FROM + 1]
    assert [(plan.seed, plan.role) for plan in plans] == [(draw.seed, draw.role) for draw in draws]
    for plan in plans:
        assert plan.batches.shape == (4, 3)
        assert len(np.unique(plan.batches)) == 6
    for repeat, first in zip(plans[3:], plans, strict=False):
        assert set(repeat.batches.ravel()) == set(first.batches.ravel())
