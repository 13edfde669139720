"""Says where a simulation goes beyond what was recorded, since the numbers alone don't show it."""

import numpy as np
from jaxtyping import Float, Int

from gptfl.records import Dynamics, MetricInfo


def range_note(final: Float[np.ndarray, " test"], metric: MetricInfo) -> tuple[str, ...]:
    """A line if final predictions lie outside the metric's range, where no model can be."""
    outside = int(((final < metric.low) | (final > metric.high)).sum())
    if not outside:
        return ()
    return (
        f"final predictions outside the range of {metric.name}: {outside} of {len(final)}; "
        "the question lies far from what was recorded",
    )


def share_note(dynamics: Dynamics, batches: Int[np.ndarray, "run step batch"]) -> tuple[str, ...]:
    """A line if a class takes a share of the batches that no recorded run comes near."""
    labels = np.array([-1 if example.label is None else example.label for example in dynamics.pool])
    if (labels < 0).any():
        return ()
    recorded = np.stack([_shares(labels, run.curriculum.batches) for run in dynamics.runs])
    asked = np.stack([_shares(labels, one) for one in batches]).mean(axis=0)
    low, high = recorded.min(axis=0), recorded.max(axis=0)
    beyond = np.maximum(low - asked, asked - high)
    worst = max(range(len(beyond)), key=lambda label: (round(float(beyond[label]), 9), asked[label]))
    if beyond[worst] <= 0:
        return ()
    # Choices are answers to put behind a prompt; without texts there are none to name the class by.
    names = next((example.choices for example in dynamics.pool if example.choices), ())
    name = repr(names[worst].strip()) if worst < len(names) else f"number {worst}"
    return (
        f"{asked[worst]:.0%} of what is trained on has the class {name}, in the recorded runs "
        f"{low[worst]:.0%} to {high[worst]:.0%}: this extrapolates",
    )


def _shares(labels: Int[np.ndarray, " pool"], batches: Int[np.ndarray, "step batch"]) -> Float[np.ndarray, " class"]:
    seen = batches[batches >= 0]
    return np.bincount(labels[seen], minlength=int(labels.max()) + 1) / max(len(seen), 1)
