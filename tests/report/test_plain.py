"""JSON and Python call things by the same names."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gptfl.core import MetricInfo
from gptfl.report.plain import with_plain


@dataclass(frozen=True)
class Result:
    metric: MetricInfo
    seconds: float = 1.5
    labels: tuple[str, ...] = ("a", "b")
    output: Path | None = Path("x.json")
    figure: Path | None = None
    predicted: np.ndarray = field(default_factory=lambda: np.zeros(2))


def test_every_plain_field_is_there_by_its_name_and_what_was_there_stays() -> None:
    document = with_plain(Result(MetricInfo("loss", False)), {"seconds": 2, "mean": 0.5})
    assert document == {
        "seconds": 2, "mean": 0.5, "metric": "loss", "labels": ["a", "b"], "output": "x.json", "figure": None
    }  # fmt: skip
