"""Finds runs that repeat a subset in another order, and from them how much of what was recorded is down to the order."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import MetricInfo, Run
from gptfl.core.queries import same_steps, stacked
from gptfl.estimators.average import resample
from gptfl.scores.ceiling import Ceiling, doubt, lds_ceiling, noise_draws, order_noise, quantiles, skill_ceiling
from gptfl.scores.held_out import HeldOut
from gptfl.scores.pointwise import counted

FEWEST_REPEATS = 3
"""Runs beside the first of each subset: with fewer a variance tells nothing."""


def repeated(runs: Sequence[Run]) -> list[list[Run]]:
    """The runs of each subset that was trained on in several orders, with the same learning rates throughout.

    Of runs with the very same batches the first stands for all: how they differ is not down to the order.
    """
    subsets: dict[tuple[bytes, bytes], dict[bytes, Run]] = {}
    for run in runs:
        batches = run.curriculum.batches.astype(np.int64)
        members = np.unique(batches[batches >= 0])
        key = members.tobytes(), run.curriculum.learning_rates.astype(np.float64).tobytes()
        # The shape belongs to the order: the same stream cut into other batches is another curriculum.
        own = np.array(batches.shape).tobytes() + batches.tobytes()
        subsets.setdefault(key, {}).setdefault(own, run)
    return [list(orders.values()) for orders in subsets.values() if len(orders) > 1]


def ceiling_of(runs: Sequence[Run], metric: MetricInfo, held_out: HeldOut, seed: int = 42) -> Ceiling | None:
    """The order-noise ceiling on these held-out runs, by the repeats among all runs; None where there are too few.

    Args:
        runs: with the test examples of ``held_out``; repeats recorded at other steps than most are left out.
        metric: that is scored.
        held_out: the runs that estimators are scored on.
        seed: of the draws that its intervals come from.
    """
    groups: dict[bytes, list[list[Run]]] = {}
    for orders in repeated(runs):
        for places in same_steps(orders):
            if len(places) > 1:
                kept = [orders[place] for place in places]
                groups.setdefault(kept[0].steps.astype(np.int64).tobytes(), []).append(kept)
    if not groups:
        return None
    chosen = max(groups.values(), key=lambda subsets: sum(map(len, subsets)))
    count = sum(map(len, chosen))
    if count - len(chosen) < FEWEST_REPEATS:
        return None
    values = [np.stack([run.metrics[metric.name].astype(np.float64) for run in orders]) for orders in chosen]
    noise = order_noise(values)
    grid = chosen[0][0].steps
    at = stacked([resample(grid, noise, steps[steps >= 0]) for steps in held_out.steps])
    skill = skill_ceiling(at, held_out.recorded, held_out.mean_run)
    if not np.isfinite(skill):
        return None
    lds = lds_ceiling(at, held_out.recorded, held_out.peers)
    finite_lds = lds if np.isfinite(lds) else None
    logs = noise_draws(values, point_weights(grid, held_out), seed)
    unsure = doubt(at, held_out.recorded, held_out.mean_run, held_out.sampling, seed, logs)
    if unsure is None:
        return Ceiling(skill, finite_lds, count, len(chosen))
    intervals = quantiles(unsure.skill(), skill), None if finite_lds is None else quantiles(unsure.lds(), finite_lds)
    return Ceiling(skill, finite_lds, count, len(chosen), *intervals, unsure)


def point_weights(grid: Int[np.ndarray, " recorded"], held_out: HeldOut) -> Float[np.ndarray, "recorded test"]:
    """How many held-out points each step and test example of the repeats stands for, between two steps for its share."""
    found = np.zeros((len(grid), held_out.recorded.shape[2]))
    for steps, mask in zip(held_out.steps, counted(held_out.recorded), strict=True):
        inside = (steps >= grid[0]) & (steps <= grid[-1])
        left = np.clip(np.searchsorted(grid, steps, side="right") - 1, 0, max(len(grid) - 2, 0))
        right = np.minimum(left + 1, len(grid) - 1)
        part = np.where(inside, (steps - grid[left]) / np.maximum(grid[right] - grid[left], 1), 0.0)[:, None]
        known = mask & inside[:, None]
        np.add.at(found, left, (1 - part) * known)
        np.add.at(found, right, part * known)
    return found


def device_note(runs: Sequence[Run], metric: MetricInfo) -> tuple[str, ...]:
    """How far runs on the very same batches and from the same seed differ; nothing where there are none such."""
    first: dict[tuple[bytes, ...], Run] = {}
    gaps = []
    for run in runs:
        curriculum = run.curriculum
        key = (str(run.seed).encode(), np.array(curriculum.batches.shape).tobytes(), curriculum.batches.tobytes())
        other = first.setdefault((*key, curriculum.learning_rates.tobytes(), run.steps.tobytes()), run)
        if other is not run:
            gap = (run.metrics[metric.name] - other.metrics[metric.name]).astype(np.float64)
            gaps.append(float(np.sqrt(np.nanmean(gap[1:] ** 2))) if np.isfinite(gap[1:]).any() else 0.0)
    if not gaps:
        return ()
    times = "once" if len(gaps) == 1 else f"{len(gaps)} times"
    if not any(gaps):
        return (
            f"device noise: none, a curriculum carried out again ({times}) gave the same {metric.name} to the last bit",
        )
    return (
        f"device noise: a curriculum carried out again ({times}) gave a {metric.name} off by {np.mean(gaps):.2g} (RMS)",
    )
