"""Step sizes, held against transformers' own schedulers."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from transformers import get_scheduler

from gptfl.core.schedules import SCHEDULES, check_schedule, check_warmup, constant, linear_decay, warmup_steps
from gptfl.errors import UsageError


def theirs(name: str, rate: float, steps: int, warm: int) -> list[float]:
    name = "constant_with_warmup" if name == "constant" else name
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)
    scheduler = get_scheduler(name, optimiser, num_warmup_steps=warm, num_training_steps=steps)
    found = []
    for _ in range(steps):
        found.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    return found


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize(
    ("rate", "steps", "warmup", "warm"), [(3e-4, 7, 2, 2), (2.3e-5, 48, 0.1, 5), (1e-3, 13, 0.03, 1)]
)
def test_step_sizes_are_those_of_the_schedulers_to_the_last_bit(
    name: str, rate: float, steps: int, warmup: float, warm: int
) -> None:
    found = SCHEDULES[name](rate, steps, warmup)
    assert found.dtype == np.float64
    assert found.tolist() == theirs(name, rate, steps, warm)


@pytest.mark.parametrize("name", [name for name in SCHEDULES if name != "linear"])
def test_so_are_those_without_warm_up(name: str) -> None:
    assert SCHEDULES[name](2.3e-5, 48).tolist() == theirs(name, 2.3e-5, 48, 0)


def test_linear_decay_without_warm_up_is_as_it_has_always_been() -> None:
    assert linear_decay(0.3, 48).tolist() == (0.3 * (1.0 - np.arange(48) / 48)).tolist()
    np.testing.assert_allclose(linear_decay(0.3, 48), theirs("linear", 0.3, 48, 0), rtol=1e-14)
    assert constant(0.1, 3).tolist() == [0.1, 0.1, 0.1]


def test_a_run_that_ends_in_its_warm_up_goes_up_all_the_way() -> None:
    for name, rates in SCHEDULES.items():
        assert rates(1e-2, 3, 6).tolist() == theirs(name, 1e-2, 3, 6)


def test_a_warm_up_below_one_is_a_share_rounded_up() -> None:
    assert [warmup_steps(warmup, 33) for warmup in (0, 0.03, 0.5, 1, 4)] == [0, 1, 17, 1, 4]


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(
        UsageError, match="'cosin' is unknown: use linear, cosine, constant, polynomial or inverse_sqrt"
    ):
        check_schedule("cosin")
    with pytest.raises(UsageError, match=r"--warmup 8 is 8 steps, and a run has 8: give at most 7"):
        check_warmup(8, 8)
    with pytest.raises(UsageError, match="decays to 1e-07, and --lr is 1e-07"):
        SCHEDULES["polynomial"](1e-7, 4)
    check_warmup(0.99, 200)


def test_step_sizes_need_neither_torch_nor_transformers() -> None:
    code = "import sys; from gptfl.core.schedules import cosine; cosine(1.0, 4, 2); assert not {'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
