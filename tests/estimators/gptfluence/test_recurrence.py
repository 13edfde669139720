from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gptfl.errors import DataError
from gptfl.estimators.gptfluence.batches import interval_counts
from gptfl.estimators.gptfluence.recurrence import factors, rollout
from gptfl.estimators.gptfluence.update_rule import UpdateRule


def plain_rollout(train, test, batches, steps, first, law, rates=None, push=None):
    """The recurrence as the paper writes it: a loop over curricula, steps, test examples, batch members.

    A step's effect is what it would do to the last score, times its relative step size.
    """
    order = len(train) - 1
    result = np.empty((len(batches), len(steps), test.shape[1]))
    for run in range(len(batches)):
        for z in range(test.shape[1]):
            path = [first[run, z]]
            for start, stop in pairwise(steps):
                seen = [(i, t) for t in range(start, stop) for i in batches[run, t] if i >= 0]
                if not seen:
                    path.append(path[-1])
                    continue
                effect = 0.0
                for i, t in seen:
                    size = 1.0 if law.rate is None else rates[run, t] / law.rate
                    whole = float(train[order, i] @ test[order, z])
                    for j in range(order):
                        alpha = float(train[j, i] @ test[j, z]) * (1 if law.anchored else law.modal / len(seen))
                        whole += alpha * path[max(len(path) - 1 - j, 0)]
                    effect += size * (whole if law.anchored else whole - path[-1] / len(seen))
                added = 0.0 if push is None else float(push[min(run, len(push) - 1), len(path) - 1, z])
                path.append(path[-1] + effect + added)
            result[run, :, z] = path
    return result


@st.composite
def problems(draw):
    size = {name: draw(st.integers(1, top)) for name, top in {"run": 4, "step": 7, "batch": 3, "order": 3}.items()}
    pool, test, rank = draw(st.integers(1, 30)), draw(st.integers(1, 4)), draw(st.integers(1, 3))
    random = np.random.default_rng(draw(st.integers(0, 2**16)))
    steps = np.array(sorted(draw(st.sets(st.integers(0, size["step"]), min_size=1))))
    scale = 1 / np.sqrt(rank * size["batch"])
    rate = draw(st.sampled_from([None, 0.25]))
    runs, intervals = size["run"], len(steps) - 1
    pushes = {0: None, 1: (1, intervals, test), 2: (runs, intervals, test)}[draw(st.integers(0, 2))]
    return {
        "train": torch.from_numpy(random.normal(size=(size["order"] + 1, pool, rank)) * scale),
        "test": torch.from_numpy(random.normal(size=(size["order"] + 1, test, rank))),
        "batches": random.integers(-1, pool, size=(size["run"], size["step"], size["batch"])),
        "steps": steps,
        "first": random.normal(size=(size["run"], test)),
        "law": UpdateRule(draw(st.integers(1, 6)), draw(st.booleans()), rate),
        "rates": None if rate is None else random.random((runs, size["step"])),
        "push": None if pushes is None else torch.from_numpy(random.normal(size=pushes)),
    }


@settings(deadline=None, max_examples=150)
@given(problem=problems(), max_bytes=st.sampled_from([1, 1000, 2**26]))
def test_the_rollout_is_the_plain_loop(problem, max_bytes: int) -> None:
    rolled = rollout(**problem, max_bytes=max_bytes)
    np.testing.assert_allclose(rolled, plain_rollout(**problem), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("pool", [3, 50])
def test_gradients_of_factors_are_those_of_the_plain_sum(pool: int) -> None:
    random = np.random.default_rng(0)
    counts = interval_counts(random.integers(0, pool, size=(2, 5, 3)), np.arange(6), pool)
    sides = [torch.from_numpy(random.normal(size=(2, n, 4))).requires_grad_() for n in (pool, 6)]
    weight = torch.from_numpy(random.normal(size=(2, 10, 6)))
    mine = torch.autograd.grad((torch.stack(factors(*sides, counts, counts.turned(pool))) * weight).sum(), sides)
    dense = counts.dense(pool).double() @ sides[0] @ sides[1].transpose(1, 2)
    for got, expected in zip(mine, torch.autograd.grad((dense * weight).sum(), sides), strict=True):
        torch.testing.assert_close(got, expected)


def explosive(first: float) -> np.ndarray:
    train, test = torch.full((2, 1, 1), 1e5), torch.full((2, 1, 1), 1e5)
    return rollout(train, test, np.zeros((2, 8, 1), dtype=int), np.arange(9), np.full((2, 1), first), UpdateRule(1))


def test_a_rollout_that_explodes_is_refused_with_its_place() -> None:
    with pytest.raises(DataError, match=r"curriculum 0 leaves the range of numbers at step 4"):
        explosive(1.0)


def test_an_unknown_first_score_gives_unknown_trajectories() -> None:
    assert np.isnan(explosive(np.nan)).all()


def test_first_scores_of_another_shape_are_refused() -> None:
    side = torch.zeros(2, 3, 1)
    with pytest.raises(DataError, match="expected runs x test = 2 x 3"):
        rollout(side, side, np.zeros((2, 1, 1), dtype=int), np.arange(2), np.zeros((2, 4)), UpdateRule(1))
