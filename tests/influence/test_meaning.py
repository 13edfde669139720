"""What a positive influence is, in a sentence."""

import numpy as np
import pytest

from gptfl.core import MetricInfo
from gptfl.influence.meaning import HALF, meaning
from gptfl.influence.targets import CLOSED_FORM, DERIVATIVE, DROP, HOWS, MEAN, REMOVE, REPLACE, SELF, InfluenceTarget

LOSS, ACCURACY = MetricInfo("loss", higher_is_better=False), MetricInfo("accuracy", higher_is_better=True)
ALL, ITSELF = InfluenceTarget(MEAN, np.arange(5)), InfluenceTarget(SELF, None)


@pytest.mark.parametrize("how", [how for how in HOWS if how != DERIVATIVE])
def test_the_step_and_the_direction_of_the_metric_are_said(how: str) -> None:
    text = meaning(how, ALL, LOSS, 8)
    assert text.startswith("Positive, for the mean of all 5 test examples: ")
    assert text.endswith(".")
    assert "loss at step 8 is so much lower" in text
    assert "accuracy at step 8 is so much higher" in meaning(how, ALL, ACCURACY, 8)


def test_what_the_zero_is_differs() -> None:
    against_average = {how for how in HOWS if HALF in meaning(how, ALL, LOSS, 8)}
    assert against_average == {CLOSED_FORM, REPLACE, DROP}
    assert "than as if it were not there" in meaning(REMOVE, ALL, LOSS, 8)
    assert len({meaning(how, ALL, LOSS, 8) for how in HOWS}) == len(HOWS)


def test_to_first_order_there_is_no_step_and_no_unit() -> None:
    text = meaning(DERIVATIVE, ALL, ACCURACY, None)
    assert "step" not in text
    assert "seeing a row makes accuracy higher than not seeing it, to first order; values have no unit" in text


def test_of_rows_on_themselves_it_is_their_own() -> None:
    assert meaning(DROP, ITSELF, LOSS, 8).startswith("Positive, for a row's own loss at step 8 is so much lower")
