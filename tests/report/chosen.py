"""A frontier and a mixture made by hand."""

from pathlib import Path

import numpy as np

from gptfl.core import MetricInfo
from gptfl.influence.frontier import Frontier, FrontierPoint
from gptfl.influence.mixture import MixtureSelection
from gptfl.influence.two_sides import Gain
from tests.synthetic import examples

LOSS = MetricInfo("loss", higher_is_better=False, low=0.0)
POOL = examples("train", 6, 2)


def frontier(sure: bool = True, **changes) -> Frontier:
    """Three points, of which the last is clearly better for the target and clearly worse for the others."""

    def gain(value: float, half: float) -> Gain:
        return Gain(value, value - half, value + half) if sure else Gain(value)

    numbers = ((0.1, 0.3, 0.2, 0.2, 0.6), (0.2, 0.3, 0.1, 0.2, 0.7), (0.4, 0.1, -0.5, 0.2, 0.01))
    points = tuple(
        FrontierPoint(
            place / 2, POOL[place : place + 2], 1 - a, 2 - b, gain(a, c), gain(b, d), e if sure else None, 0.5
        )
        for place, (a, c, b, d, e) in enumerate(numbers)
    )
    made = {
        "recording": "r.dynamics.h5", "estimator": "gp", "metric": LOSS, "subject": "the mean of 2 test examples",
        "kept": "test example b", "on": "group:t.txt", "keep": "test:b", "how": "closed-form", "pool": 6, "size": 2, "step": 8,
        "reference": (1.0, 2.0), "points": points, "chosen": 1, "found": 4, "orders": 4, "simulator": Path("s.h5"),
    }  # fmt: skip
    return Frontier(**{**made, **changes})


def mixture(**changes) -> MixtureSelection:
    """Two groups, of which one gets more than its share."""
    made = {
        "recording": "r.dynamics.h5", "estimator": "gp", "metric": LOSS, "on": "mean", "subject": "the mean", "by": "source",
        "pool": 6, "names": ("a <b>", "c$"), "rows": np.array([4, 2]), "chosen": np.array([1, 2]), "usual": np.array([2, 1]),
        "step": 8, "predicted": 0.5, "predicted_usual": 0.6, "reference": 0.8, "gain": Gain(0.3, 0.1, 0.5),
        "better": Gain(0.1, -0.1, 0.3), "drawn": 0.01, "examples": POOL[:3], "simulator": Path("s.h5"),
    }  # fmt: skip
    return MixtureSelection(**{**made, **changes})
