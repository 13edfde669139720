"""Examples held out of a fit."""

import json

import numpy as np
import pytest

from gptfl.core.holdout import SIDES, HeldOutExamples, kept_places
from tests.synthetic import synthetic

DYNAMICS = synthetic(1, pool=5, test=3, subset=3)[0]


@pytest.mark.parametrize(
    ("pool", "test", "words"),
    [
        ((1, 3), (0,), "2 of 5 training examples and 1 of 3 test examples"),
        ((1,), (), "1 of 5 training examples"),
        ((), (0, 1), "2 of 3 test examples"),
    ],
)
def test_what_is_set_aside_is_said(pool: tuple[int, ...], test: tuple[int, ...], words: str) -> None:
    side = "both" if pool and test else "train" if pool else "test"
    held_out = HeldOutExamples(side, 0.2, 7, pool, test)
    assert held_out.described(DYNAMICS) == words
    assert held_out.sides == SIDES[side]


def test_a_file_keeps_ids() -> None:
    kept = HeldOutExamples("both", None, 7, (1, 3), (2,)).to_json(DYNAMICS)
    assert json.loads(json.dumps(kept)) == {
        "side": "both", "share": None, "seed": 7, "train": ["train-1", "train-3"], "test": ["test-2"],
    }  # fmt: skip


def test_the_others_are_kept_in_order() -> None:
    assert kept_places(5, (1, 3)).tolist() == [0, 2, 4]
    assert kept_places(3, ()).tolist() == [0, 1, 2]
    assert kept_places(2, (0, 1)).tolist() == []
    assert kept_places(3, ()).dtype.kind == "i", "places, also where none is set aside"
    assert np.arange(3)[kept_places(3, ())].tolist() == [0, 1, 2]
