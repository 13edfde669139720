"""Says where a simulation goes beyond what was recorded, since the numbers alone do not show it."""

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from gptfl.core import Class, Classes, Dynamics, MetricInfo, Query, class_numbers, classes_of, in_order
from gptfl.estimators.average import resample
from gptfl.simulation.schedule import ROUNDING, RunSchedule

NOVEL = 0.8
"""Above this novelty hardly anything is known of what the examples trained on do: the prior is almost all there is."""


def novelty_note(novelty: Float[np.ndarray, " run"] | None) -> tuple[str, ...]:
    """A line if a curriculum lies far from those recorded, as the estimator itself tells; nothing if it doesn't."""
    if novelty is None or not (novelty > NOVEL).any():
        return ()
    far = int((novelty > NOVEL).sum())
    what = "this lies" if far == len(novelty) else f"{far} of {len(novelty)} curricula lie"
    return (
        f"{what} far from what was recorded: {float(novelty.max()):.0%} of what these examples may do is left open by the "
        "recorded runs, and the prediction rests on the average run and, with gradient features, on what they foretell",
    )


def range_note(final: Float[np.ndarray, " test"], metric: MetricInfo) -> tuple[str, ...]:
    """A line if final predictions lie outside the metric's range, where no model can be.

    That alone doesn't tell a far-off question: nothing keeps a roll-out within the range.
    """
    outside = int(((final < metric.low) | (final > metric.high)).sum())
    if not outside:
        return ()
    return (f"final predictions outside the range of {metric.name}: {outside} of {len(final)}",)


def beyond_note(
    final: Float[np.ndarray, " test"],
    dynamics: Dynamics,
    metric: MetricInfo,
    step: int,
    tests: Int[np.ndarray, " chosen"] | slice = slice(None),
) -> tuple[str, ...]:
    """A line if the mean of final predictions lies beyond what every recorded run came to at that step.

    Runs that lack one of the test examples there don't count, and fewer than two say nothing.

    Args:
        final: predicted for each test example.
        dynamics: the recording.
        metric: that ``final`` is of.
        step: of the prediction.
        tests: the recording's test examples that ``final`` is of.
    """
    ends = [
        resample(run.steps, run.metrics[metric.name].astype(np.float64), np.array([step]))[0, tests].mean()
        for run in dynamics.runs
        if run.metrics[metric.name].size
    ]
    known = [float(end) for end in ends if np.isfinite(end)]
    mean = float(final.mean())
    if len(known) < 2 or not np.isfinite(mean) or min(known) <= mean <= max(known):
        return ()
    where = "below" if mean < min(known) else "above"
    return (
        f"the predicted mean {metric.name} of {mean:.4g} is {where} that of every recorded run ({min(known):.4g} to "
        f"{max(known):.4g} at step {step}): this extrapolates, and the further out, the less is known of it",
    )


def binary_note(dynamics: Dynamics, metric: MetricInfo) -> tuple[str, ...]:
    """A line if a metric is 0 or 1 wherever it was recorded; nothing if it isn't."""
    if not dynamics.is_binary(metric):
        return ()
    return (f"{metric.name} is 0 or 1: predictions are probabilities of 1, and MSE is their Brier score",)


def share_note(dynamics: Dynamics, batches: Int[np.ndarray, "run step batch"]) -> tuple[str, ...]:
    """A line if a class takes a share of the batches that no recorded run comes near."""
    own = classes_of(dynamics.pool)
    if not own or not dynamics.runs:
        return ()
    classes, places = in_order(own), class_numbers(dynamics.pool)
    assert places is not None
    recorded = np.stack([_shares(places, run.curriculum.batches) for run in dynamics.runs])
    shares = np.stack([_shares(places, one) for one in batches]).mean(axis=0)
    low, high = recorded.min(axis=0), recorded.max(axis=0)
    beyond = np.maximum(low - shares, shares - high)
    worst = max(range(len(beyond)), key=lambda place: (round(float(beyond[place]), 9), shares[place]))
    if beyond[worst] <= 0:
        return ()
    return (
        f"{shares[worst]:.0%} of what is trained on {_class_name(dynamics, classes[worst])}, in the recorded "
        f"runs {low[worst]:.0%} to {high[worst]:.0%}: this extrapolates",
    )


def _class_name(dynamics: Dynamics, one: Class) -> str:
    """A class by its choice, else by its number where no choices are kept."""
    task, number = one
    if number is None:
        return f"is of the task {task}"
    text = Classes(dynamics.pool).text(one)
    name = repr(text) if text else f"number {number}"
    return f"has the class {name} of {task}" if task else f"has the class {name}"


def _shares(places: Int[np.ndarray, " pool"], batches: Int[np.ndarray, "step batch"]) -> Float[np.ndarray, " class"]:
    seen = batches[batches >= 0]
    return np.bincount(places[seen], minlength=int(places.max()) + 1) / max(len(seen), 1)


def caveats(dynamics: Dynamics, recorded: RunSchedule, query: Query, subset: int, is_rest: bool) -> tuple[str, ...]:
    """What to know of a question that reaches beyond what the recorded runs show.

    Args:
        dynamics: the recording.
        recorded: how its runs were laid out.
        query: the curricula that the question is about.
        subset: how many examples they draw from.
        is_rest: whether these are what a drop leaves.
    """
    notes = []
    if is_rest:
        notes.append(
            "the rest of the pool fills the steps of what was dropped; the recorded runs, all of one length, show "
            "only what replacing examples by others does: a drop without replacement is an extrapolation"
        )
    sizes = (query.drawn >= 0).sum(axis=2)
    if recorded.subset is not None and subset != recorded.subset:
        was = recorded.seen / recorded.subset
        now = sizes.sum(axis=1).mean() / subset
        notes.append(
            f"recorded runs saw {recorded.subset} examples about {was:.3g} times each, this one sees "
            f"{subset} about {now:.3g} times: an extrapolation"
        )
    runs = [run.curriculum for run in dynamics.runs]
    known = [(run.batches >= 0).sum(axis=1) for run in runs]
    rates = np.where(sizes > 0, query.learning_rates, 0.0)
    taken = [np.where(size > 0, run.learning_rates, 0.0) for size, run in zip(known, runs, strict=True)]
    scopes: list[tuple[str, str, str, ArrayLike, ArrayLike]] = [
        ("have", "has", "steps", [run.steps for run in runs], np.array([sizes.shape[1]])),
        ("take", "takes", "examples a step", np.concatenate(known), sizes),
    ]
    if not dynamics.settings.lacks_rates:
        scopes += [
            ("have", "has", "as the largest step size", [one.max() for one in taken], rates.max(axis=1)),
            ("come to", "comes to", "in the sum of step sizes", [one.sum() for one in taken], rates.sum(axis=1)),
        ]
    for verb, does, what, before, now in scopes:
        low, high = np.min(before), np.max(before)
        if np.min(now) < low * (1 - ROUNDING) or np.max(now) > high * (1 + ROUNDING):
            notes.append(
                f"recorded runs {verb} {_span(low, high)} {what}, this one {does} {_span(np.min(now), np.max(now))}: "
                "an extrapolation"
            )
    return tuple(notes)


def _span(low: float, high: float) -> str:
    return f"{low:.5g}" if np.isclose(low, high, rtol=ROUNDING) else f"{low:.5g} to {high:.5g}"
