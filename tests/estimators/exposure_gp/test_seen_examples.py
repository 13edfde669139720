"""Which examples runs see, how much each time counts, and sums of what is known of them."""

import numpy as np
import pytest

from gptfl.estimators.exposure_gp import seen_examples
from gptfl.estimators.exposure_gp.curricula import Curricula
from gptfl.estimators.exposure_gp.seen_examples import SeenExamples, add_rows, seen_blocks, share_of_point

STEPS = np.array([0, 3, 5])
POINTS = np.array([0.0, 2.0, 4.0])


@pytest.mark.parametrize("reach", [None, 2.5])
def test_sums_are_those_of_a_plain_loop(monkeypatch, reach):
    monkeypatch.setattr(seen_examples, "BLOCK_BYTES", 40)
    random = np.random.default_rng(1)
    runs = Curricula(random.integers(-1, 12, size=(4, 6, 3)), random.random((4, 6)))
    rows = random.normal(size=(len(POINTS), 12, 3)).astype(np.float32)
    seen = SeenExamples.of(runs, STEPS, None)
    found = np.zeros((len(STEPS) * len(runs.batches), 3), np.float32)
    for point, one in enumerate(rows):
        share = share_of_point(seen.taken, POINTS, point)
        for some, block in seen_blocks(seen.example, one):
            weight = seen.decayed(reach)[some] * share[some]
            add_rows(found, seen.place[some], weight, block, np.flatnonzero(share[some] > 0))
    expected = np.zeros((len(STEPS), len(runs.batches), 3))
    for row, end in enumerate(STEPS):
        for run, batches in enumerate(runs.batches):
            for step in range(end):
                between = [np.interp(step, POINTS, one) for one in np.eye(len(POINTS))]
                faded = 1.0 if reach is None else np.exp((step + 1 - end) / reach)
                for example in batches[step]:
                    if example >= 0:
                        expected[row, run] += faded * runs.weights[run, step] * (between @ rows[:, example])
    np.testing.assert_allclose(seen.summed(found, reach), expected, rtol=1e-5, atol=1e-6)
