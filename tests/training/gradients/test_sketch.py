"""Sketches: what they estimate, that blocks don't matter, and that seeds do."""

import pytest
import torch

from gptfl.errors import UsageError
from gptfl.training.gradients import sketch as module
from gptfl.training.gradients.sketch import project, sketch
from tests.models import save_small
from tests.training.gradients.conftest import Case, make_case

SEEDS = 400


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    return make_case(save_small(tmp_path_factory.mktemp("sketch"), request.param, blocks=1, width=16), None)


@pytest.mark.parametrize("divided", [False, True])
def test_products_of_sketches_are_right_on_average(case: Case, divided: bool) -> None:
    pool, test = case.gradients(case.pool), case.gradients(case.test)
    if divided:
        pool = pool / torch.cat([one.flatten() for one in case.divisors])
    here, there = case.tape.record(case.pool), case.tape.record(case.test)
    estimates = []
    for seed in range(SEEDS):
        signs = module.Signs(64, seed, case.network.trainable[0])
        one = project(here, signs, case.denominator if divided else None)
        estimates.append(one @ project(there, signs, None).T)
    values = torch.stack(estimates)
    error = (values.mean(dim=0) - pool @ test.T).abs() / (values.std(dim=0) / SEEDS**0.5)
    assert float(error.max()) < 4.5
    assert 0.5 < float(error.square().mean()) < 1.6
    bound = pool.norm(dim=1)[:, None] * test.norm(dim=1) / 64**0.5
    assert bool((values.std(dim=0) < 3 * bound).all())


def test_the_size_of_blocks_changes_nothing(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = sketch(case.tape, case.pool, 36, 5)
    assert whole.shape == (len(case.pool), 36)
    torch.testing.assert_close(sketch(case.tape, case.pool, 36, 5, memory=2**16), whole, rtol=1e-5, atol=1e-7)
    divided = sketch(case.tape, case.pool, 36, 5, case.denominator)
    monkeypatch.setattr(module, "CACHE", 4096)
    again = sketch(case.tape, case.pool, 36, 5, case.denominator, memory=2**16)
    torch.testing.assert_close(again, divided, rtol=1e-5, atol=1e-7)


def test_a_seed_gives_one_sketch(case: Case) -> None:
    assert torch.equal(sketch(case.tape, case.test, 12, 5), sketch(case.tape, case.test, 12, 5))
    assert not torch.equal(sketch(case.tape, case.test, 12, 5), sketch(case.tape, case.test, 12, 6))


def test_no_dimension_is_refused(case: Case) -> None:
    with pytest.raises(UsageError, match="a sketch of 0 dimensions"):
        sketch(case.tape, case.test, 0, 5)
