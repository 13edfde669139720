"""What is measured of test examples, and what must be known of it."""

from typing import Any

import numpy as np
import pytest
import torch

from gptfl.core import Example
from gptfl.errors import GptflError
from gptfl.recorder.measures import KNOWN, MARGIN, infos_of, measures_of, numbers_of


def test_a_function_alone_measures_the_loss() -> None:
    def measure() -> list[float]:
        return [1.0]

    assert measures_of(measure, None, None, [], [], 2) == {"loss": measure}
    assert measures_of({"f-1": measure}, None, None, [], [], 2) == {"f-1": measure}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "there is nothing to measure: give model="),
        ({}, "there is nothing to measure"),
        (3, "measure 'loss' is a int: give a function without arguments"),
        ({"a b": print}, "a metric can't be called 'a b'"),
        ({1: print}, "a metric can't be called 1"),
    ],
)
def test_what_can_not_be_measured_is_named(given: Any, message: str) -> None:
    with pytest.raises(GptflError, match=message):
        measures_of(given, None, None, [], [], 2)


class Likely(torch.nn.Module):
    """Always the same logits for the next token: those of a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = torch.nn.Parameter(torch.tensor([0.5, -1.0, 2.0, 0.0]))

    def forward(self, input_ids: torch.Tensor, **given: Any) -> Any:
        return type("Output", (), {"logits": self.logits.expand(*input_ids.shape, 4)})()


def test_preferences_have_the_loss_of_one_answer_and_the_margin_over_the_other() -> None:
    rows = [
        {"prompt_ids": [0], "chosen_ids": [2, 1], "rejected_ids": [3]},
        {"prompt_ids": [0, 1], "chosen_ids": [0], "rejected_ids": [1, 1, 1]},
    ]
    model = Likely()
    test = [Example(str(place), "", "") for place in range(2)]
    found = measures_of(None, model, None, rows, test, 1)
    assert list(found) == ["loss", MARGIN]
    log = model.logits.detach().log_softmax(-1).numpy()
    np.testing.assert_allclose(found["loss"](), [-(log[2] + log[1]) / 2, -log[0]], rtol=1e-5)
    margins = [log[2] + log[1] - log[3], log[0] - 3 * log[1]]
    np.testing.assert_allclose(found[MARGIN](), margins, rtol=1e-5)
    # A second time it is measured anew, not taken from the loss before.
    np.testing.assert_allclose(found[MARGIN](), margins, rtol=1e-5)


def test_directions_of_known_metrics_are_known_and_others_are_said() -> None:
    found = infos_of(["loss", "accuracy", "reward"], "reward")
    assert (found["loss"], found["accuracy"]) == (KNOWN["loss"], KNOWN["accuracy"])
    assert (found["reward"].name, found["reward"].higher_is_better) == ("reward", True)
    assert not infos_of(["other"], [])["other"].higher_is_better
    with pytest.raises(GptflError, match="higher_is_better names 'f1', which isn't measured: measured: loss"):
        infos_of(["loss"], ["f1"])


@pytest.mark.parametrize(
    "given", [[1, 2.5], (1, 2.5), np.array([1, 2.5]), torch.tensor([1, 2.5], dtype=torch.bfloat16, requires_grad=True)]
)
def test_numbers_come_in_any_sequence(given: Any) -> None:
    found = numbers_of(given, "loss", 2)
    assert found.dtype == np.float32
    assert found.tolist() == [1.0, 2.5]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([1.0], r"gave numbers of shape \(1,\): give 2, one for each test example"),
        (3.0, r"gave numbers of shape \(\)"),
        ("ab", "gave a str, no numbers"),
        ([1.0, [2.0]], "gave a list, no numbers"),
        (None, r"gave numbers of shape \(\)"),
    ],
)
def test_what_is_no_number_each_is_one_line(given: Any, message: str) -> None:
    with pytest.raises(GptflError, match=f"the measure 'loss' {message}"):
        numbers_of(given, "loss", 2)
