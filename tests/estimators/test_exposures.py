import numpy as np

from gptfl.core.curriculum import presentation_weights
from gptfl.estimators.exposures import exposures, exposures_by_chunk, shares


def drawn(runs=5, steps=9, batch=3, pool=6, seed=0):
    random = np.random.default_rng(seed)
    return random.integers(-1, pool, size=(runs, steps, batch)), random.uniform(size=(runs, steps))


def looped(batches, rates, steps, pool):
    result = np.zeros((len(batches), len(steps), pool))
    for run in range(len(batches)):
        for row, step in enumerate(steps):
            for t in range(min(step, batches.shape[1])):
                for member in batches[run, t]:
                    if member >= 0:
                        result[run, row, member] += rates[run, t] / (batches[run, t] >= 0).sum()
    return result


def test_match_a_plain_loop():
    batches, rates = drawn()
    for steps in ([0, 2, 3, 9], [1, 4], [0], [5, 20]):
        np.testing.assert_allclose(exposures(batches, rates, np.array(steps), 6), looped(batches, rates, steps, 6))


def test_shares_follow_how_much_examples_count():
    batches, rates = drawn()
    tokens, steps = np.array([1.0, 7.0, 2.0, 30.0, 4.0, 4.0]), np.array([0, 2, 9])
    found = exposures(batches, rates, steps, 6, counts=tokens / tokens.mean())
    expected = np.zeros((5, 3, 6))
    for run, row, member in np.ndindex(*expected.shape):
        for taken, rate in zip(batches[run, : steps[row]], rates[run], strict=False):
            whole = tokens[taken[taken >= 0]].sum()
            expected[run, row, member] += rate * (taken == member).sum() * tokens[member] / max(whole, 1.0)
    np.testing.assert_allclose(found, expected)
    there = (batches >= 0).any(axis=2)
    np.testing.assert_allclose(found[:, -1].sum(axis=1), (rates * there).sum(axis=1))
    groups = np.array([0, 1, 2, 0, 1, 0])
    whole = np.stack([expected[..., groups == g].sum(axis=2) for g in range(3)], axis=2)
    np.testing.assert_allclose(exposures(batches, rates, steps, 6, groups, tokens), whole)
    equal_weights = presentation_weights(batches, rates, np.ones(6))
    np.testing.assert_allclose(equal_weights, presentation_weights(batches, rates))


def test_groups_add_up_their_examples():
    batches, rates = drawn()
    steps, groups = np.array([0, 4, 9]), np.array([0, 1, 2, 0, 1, 0])
    whole = exposures(batches, rates, steps, 6)
    expected = np.stack([whole[..., groups == g].sum(axis=2) for g in range(3)], axis=2)
    np.testing.assert_allclose(exposures(batches, rates, steps, 6, groups), expected)


def test_chunks_join_to_the_whole():
    batches, rates = drawn()
    steps = np.array([0, 4, 9])
    chunks = list(exposures_by_chunk(batches, rates, steps, 6, entries=40))
    assert [c.stop - c.start for c, _ in chunks] == [2, 2, 1]
    np.testing.assert_array_equal(np.concatenate([e for _, e in chunks]), exposures(batches, rates, steps, 6))


def test_shares_sum_to_one_and_are_equal_before_anything_is_seen():
    batches, rates = drawn()
    share = shares(exposures(batches, rates, np.array([0, 9]), 6))
    np.testing.assert_allclose(share.sum(axis=2), 1.0)
    np.testing.assert_allclose(share[:, 0], 1 / 6)
