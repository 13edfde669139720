"""What a simulation comes to: who is helped, who is hurt, and by how much."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import Example, MetricInfo, Prediction
from gptfl.core.display import Displayed
from gptfl.simulation.counterfactual import SimulationRequest

SHOWN = 5
"""How many of the test examples that are helped and hurt most a result lists."""


@dataclass(frozen=True, slots=True)
class Change:
    """One test example's final metric, as predicted and as in what it is compared with.

    ``change`` is their difference, ``gain`` the same with a sign that is positive for the better.
    ``recorded`` is what did happen, for held-out runs.
    """

    id: str
    predicted: float
    reference: float
    change: float
    gain: float
    recorded: float | None = None


@dataclass(frozen=True, slots=True)
class Reference:
    """What effects are against: the average recorded run, or another subset.

    ``values`` are its trajectories at the steps asked, NaN where not known; ``final`` is what predictions
    are compared with: its values at ``step``, the last step asked or, where it isn't known there, the
    nearest at which it is. ``ends`` are the means over test examples at the last step of another subset's curricula, one
    each; None of the average run.
    """

    what: str
    step: int
    values: Float[np.ndarray, "recorded test"]
    final: Float[np.ndarray, " test"]
    notes: tuple[str, ...] = ()
    ends: Float[np.ndarray, " run"] | None = None


@dataclass(frozen=True, slots=True)
class ExampleGroup:
    """Scores of some of the test examples over the held-out runs: all-steps MSE and the final step's rho."""

    name: str
    count: int
    mse: float
    rho: float


@dataclass(frozen=True, slots=True)
class Simulation(Displayed):
    """Trajectories ``values`` of every curriculum in ``labels``, and what they come to.

    Per test example, in the order of ``tests``: ``final``, the mean over curricula of the last predicted
    metric; ``change``, that less ``reference.final``; ``spread``, its standard deviation over curricula
    (NaN where there is one). ``mean_final``, ``mean_reference``, ``mean_change`` and ``mean_spread`` are of
    the mean over test examples. ``helped`` and ``hurt`` list those that changed most for the better and
    for the worse. For held-out runs, ``recorded`` and ``mean_recorded`` are what ``final`` and ``mean_final``
    were in truth, NaN where that wasn't recorded. ``skill`` is the simulator's on the held-out runs of its
    recording, None where it can't be told; ``trust`` says it in words.

    Where the simulator was fitted without some of the examples asked about, ``marks`` says of each test example
    whether it is ``unseen`` (set aside from the fit) or ``new`` (not in the recording), and is empty for the
    others; for held-out runs, ``groups`` has the scores of those seen and those unseen.

    A ``binary`` metric is 0 or 1 wherever it was recorded: what is predicted of each test example is the probability of 1.
    Where the estimator says how sure it is, ``intervals`` has by level the lower and upper bounds of what a single
    run would end at (the mean of each bound over curricula), and ``novelty`` how far each curriculum lies from what
    was recorded (see ``core.Prediction``).

    ``change_intervals`` has by level the bounds of ``mean_change`` in the mean over every order, where the estimator
    tells how sure it is of the difference between two subsets; the chance of the orders that were drawn is in them.

    ``request`` are the curricula, and ``prediction`` is all that the estimator answered. ``predictions`` and ``figure``
    are the files that it was written to, None where it wasn't; ``unkept`` says why.
    """

    estimator: str
    metric: MetricInfo
    what: str
    reference: Reference
    labels: tuple[str, ...]
    tests: tuple[str, ...]
    steps: Int[np.ndarray, " recorded"]
    values: Float[np.ndarray, "run recorded test"]
    final: Float[np.ndarray, " test"]
    change: Float[np.ndarray, " test"]
    spread: Float[np.ndarray, " test"]
    mean_final: float
    mean_reference: float
    mean_change: float
    mean_spread: float
    helped: tuple[Change, ...]
    hurt: tuple[Change, ...]
    recorded: Float[np.ndarray, " test"] | None
    mean_recorded: float | None
    skill: float | None
    trust: str
    simulator: Path
    dynamics: Path
    request: SimulationRequest
    prediction: Prediction
    predictions: Path | None = None
    figure: Path | None = None
    notes: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    groups: tuple[ExampleGroup, ...] = ()
    intervals: Mapping[float, tuple[Float[np.ndarray, " test"], Float[np.ndarray, " test"]]] = field(
        default_factory=dict
    )
    novelty: Float[np.ndarray, " run"] | None = None
    change_intervals: Mapping[float, tuple[float, float]] = field(default_factory=dict)
    binary: bool = False
    imported: bool = False
    """Whether the recording was imported, and nothing can be trained by its recipe."""
    unkept: tuple[str, ...] = ()
    """What couldn't be written beside the result, and why."""
    examples: tuple[Example, ...] = ()
    """The test examples, in the order of ``tests``."""


def mean_over(values: Float[np.ndarray, "run ..."]) -> Float[np.ndarray, "..."]:
    """Mean over curricula, in double precision; of curricula that are all the same, exactly what each of them is."""
    values = values.astype(np.float64)
    return np.asarray(values[0] + (values - values[0]).mean(axis=0))


def finite_mean(values: Float[np.ndarray, " test"]) -> float:
    """Mean of what is known; NaN where nothing is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def spread_of(values: Float[np.ndarray, "run ..."]) -> Float[np.ndarray, "..."]:
    """Standard deviation over curricula, as estimated from a sample; NaN where there is but one."""
    if len(values) < 2:
        return np.full(values.shape[1:], np.nan)
    return np.asarray(values.std(axis=0, ddof=1))


def most_changed(
    tests: tuple[str, ...],
    predicted: Float[np.ndarray, " test"],
    reference: Float[np.ndarray, " test"],
    metric: MetricInfo,
    recorded: Float[np.ndarray, " test"] | None = None,
    count: int = SHOWN,
) -> tuple[tuple[Change, ...], tuple[Change, ...]]:
    """Those that are helped most, best first, and those that are hurt most, worst first.

    Args:
        tests: ids of the test examples.
        predicted: the metric at the end, of each.
        reference: the same of what the prediction is held against; where it isn't finite, the example is left out.
        metric: says which way is better.
        recorded: what a recorded run came to, None where there is none.
        count: at most so many of either.
    """
    sign = 1.0 if metric.higher_is_better else -1.0
    gains = sign * (predicted - reference)
    order = [int(place) for place in np.argsort(-gains, kind="stable") if np.isfinite(gains[place])]

    def change(place: int) -> Change:
        was, now = float(reference[place]), float(predicted[place])
        truth = None if recorded is None else float(recorded[place])
        return Change(tests[place], now, was, now - was, float(gains[place]), truth)

    helped = tuple(change(place) for place in order[:count] if gains[place] > 0)
    return helped, tuple(change(place) for place in order[::-1][:count] if gains[place] < 0)
