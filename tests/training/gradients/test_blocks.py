"""Which examples are held at once: however they are cut, the products are the same."""

from pathlib import Path

import pytest

from gptfl.training.gradients.blocks import Arrangement, Weights
from tests.training.gradients.conftest import assert_exact, compute, make_case


@pytest.mark.parametrize("divided", [False, True])
def test_the_size_of_blocks_changes_nothing(family: Path, divided: bool) -> None:
    case = make_case(family, None)
    weights = Weights.measured(case.tape, case.pool)
    longest = max(weights.of(side, i) for side in (case.pool, case.test) for i in range(len(side)))
    small = Arrangement.fit(case.pool, case.test, weights, int(3 * longest), divided)
    assert len(small.tests) > 1
    assert len(small.pools) > 1
    assert_exact(case, compute(case, divided, int(3 * longest)))
