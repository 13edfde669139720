"""Batches of packed rows and of examples of about one length."""

import numpy as np
import pytest

from gptfl.core.curriculum import fill_batches
from gptfl.core.packing import PACKED_AT_ONCE, Batching, by_length, pack, padded, stacked_batches
from gptfl.errors import UsageError

LENGTHS = np.array([5, 9, 2, 7, 3, 3, 8, 1, 6, 4])


def test_rows_are_filled_with_the_longest_first_where_least_is_left() -> None:
    assert pack([4, 3, 3, 2, 1], 6) == [[0, 3], [1, 2], [4]]
    assert pack([9, 2], 5) == [[0], [1]]
    assert pack([], 5) == []
    rows = pack(LENGTHS, 10)
    assert sorted(i for row in rows for i in row) == list(range(10))
    assert all(LENGTHS[row].sum() <= 10 for row in rows)
    assert len(rows) == 5


def test_many_examples_are_packed_a_thousand_at_a_time() -> None:
    rows = pack([1] * (PACKED_AT_ONCE + 3), 2)
    assert [i for row in rows for i in row] == list(range(PACKED_AT_ONCE + 3))
    assert [len(row) for row in rows[499:]] == [2, 2, 1]


def test_a_packed_run_has_whole_rows_in_each_step_and_passes_over_all() -> None:
    batching = Batching(2, "bfd", width=10, lengths=LENGTHS)
    subset = np.array([8, 0, 3, 4, 6, 9])
    rows = {frozenset(row) for row in batching.rows(subset)}
    assert batching.steps(subset, 3) == -(-3 * len(rows) // 2)
    batches = batching.fill(subset, 2 * len(rows), 5)
    assert (np.diff(batches < 0, axis=1) >= 0).all()
    seen: list[frozenset[int]] = []
    for batch in batches.tolist():
        left = [i for i in batch if i >= 0]
        while left:
            row = next(row for row in rows if left[0] in row)
            assert set(left[: len(row)]) == row
            seen.append(row)
            left = left[len(row) :]
    assert len(seen) == 4 * len(rows)
    for start in range(0, len(seen), len(rows)):
        assert set(seen[start : start + len(rows)]) == rows
    assert not np.array_equal(batches, batching.fill(subset, 2 * len(rows), 6))


def test_lengths_are_grouped_as_transformers_does() -> None:
    torch = pytest.importorskip("torch")
    from transformers.trainer_pt_utils import get_length_grouped_indices

    random = np.random.default_rng(2)
    for count, size in ((10, 3), (50, 4), (500, 2), (3, 8)):
        lengths = random.integers(1, 99, count)
        order = torch.randperm(count, generator=torch.Generator().manual_seed(count)).numpy()
        theirs = get_length_grouped_indices(lengths.tolist(), size, generator=torch.Generator().manual_seed(count))
        assert by_length(order, lengths[order], size).tolist() == theirs


def test_a_grouped_run_sees_all_as_often_and_alike_lengths_together() -> None:
    lengths = np.random.default_rng(0).integers(1, 99, 64)
    batches = Batching(4, grouped=True, lengths=lengths).fill(np.arange(64), 48, 3)
    assert (np.bincount(batches.ravel()) == 3).all()
    spread = np.ptp(lengths[batches], axis=1).mean()
    assert spread < 0.5 * np.ptp(lengths[fill_batches(np.arange(64), 4, 48, 3)], axis=1).mean()


def test_without_lengths_batches_are_as_they_always_were() -> None:
    np.testing.assert_array_equal(Batching(3).fill(np.arange(7), 5, 2), fill_batches(np.arange(7), 3, 5, 2))
    for batching in (Batching(2, "bfd", width=8), Batching(2, grouped=True, lengths=np.array([3, -1]))):
        with pytest.raises(UsageError, match="it isn't known how many tokens each of these examples has"):
            batching.fill(np.arange(2), 3, 0)


def test_batches_of_different_sizes_are_filled_up() -> None:
    assert padded([[1], [2, 3]]).tolist() == [[1, -1], [2, 3]]
    assert stacked_batches([padded([[1]]), padded([[2, 3]])]).tolist() == [[[1, -1]], [[2, 3]]]
