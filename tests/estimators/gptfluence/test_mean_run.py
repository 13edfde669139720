import numpy as np
import pytest
import torch

from gptfl.errors import DataError
from gptfl.estimators.gptfluence.mean_run import mean_exposure
from gptfl.estimators.gptfluence.recurrence import rollout
from gptfl.estimators.gptfluence.trajectory import Trajectory
from gptfl.estimators.gptfluence.update_rule import UpdateRule

POOL, TEST = 5, 3


def runs() -> list[Trajectory]:
    random = np.random.default_rng(0)
    grids = ([0, 2, 3, 5, 6], [0, 2, 3, 5, 6], [2, 3, 5])
    return [
        Trajectory(
            random.integers(-1, POOL, size=(6, 2)),
            np.array(grid),
            random.normal(size=(len(grid), TEST)),
            random.random(6) + 0.5,
        )
        for grid in grids
    ]


def sides(order: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    return tuple(torch.randn(order + 1, n, 2, generator=random) / 3 for n in (POOL, TEST))  # type: ignore


def plain_push(train, test, law, a, b, past, after):
    """What is left of the average's change once the recurrence has had the average of what the runs saw."""
    order = len(train) - 1
    size, total, factor = 0.0, 0.0, np.zeros((order + 1, TEST))
    for step in range(a, b):
        covering = [run for run in runs() if run.steps[0] <= step < run.steps[-1]]
        for run in covering:
            for i in (i for i in run.batches[step] if i >= 0):
                weight = 1.0 if law.rate is None else run.rates[step] / law.rate
                size += 1 / len(covering)
                total += weight / len(covering)
                factor += weight / len(covering) * (train[:, i, None] * test).sum(-1).numpy()
    scale = 1.0 if law.anchored else law.modal / size
    keep = 1.0 if law.anchored else 0.0 if law.rate is None else 1 - total / size
    return after - keep * past[0] - factor[-1] - sum(scale * factor[j] * past[j] for j in range(order))


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(
    "law",
    [UpdateRule(3), UpdateRule(3, anchored=True), UpdateRule(3, rate=0.7), UpdateRule(3, anchored=True, rate=0.7)],
)
def test_the_push_is_that_of_a_plain_loop_over_runs_and_steps(order: int, law: UpdateRule) -> None:
    train, test = sides(order)
    charted = mean_exposure(runs(), law, POOL)
    grid = np.array([0, 2, 3, 5, 6])
    np.testing.assert_array_equal(charted.course.grid, grid)
    steps = np.array([0, 3, 5, 6])  # another grid than the recorded one, too
    for queried in (grid, steps):
        mean = charted.course.mean[np.searchsorted(grid, queried)]
        found = charted(train, test, [queried])
        for k in range(len(queried) - 1):
            past = [mean[max(k - j, 0)] for j in range(order)]
            expected = plain_push(train, test, law, queried[k], queried[k + 1], past, mean[k + 1])
            np.testing.assert_allclose(found[k], expected, rtol=1e-4, atol=1e-5)
    both = charted(train, test, [grid, steps])
    assert len(both) == len(grid) + len(steps) - 2


@pytest.mark.parametrize(
    "law",
    [UpdateRule(3), UpdateRule(3, anchored=True), UpdateRule(3, rate=0.7), UpdateRule(3, anchored=True, rate=0.7)],
)
def test_between_steps_the_mean_batch_is_that_of_shares_of_steps_and_as_much_as_the_run_saw(law: UpdateRule) -> None:
    train, test = sides(1)
    charted = mean_exposure(runs(), law, POOL)
    course, sums = charted.course, charted.sums(train)
    places = np.array([0.0, 0.5, 2.25, 2.25, 5.0])
    mean = torch.randn(1, 5, TEST, generator=torch.Generator().manual_seed(2))
    sizes, totals = torch.tensor([[2.0, 3.0, 4.0, 0.0], [1.0, 6.0, 2.0, 5.0]]), torch.rand(2, 4) + 0.5
    found = course.push(sums, test, places, mean, law, (sizes, totals))
    assert found.shape == (2, 4, TEST)
    for run in range(2):
        for k in range(4):
            before, after = mean[0, k], mean[0, k + 1]
            if sizes[run, k] == 0:
                np.testing.assert_allclose(found[run, k], after - before, rtol=1e-5)
                continue
            # A run that doesn't get on sees what the others saw there.
            shares = [max(0.0, min(step + 1, places[k + 1]) - max(step, places[k])) for step in range(6)]
            shares = shares if sum(shares) else [float(step == 2) for step in range(6)]
            total = sum(share * float(course.totals[step]) for step, share in enumerate(shares))
            seen = sum(share * sums[:, step] for step, share in enumerate(shares)) * totals[run, k] / total
            alpha, beta = (seen[:, None] * test).sum(-1)
            scale = 1.0 if law.anchored else law.modal / sizes[run, k]
            keep = 1.0 if law.anchored else 0.0 if law.rate is None else 1 - totals[run, k] / sizes[run, k]
            expected = after - keep * before - scale * alpha * before - beta
            np.testing.assert_allclose(found[run, k], expected, rtol=1e-3, atol=1e-4)
    whole, same = (course.push(sums, test, steps, mean, law) for steps in (np.arange(5), np.arange(5.0)))
    np.testing.assert_allclose(whole, same, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("law", [UpdateRule(2), UpdateRule(2, anchored=True, rate=0.7)])
def test_runs_that_all_see_the_same_go_along_their_mean(law: UpdateRule) -> None:
    random = np.random.default_rng(2)
    batches, rates = random.integers(0, POOL, size=(6, 2)), random.random(6) + 0.5
    same = [Trajectory(batches, np.arange(7), random.normal(size=(7, TEST)), rates) for _ in range(3)]
    train, test = sides(1)
    push = mean_exposure(same, law, POOL)(train, test, [np.arange(7)])
    mean = np.mean([run.values for run in same], axis=0)
    rolled = rollout(train, test, batches[None], np.arange(7), mean[None, 0], law, rates=rates[None], push=push[None])
    np.testing.assert_allclose(rolled[0], mean, rtol=1e-4, atol=1e-5)


def test_unseen_tests_get_a_mean_of_their_own_by_their_first_score() -> None:
    course = mean_exposure(runs(), UpdateRule(2), POOL).course
    first = np.array([[0.5, -1.0, 0.1], [0.5, 2.0, 0.1]])
    seen = np.array([0, -1, 2])
    mean = course.at(course.grid, first, seen)
    np.testing.assert_array_equal(mean[:, :, [0, 2]], np.stack([course.mean[:, [0, 2]]] * 2))
    np.testing.assert_array_equal(mean[:, 0, 1], first[:, 1])
    assert course.at(course.grid, first, np.arange(3)).shape == (1, 5, TEST)
    with pytest.raises(DataError, match="step 9 is outside steps 0 to 6"):
        course.at(np.array([0, 9]), first, seen)


def test_runs_without_a_common_step_have_no_course() -> None:
    broken = runs()[:1]
    broken[0].values[:, 1] = np.nan
    with pytest.raises(DataError, match="no step at which every test example"):
        mean_exposure(broken, UpdateRule(2), POOL)


def test_runs_are_cut_to_where_their_mean_is_known() -> None:
    course = mean_exposure([run for run in runs() if run.steps[0] == 2], UpdateRule(2), POOL).course
    first, last = course.within([runs()[0], runs()[2]])
    np.testing.assert_array_equal(first.steps, [2, 3, 5])
    np.testing.assert_array_equal(first.values, runs()[0].values[1:4])
    np.testing.assert_array_equal(last.values, runs()[2].values)
    late = Trajectory(runs()[0].batches, np.array([5, 6]), np.zeros((2, TEST)))
    with pytest.raises(DataError, match="no run is recorded at two of steps 2 to 5"):
        course.within([late])
