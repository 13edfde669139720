import numpy as np
import pytest

from gptfl.core.curriculum import RunStream, Stream, SyntheticStream, TinyStream, check_seed, fill_batches, generator
from gptfl.errors import UsageError


@pytest.mark.parametrize(("steps", "batch_size"), [(7, 3), (1, 1), (4, 5), (0, 3)])
def test_batches_cycle_through_fresh_shuffles(steps, batch_size):
    subset = np.array([8, 2, 5, 11])
    random = generator(3, 1)
    stream = [int(one) for _ in range(steps * batch_size) for one in random.permutation(subset)]
    batches = fill_batches(subset, batch_size, steps, seed=3)
    assert batches.shape == (steps, batch_size)
    assert batches.dtype == np.int64
    assert batches.ravel().tolist() == stream[: steps * batch_size]


@pytest.mark.parametrize("seed", [-1, 2**63, 10**30])
def test_a_seed_that_no_file_can_hold_is_refused(seed):
    with pytest.raises(UsageError, match=rf"seed is {seed}"):
        check_seed(seed)


@pytest.mark.parametrize("seed", [0, 42, 2**63 - 1])
def test_seeds_from_0_on_are_taken(seed):
    check_seed(seed)


def test_random_streams_differ() -> None:
    for streams in (Stream, RunStream, TinyStream, SyntheticStream):
        # An alias would be a second name for the numbers of another draw.
        assert len(streams.__members__) == len({int(stream) for stream in streams})
        first = {stream: tuple(generator(7, stream).integers(2**32, size=4)) for stream in streams}
        assert len(set(first.values())) == len(first)
    # The built-in model's texts are drawn from its seed, too.
    assert not {Stream.ERRANDS_HABITS, Stream.ERRANDS_SIDES, Stream.ERRANDS_TEXTS} & set(TinyStream)
