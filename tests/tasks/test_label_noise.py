"""Flipped labels: as many as were asked for, to another class, and back again."""

from dataclasses import replace

import pytest

from gptfl.core import Example
from gptfl.errors import DataError, UsageError
from gptfl.tasks.label_noise import check_share, corrected, flip_labels, flipped_of


def test_flips_of_many_classes_take_every_other_one() -> None:
    choices = (" a", " b", " c", " d")
    pool = [Example(str(i), f"p{i}", " b", choices, 1) for i in range(200)]
    targets = [e.target for e in flip_labels(pool, 0.5, 1) if e.fields]
    assert len(targets) == 100
    assert {target: targets.count(target) > 15 for target in targets} == {" a": True, " c": True, " d": True}
    assert [e.id for e in flip_labels(pool, 0.5, 2) if e.fields] != [
        e.id for e in flip_labels(pool, 0.5, 1) if e.fields
    ]


POOL = [Example(str(i), f"p{i}", (" a", " b")[i % 2], (" a", " b"), i % 2, {"kind": "q"}) for i in range(9)]


def test_so_many_are_flipped_and_correcting_gives_back_the_very_pool() -> None:
    noisy = flip_labels(POOL, 0.3, 4)
    flipped = flipped_of(noisy)
    assert flipped.sum() == 3
    for before, after, is_flipped in zip(POOL, noisy, flipped, strict=True):
        assert (after == before) is not is_flipped
        assert after.target == after.choices[after.label]
        if is_flipped:
            assert corrected(after) == before
            assert after.digest != before.digest


def test_whether_a_label_flips_depends_on_its_id_and_not_on_its_place() -> None:
    def ids(pool: list[Example]) -> set[str]:
        return {
            one.id for one, is_flipped in zip(pool, flipped_of(flip_labels(pool, 0.5, 2)), strict=True) if is_flipped
        }

    assert ids(POOL) == ids(POOL[::-1])


def test_choices_of_the_same_text_are_no_other_class() -> None:
    pool = [Example(str(i), "p", " a", (" a", " a", " b"), 0) for i in range(20)]
    assert {one.target for one in flip_labels(pool, 0.95, 0) if one.fields} == {" b"}
    with pytest.raises(DataError, match="has no classes to choose from"):
        flip_labels([Example("0", "p", " a", (" a", " a"), 0)], 0.9, 0)


@pytest.mark.parametrize("clean", [None, 2, -1, True, "0"])
def test_an_example_that_says_nothing_of_its_own_label_is_not_corrected(clean: object) -> None:
    broken = replace(POOL[0], fields={"flipped": True, "clean_label": clean}, digest="")
    with pytest.raises(
        DataError, match=r"pool example '0' is flipped, and its clean_label .* is none of its 2 choices"
    ):
        corrected(broken)


def test_nothing_is_flipped_where_nothing_says_so() -> None:
    assert flipped_of([]).tolist() == []
    assert flipped_of([replace(POOL[0], fields={"flipped": "yes"})]).tolist() == [False]
    for share in (None, 0.5):
        check_share(share)
    for wrong in (0.0, 1.0, float("nan")):
        with pytest.raises(UsageError, match="between 0 and 1"):
            check_share(wrong)
