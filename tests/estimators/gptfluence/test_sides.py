"""The sides of a recurrence, of examples fitted and of others, in memory and out of it."""

import numpy as np
import pytest
import torch

from gptfl.core import Example, FeatureSet, Unseen
from gptfl.errors import DataError
from gptfl.estimators.gptfluence.pool_rows import PoolRows
from gptfl.estimators.gptfluence.projection import Form
from gptfl.estimators.gptfluence.sides import StreamedSides, VectorSides, asked_sides
from gptfl.estimators.gptfluence.vectors import Standard
from tests.estimators.exposure_gp.worlds import Held

RANDOM = np.random.default_rng(0)
TRAIN, TEST = RANDOM.normal(size=(6, 3)).astype(np.float32), RANDOM.normal(size=(2, 3)).astype(np.float32)
NEW = RANDOM.normal(size=(2, 3)).astype(np.float32)
STANDARD = Standard.of_pool(TRAIN)
FORM = Form(2, "linear", False, 3, 3)


def unseen(pool_seen: list[int]) -> Unseen:
    pool, test = (tuple(Example(f"{name}-{i}", "", "") for i in range(count)) for name, count in (("p", 4), ("t", 2)))
    return Unseen(pool, test, np.array(pool_seen), np.arange(2))


@pytest.mark.parametrize("fitted_in_memory", [True, False])
@pytest.mark.parametrize("asked_in_memory", [True, False])
def test_examples_asked_about_have_the_same_vectors_wherever_they_lie(
    fitted_in_memory: bool, asked_in_memory: bool
) -> None:
    test = STANDARD(TEST)
    fitted = VectorSides(FORM, STANDARD(TRAIN), test)
    if not fitted_in_memory:
        fitted = StreamedSides(FORM, PoolRows(Held(TRAIN), STANDARD), test)
    rows = np.concatenate([TRAIN[[4, 1]], NEW])
    vectors = FeatureSet(rows if asked_in_memory else Held(rows), TEST)
    found = asked_sides(fitted, (STANDARD, STANDARD), vectors, unseen([4, 1, -1, -1]))
    streamed = isinstance(found, StreamedSides)
    assert streamed == (not (fitted_in_memory and asked_in_memory))
    train = found.train.read(np.arange(4)) if streamed else found.train
    torch.testing.assert_close(train, STANDARD(rows))
    torch.testing.assert_close(found.test, test)


def test_what_does_not_fit_is_refused() -> None:
    fitted = StreamedSides(FORM, PoolRows(Held(TRAIN), STANDARD), STANDARD(TEST))
    both = (STANDARD, STANDARD)
    with pytest.raises(DataError, match="asked for example 6 of 6 that were fitted"):
        asked_sides(fitted, both, FeatureSet(Held(TRAIN[:4]), TEST), unseen([6, 1, 2, 3]))
    with pytest.raises(DataError, match="unseen examples have vectors of 2 numbers, those fitted of 3"):
        asked_sides(fitted, both, FeatureSet(Held(TRAIN[:4, :2]), TEST), unseen([0, 1, 2, 3]))
