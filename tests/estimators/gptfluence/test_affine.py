"""Steps composed against the steps one after another."""

import numpy as np
import torch

from gptfl.estimators.gptfluence.affine import passage

TESTS, STEPS = 4, 5


def test_a_passage_is_its_steps_one_after_another() -> None:
    random = np.random.default_rng(0)
    for order in (1, 2, 3):
        factor = torch.from_numpy(random.normal(size=(order + 1, STEPS, TESTS)))
        scale, keep = random.uniform(0.5, 1.5, size=STEPS).tolist(), random.uniform(0, 1, size=STEPS).tolist()
        idle = [False, False, True, False, False]
        start = random.normal(size=(order, TESTS))
        for begin, end in ((0, 5), (1, 4), (3, 3)):
            past = list(start)
            for t in range(begin, end):
                alphas, beta = factor[:-1, t].numpy(), factor[-1, t].numpy()
                moved = scale[t] * sum(a * p for a, p in zip(alphas, past, strict=True)) + keep[t] * past[0] + beta
                past = [past[0] if idle[t] else moved, *past[:-1]]
            found = passage(factor, scale, keep, idle, begin, end)
            carried = found.carry([torch.from_numpy(one) for one in start], slice(None))
            np.testing.assert_allclose(np.stack(carried), np.stack(past), rtol=1e-12)
            some = found.carry([torch.from_numpy(one[[2, 0]]) for one in start], torch.tensor([2, 0]))
            np.testing.assert_allclose(np.stack(some), np.stack(past)[:, [2, 0]], rtol=1e-12)
