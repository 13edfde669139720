"""Simfluence's recurrence against a plain loop."""

import numpy as np

from gptfl_simfluence.recurrence import count, roll_out
from tests.simfluence import law, loop, query_of, recording


def test_roll_out_equals_a_plain_loop() -> None:
    data = recording("linear")
    query = query_of(data)
    alpha, beta = law("linear", 6, 3)
    expected = np.stack([loop(b, f, alpha, beta) for b, f in zip(query.batches, query.first, strict=True)])
    np.testing.assert_allclose(roll_out(query, 1, alpha, beta), expected, rtol=1e-12)


def test_counts_leave_padding_out() -> None:
    counts = count(np.array([[[0, 1, 1], [2, -1, -1]], [[-1, -1, -1], [0, 0, -1]]]), 4)
    np.testing.assert_array_equal(counts, [[1, 2, 1, 0], [2, 0, 0, 0]])


def test_examples_count_by_their_tokens_where_the_loss_is_a_mean_over_them() -> None:
    tokens = np.array([1.0, 5.0, 2.0, 8.0])
    found = count(np.array([[[0, 1, -1], [2, 3, 3]]]), 4, 3, tokens / tokens.mean())
    np.testing.assert_allclose(found, [[3 * 1 / 6, 3 * 5 / 6, 3 * 2 / 18, 3 * 16 / 18]])
