"""Where examples list their choices in another order, nothing that goes by classes changes; where they differ, it says so."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import gptfl
from gptfl.core import Dynamics, Example, FitData, Unseen
from gptfl.core.queries import query_for
from gptfl.errors import DataError
from gptfl.estimators.class_share import ClassShare
from gptfl.influence.greedy import SelectionSpec, class_quota, greatest
from gptfl.plugins.registry import build
from gptfl.recording.design import choose_design, make_plans
from gptfl.recording.identify import identify
from gptfl.recording.inspect import inspect
from gptfl.recording.new_examples import read_new_examples
from gptfl.report.ranking_rows import class_of
from gptfl.store.recordings import write_dynamics
from gptfl.tasks.label_noise import corrected, flip_labels
from tests.synthetic import LOSS, synthetic

DYNAMICS = synthetic(9, pool=20, test=6, subset=8, batch_size=4, steps=8, every=2)[0]
POOL = DYNAMICS.pool
DIFFER = "since the choices are not the same texts in all"


def turned(examples: Sequence[Example], every: int = 3) -> tuple[Example, ...]:
    """The same examples, most of which list their choices the other way round."""
    return tuple(
        replace(one, choices=one.choices[::-1], label=len(one.choices) - 1 - (one.label or 0)) if place % every else one
        for place, one in enumerate(examples)
    )


def without_classes(examples: Sequence[Example]) -> tuple[Example, ...]:
    """The same examples as multiple-choice questions: every one has choices of its own."""
    return tuple(replace(one, choices=(one.target, f"not {one.id}"), label=0) for one in examples)


TURNED = replace(DYNAMICS, pool=turned(POOL), test=turned(DYNAMICS.test, 2))
WITHOUT_CLASSES = replace(DYNAMICS, pool=without_classes(POOL), test=without_classes(DYNAMICS.test))


def test_a_share_of_a_class_is_one_of_its_text() -> None:
    values = np.where([one.label == 1 for one in POOL], 2.0, 1.0)
    chosen = greatest(values, 8, class_quota(TURNED.pool, SelectionSpec(8, 0.5)))
    assert sorted(POOL[place].label or 0 for place in chosen) == [0] * 4 + [1] * 4
    assert chosen == greatest(values, 8, class_quota(POOL, SelectionSpec(8, 0.5)))
    with pytest.raises(DataError, match=f"training examples have no classes, {DIFFER}: leave it out"):
        class_quota(WITHOUT_CLASSES.pool, SelectionSpec(8, 0.5))


def predictions(dynamics: Dynamics, new: tuple[Example, ...]) -> np.ndarray:
    data = FitData(dynamics.pool, dynamics.test, LOSS, dynamics.runs[:6], dynamics.runs[6:7], None, 0)
    fitted = ClassShare().fit(data)
    assert fitted.test_classes_ is not None
    query = query_for(dynamics.runs[7:], LOSS)
    pool, test = (*dynamics.pool, *new), (*dynamics.test, *new)
    unseen = Unseen(
        pool, test, np.append(np.arange(20), [-1] * len(new)), np.append(np.arange(6), [-1] * len(new)), None
    )
    first = np.concatenate([query.first, np.full((len(query.first), len(new)), 2.0)], axis=1)
    batches = np.where(query.batches == 3, 20, query.batches)
    return fitted.predict(replace(query, batches=batches, first=first, unseen=unseen)).values


def test_class_share_is_the_same_whatever_the_order_of_choices() -> None:
    new = tuple(replace(one, id=f"new {one.id}") for one in POOL[3:5])
    np.testing.assert_array_equal(predictions(TURNED, turned(new)), predictions(DYNAMICS, new))
    with pytest.raises(DataError, match=f"class-share needs the class of every pool example.*{DIFFER}"):
        ClassShare().fit(
            FitData(WITHOUT_CLASSES.pool, WITHOUT_CLASSES.test, LOSS, DYNAMICS.runs[:6], DYNAMICS.runs[6:7], None, 0)
        )


def test_a_balanced_design_is_the_same_whatever_the_order_of_choices() -> None:
    options = {"subset_size": 6, "reserve_pool": 4, "leave_out_size": None, "repeats": 0}
    design = choose_design("balanced", 5, 20, 1, **options)
    drawn = [design.draws(design.reserved(pool), "x") for pool in (POOL, TURNED.pool)]
    plain, other = (make_plans(draws, 3, 6) for draws in drawn)
    for one, two in zip(plain, other, strict=True):
        np.testing.assert_array_equal(one.batches, two.batches)
    rates = np.full(6, 0.1)
    identified = [identify(drawn[0], plain, rates, pool) for pool in (POOL, TURNED.pool)]
    assert identified[0] is not None
    assert identified[0].classes == identified[1].classes
    assert set(identified[0].classes) == {"class0", "class1"}
    with pytest.raises(DataError, match=f"--design balanced needs classes, and the pool of x has none, {DIFFER}"):
        choose_design("balanced", 5, 20, 1, **options).draws(WITHOUT_CLASSES.pool, "x")


def test_flips_go_to_another_text() -> None:
    flipped = flip_labels(TURNED.pool, 0.5, 0)
    for one, clean in zip(flipped, TURNED.pool, strict=True):
        if one.fields.get("flipped"):
            assert one.target != clean.target
            assert one.choices[one.label or 0] == one.target
            assert corrected(one) == clean
    doubled = tuple(replace(one, choices=(*one.choices, one.target)) for one in POOL)
    assert all(one.target != clean.target for one, clean in zip(flip_labels(doubled, 0.99, 0), POOL, strict=True))


def test_new_examples_get_the_choices_that_the_recorded_ones_share(tmp_path: Path) -> None:
    path = tmp_path / "new.jsonl"
    path.write_text(json.dumps({"prompt": "p", "target": " class1"}))
    (new,) = read_new_examples(path, None, TURNED, LOSS, build([])).pool
    assert (new.choices, new.label) == ((" class0", " class1"), 1)
    assert read_new_examples(path, None, WITHOUT_CLASSES, LOSS, build([])).pool[0].choices == ()


def test_an_example_is_shown_with_its_own_choice(tmp_path: Path) -> None:
    assert [class_of(one) for one in TURNED.pool] == [one.target.strip() for one in POOL]
    path = tmp_path / "t.dynamics.h5"
    write_dynamics(path, TURNED)
    listed = inspect(path, examples=True).examples or []
    assert [one.label for one in listed] == [one.target.strip() for one in (*POOL, *DYNAMICS.test)]


def test_what_was_asked_for_and_needs_classes_says_in_a_line_that_there_are_none(tmp_path: Path) -> None:
    path = tmp_path / "asked.dynamics.h5"
    write_dynamics(path, WITHOUT_CLASSES)
    with pytest.raises(DataError, match=f"class-share needs classes, and the recording's task has none, {DIFFER}"):
        gptfl.fit("class-share", dynamics=path)


def test_select_counts_classes_by_their_text(tmp_path: Path) -> None:
    path = tmp_path / "turned.dynamics.h5"
    write_dynamics(path, TURNED)
    gptfl.fit("class-share", dynamics=path)
    found = gptfl.select(8, dynamics=path, max_share_per_class=0.5, orders=1, search=0)
    assert found.classes == {"class0": 4, "class1": 4}
    assert [one.target for one in found.examples].count(" class0") == 4
