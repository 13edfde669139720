"""The picture of a simulation: what is drawn of the mean and of single test examples."""

from typing import Any

import numpy as np

from gptfl.core import MetricInfo
from gptfl.report.simulation_plot import simulation_figure

VALUES = np.random.default_rng(0).normal(size=(3, 4, 2))
REFERENCE = np.arange(8.0).reshape(4, 2)


def drawn(**changed: Any) -> Any:
    given: dict[str, Any] = {
        "steps": np.array([0, 2, 4, 6]),
        "values": VALUES,
        "intervals": {},
        "reference": REFERENCE,
        "recorded": None,
        "shown": [("größe $x$", 1, "helped")],
        "title": "a $b$",
        "against": "the average",
        "metric": MetricInfo("loss", False),
    }
    return simulation_figure(**{**given, **changed})


def line(axes: Any, label: str) -> Any:
    return next(one for one in axes.lines if one.get_label() == label)


def test_the_mean_and_each_shown_example_have_a_panel() -> None:
    mean, one = drawn().axes
    np.testing.assert_allclose(line(mean, "simulated").get_ydata(), VALUES.mean(axis=(0, 2)))
    np.testing.assert_allclose(line(one, "simulated").get_ydata(), VALUES[:, :, 1].mean(axis=0))
    np.testing.assert_allclose(line(mean, "the average").get_ydata(), REFERENCE.mean(axis=1))
    assert one.get_title() == r"größe \$x\$ (helped)"
    assert mean.get_ylabel() == "loss (lower is better)"
    assert len(drawn(shown=[(str(i), i % 2, "hurt") for i in range(4)]).axes) == 5
    assert len(drawn(shown=[]).axes) == 1
    assert drawn(shown=[("x" * 40, 0, "hurt")]).axes[1].get_title() == "x" * 23 + "… (hurt)"


def test_bands_are_the_interval_of_a_run_or_the_spread_over_curricula() -> None:
    def band(axes: Any) -> tuple[str, np.ndarray]:
        (found,) = axes.collections
        return found.get_label(), found.get_paths()[0].vertices[:, 1]

    mean, one = drawn(intervals={0.5: (VALUES - 1, VALUES + 1), 0.95: (VALUES - 3, VALUES + 3)}).axes
    label, heights = band(one)
    assert label == "95% interval of a run"
    assert heights.max() == (VALUES[:, :, 1].mean(axis=0) + 3).max()
    label, heights = band(mean)
    assert label == "spread over 3 curricula (1 s.d.)"
    curves = VALUES.mean(axis=2)
    np.testing.assert_allclose(heights.max(), (curves.mean(axis=0) + curves.std(axis=0, ddof=1)).max())
    assert not drawn(values=VALUES[:1]).axes[0].collections


def test_what_was_recorded_and_observed_is_drawn_and_told_once() -> None:
    observed = np.where(np.arange(4)[:, None] < 2, VALUES, np.nan)
    figure = drawn(recorded=VALUES + 1, observed=observed)
    mean, one = figure.axes
    np.testing.assert_allclose(line(mean, "recorded, mean").get_ydata(), (VALUES + 1).mean(axis=(0, 2)))
    np.testing.assert_allclose(line(one, "observed").get_ydata(), observed[0, :, 1])
    told = [text.get_text() for text in mean.get_legend().get_texts()]
    assert len(told) == len(set(told)) == 5
    assert one.get_legend() is None
