"""Sketches: what they estimate and how well, that blocks don't matter, that seeds do, and part of the weights."""

import itertools

import pytest
import torch

from gptfl.errors import UsageError
from gptfl.training.gradients import projection as module
from gptfl.training.gradients.projection import Projection, ProjectionRequest, project, sketch, sketch_each, sketches
from tests.training.gradients.conftest import Case

SEEDS = 60


@pytest.fixture
def few_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    """So few that many blocks read the same ones."""
    monkeypatch.setattr(module, "SIGNS", 2**12)


@pytest.mark.parametrize(("divided", "dimensions"), [(False, 64), (True, 64), (False, 20)])
def test_products_of_sketches_are_right_on_average(case: Case, few_signs: None, divided: bool, dimensions: int) -> None:
    pool, test = case.gradients(case.pool), case.gradients(case.test)
    if divided:
        pool = pool / torch.cat([one.flatten() for one in case.divisors])
    here, there = case.tape.record(case.pool), case.tape.record(case.test)
    estimates = []
    for seed in range(SEEDS):
        projection = Projection(dimensions, seed, case.network.trainable[0])
        requests = [ProjectionRequest(projection)]
        one = project(here, requests, case.denominator if divided else None)[0][-1]
        estimates.append(one @ project(there, requests, None)[0][0].T)
    values, exact = torch.stack(estimates), pool @ test.T
    error = (values.mean(dim=0) - exact).abs() / (values.std(dim=0) / SEEDS**0.5)
    assert float(error.max()) < 4.5
    assert float(error.square().mean()) < 1.6
    bound = (pool.square().sum(dim=1)[:, None] * test.square().sum(dim=1) + exact.square()) / dimensions
    ratio = values.var(dim=0) / bound
    assert float(ratio.mean()) < 1.2
    assert float(ratio.max()) < 3


def test_many_dimensions_give_the_products_themselves(case: Case) -> None:
    pool, test = case.gradients(case.pool), case.gradients(case.test)
    one, other = sketch(case.tape, case.pool, 60_000, 1), sketch(case.tape, case.test, 60_000, 1)
    lengths = pool.norm(dim=1)
    torch.testing.assert_close(one.norm(dim=1), lengths, rtol=0.03, atol=0.0)
    error = (one @ other.T - pool @ test.T) / (lengths[:, None] * test.norm(dim=1))
    assert float(error.abs().max()) < 0.1


def test_a_division_can_be_split_between_the_sides(case: Case) -> None:
    divisors = torch.cat([one.flatten() for one in case.divisors]).sqrt()
    pool, test = case.gradients(case.pool) / divisors, case.gradients(case.test) / divisors
    one, other = (
        sketches(case.tape, side, 60_000, 1, case.denominator, powers=(0.5,))[1] for side in (case.pool, case.test)
    )
    error = (one @ other.T - pool @ test.T) / (pool.norm(dim=1)[:, None] * test.norm(dim=1))
    assert float(error.abs().max()) < 0.1


def test_the_size_of_blocks_changes_nothing(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []
    whole = sketches(case.tape, case.pool, 36, 5, case.denominator, on_examples=counted.append, powers=(1.0, 0.5))
    assert len(whole) == 3
    assert whole[0].shape == (len(case.pool), 36)
    assert sum(counted) == len(case.pool)
    torch.testing.assert_close(sketch(case.tape, case.pool, 36, 5), whole[0])
    monkeypatch.setattr(module, "WRITTEN", 4096)
    again = sketches(case.tape, case.pool, 36, 5, case.denominator, memory=2**16, powers=(1.0, 0.5))
    for one, other in zip(whole, again, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("dimensions", [5, 36, 200])
def test_blocks_that_are_added_at_once_are_those_added_one_by_one(
    case: Case, monkeypatch: pytest.MonkeyPatch, dimensions: int
) -> None:
    requests = [ProjectionRequest(Projection(n, 5, case.network.trainable[0]), (1.0, 0.5)) for n in (dimensions, 3000)]
    at_once = project(case.tape.record(case.pool), requests, case.denominator)
    monkeypatch.setattr(module, "NARROW", 0)
    one_by_one = project(case.tape.record(case.pool), requests, case.denominator)
    for found, expected in zip(itertools.chain(*at_once), itertools.chain(*one_by_one), strict=True):
        # The one rounds what it adds, the other only the sum.
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    assert torch.equal(at_once[0][0], one_by_one[0][0])


def test_several_projections_in_one_pass_do_not_change_each_other(case: Case) -> None:
    like = case.network.trainable[0]
    narrow, wide = (
        ProjectionRequest(Projection(36, 5, like), (1.0, 0.5)),
        ProjectionRequest(Projection(60_000, 6, like), (0.5,)),
    )
    both = sketch_each(case.tape, case.pool, [wide, narrow], case.denominator)
    alone = sketch_each(case.tape, case.pool, [narrow], case.denominator)[0]
    assert [len(one) for one in both] == [2, 3]
    for one, other in zip(both[1], alone, strict=True):
        assert torch.equal(one, other)
    (theirs,) = sketch_each(case.tape, case.test, [ProjectionRequest(wide.projection, (0.5,))], case.denominator)
    roots = torch.cat([one.flatten() for one in case.divisors]).sqrt()
    pool, test = case.gradients(case.pool), case.gradients(case.test)
    # The wide one is cut into the narrow one's blocks, and the test side's into its own: products need the same cuts.
    (again,) = sketch_each(case.tape, case.pool, [wide], case.denominator)
    for found, exact, other in zip(again, (pool, pool / roots), (test, test / roots), strict=True):
        place = 0 if exact is pool else 1
        error = (found @ theirs[place].T - exact @ other.T) / (exact.norm(dim=1)[:, None] * other.norm(dim=1))
        assert float(error.abs().max()) < 0.1


def test_a_seed_gives_one_sketch(case: Case) -> None:
    assert torch.equal(sketch(case.tape, case.test, 12, 5), sketch(case.tape, case.test, 12, 5))
    assert not torch.equal(sketch(case.tape, case.test, 12, 5), sketch(case.tape, case.test, 12, 6))


def test_no_dimension_is_refused(case: Case) -> None:
    with pytest.raises(UsageError, match="a sketch of 0 dimensions"):
        sketch(case.tape, case.test, 0, 5)
