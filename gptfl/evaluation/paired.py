"""Two training sets held against each other in pairs of trainings: the same orders, and as little else as may be."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import MetricInfo, Run
from gptfl.core.curriculum import run_seed
from gptfl.core.packing import stacked_batches
from gptfl.core.texts import counted
from gptfl.designs.draws import refill
from gptfl.evaluation.verification import LEVEL, PairedDifference, named_batches, values_at
from gptfl.simulation.counterfactual import Counterfactual, SimulationRequest, members_of
from gptfl.simulation.forms import difference_intervals
from gptfl.simulation.reference import OtherSubset
from gptfl.simulation.simulator import FittedSimulator

PAIRS = 4
"""In so many orders both are trained where nothing else is said: the fewest whose standard error is worth something."""
Fill = Callable[[Int[np.ndarray, " subset"], int], Int[np.ndarray, "step batch"]]
"""The batches of a run on these rows, from its seed."""


@dataclass(frozen=True, slots=True)
class Pairing:
    """The question, what it is held against, and how sure the simulator is of their difference.

    ``members`` is None where the question is batches as they are given.
    """

    ours: SimulationRequest
    theirs: SimulationRequest
    members: Int[np.ndarray, " subset"] | None
    others: Int[np.ndarray, " other"]


def pairing_of(
    source: FittedSimulator, choice: Counterfactual, request: SimulationRequest, other: OtherSubset, seed: int
) -> Pairing:
    """The curricula of both sides.

    Each order is drawn for all rows of either side; in the places of those that a side lacks it has others of its own, and
    everything else is where it was. So what an order does falls out of the difference, as far as it may. Batches
    that are given are held against the other subset in the order of the first run.

    Args:
        source: the simulator.
        choice: how the question was put.
        request: the question.
        other: what it is held against.
        seed: draws the orders.
    """
    recipe, first = request.recipe, request.query.first[0]
    what = f"{other.name} ({counted(len(other.members), 'example')})"
    if choice.curriculum is not None:
        query = recipe.query(recipe.orders(other.members, 1, seed), first)
        return Pairing(request, SimulationRequest(query, ("order 1",), what, recipe), None, other.members)
    members = members_of(source.pool, choice.subset, choice.drop)
    union = np.union1d(members, other.members)
    seeds = [run_seed(seed, order) for order in range(request.orders)]
    sides = []
    for side in (members, other.members):
        batches = stacked_batches([laid_out(recipe.fill, union, side, own) for own in seeds])
        sides.append(recipe.query(batches, first))
    ours = replace(request, query=sides[0])
    theirs = SimulationRequest(sides[1], request.labels, what, recipe, orders=request.orders)
    return Pairing(ours, theirs, members, other.members)


def laid_out(
    fill: Fill, union: Int[np.ndarray, " union"], side: Int[np.ndarray, " side"], seed: int
) -> Int[np.ndarray, "step batch"]:
    """One side's batches in an order of all rows of both.

    Args:
        fill: makes the batches of both sides.
        union: the rows of either side, by their places in the pool.
        side: those of this side.
        seed: the run's, which draws the order.
    """
    whole = fill(union, seed)
    lacking = np.setdiff1d(union, side)
    if not np.isin(whole, side).any():  # a run too short to come to any of them
        return fill(side, seed)
    return refill(whole, lacking, seed) if len(lacking) else whole


def paired_difference(
    source: FittedSimulator,
    pairing: Pairing,
    predicted: Float[np.ndarray, "run recorded test"],
    runs: tuple[Sequence[Run], Sequence[Run]],
) -> PairedDifference:
    """What the trainings of both sides come to, pair by pair.

    Args:
        source: the simulator.
        pairing: both sides.
        predicted: what it answered about the question.
        runs: the trainings of the question, and those of the other side.
    """
    steps, metric = pairing.ours.query.steps, source.metric
    ours, theirs = (np.stack([values_at(run, metric.name, steps) for run in side]) for side in runs)
    last = int(np.flatnonzero(np.isfinite(ours).any(axis=(0, 2)))[-1])
    foretold = source.predict(pairing.theirs.query).values.astype(np.float64)
    changes = np.nanmean(ours[:, last] - theirs[:, last], axis=1)
    change = float(predicted[:, last].mean() - foretold[:, last].mean())
    recipe, members = pairing.theirs.recipe, pairing.members
    known = {} if members is None else difference_intervals(source, recipe, members, pairing.others, change)
    ids = [example.id for example in source.scope.pool]
    error, interval, verdict = noise_of(changes, metric)
    return PairedDifference(
        against=pairing.theirs.what,
        labels=pairing.theirs.labels,
        recorded=theirs,
        predicted=foretold,
        batches=named_batches(runs[1], ids),
        mean=float(np.nanmean(theirs[:, last])),
        changes=tuple(float(one) for one in changes),
        change=float(changes.mean()),
        standard_error=error,
        interval=interval,
        verdict=verdict,
        predicted_change=change,
        predicted_intervals=known,
    )


def noise_of(
    changes: Float[np.ndarray, " pair"], metric: MetricInfo
) -> tuple[float | None, tuple[float, float] | None, str]:
    """The standard error of the mean of paired changes, its interval of ``LEVEL`` (Student's t), and what that says.

    Of a single pair the standard error isn't known, and nothing is clear.
    """
    if len(changes) < 2:
        return None, None, "one pair"
    from scipy.special import stdtrit  # takes as long to load as a simulation

    change = float(changes.mean())
    error = float(changes.std(ddof=1) / np.sqrt(len(changes)))
    reach = float(stdtrit(len(changes) - 1, (1 + LEVEL) / 2)) * error
    clear = abs(change) > reach
    better = (change > 0) == metric.higher_is_better
    verdict = ("better" if better else "worse") if clear else "not clear"
    return error, (change - reach, change + reach), verdict
