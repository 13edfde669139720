import numpy as np
import pytest
import torch

from gptfl.errors import DataError
from gptfl.estimators.gptfluence.batches import interval_counts, join, modal_size

BATCHES = np.array([[[0, 1], [1, 2], [3, -1], [1, 1]], [[2, 2], [-1, -1], [-1, -1], [0, 3]]])


def test_counts_with_multiplicity_and_without_padding() -> None:
    counts = interval_counts(BATCHES, np.array([0, 2, 3, 4]), pool=4)
    expected = [[1, 2, 1, 0], [0, 0, 0, 1], [0, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 0], [1, 0, 0, 1]]
    assert counts.dense(4).tolist() == expected
    assert counts.sizes.tolist() == [4, 1, 2, 2, 0, 2]


def test_batches_before_the_first_recorded_step_are_not_seen() -> None:
    assert interval_counts(BATCHES, np.array([1, 2]), pool=4).dense(4).tolist() == [[0, 1, 1, 0], [0, 0, 0, 0]]


def test_one_recorded_step_has_no_interval() -> None:
    assert len(interval_counts(BATCHES, np.array([0]), pool=4).sizes) == 0


def test_joining_stacks_and_turning_transposes() -> None:
    parts = [interval_counts(BATCHES[:1], np.array([0, 1, 4]), 4), interval_counts(BATCHES[1:], np.array([0, 4]), 4)]
    joined = join(parts)
    stacked = torch.cat([part.dense(4) for part in parts])
    assert torch.equal(joined.dense(4), stacked)
    assert torch.equal(joined.turned(4).dense(len(stacked)), stacked.T)


def test_the_modal_size_is_the_commonest_and_ignores_empty_intervals() -> None:
    assert modal_size(interval_counts(BATCHES, np.array([0, 1, 2, 3, 4]), 4)) == 2
    with pytest.raises(DataError, match="no batch holds any example"):
        modal_size(interval_counts(BATCHES[1:], np.array([1, 2, 3]), 4))


@pytest.mark.parametrize(
    ("steps", "pool", "problem"),
    [
        ([0, 5], 4, "end at step 4, before step 5"),
        ([0, 2, 2], 4, "don't ascend"),
        ([0, 4], 3, "example 3 of a pool of 3"),
    ],
)
def test_what_does_not_fit_is_refused(steps: list[int], pool: int, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        interval_counts(BATCHES, np.array(steps), pool)
