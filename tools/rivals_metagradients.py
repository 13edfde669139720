"""Exact metagradients (MAGIC, Ilyas and Engstrom, 2025), by gptfl's own sweep back through trainings on the whole pool."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from rivals_recorded import Matrix, Recorded

from gptfl.core.curriculum import presentation_weights
from gptfl.core.examples import relative_weights
from gptfl.plugins.interfaces import Plan
from gptfl.training.metagradients import metagradients

TRAININGS = 3
"""How many trainings are averaged over, as by TRAK."""
WHAT = "minus the metagradient of the final loss, for each unit of step size on the example"


def along_one(recorded: Recorded) -> dict[str, Matrix]:
    """Exact metagradients of one training on the whole pool, in an order that no recorded run has."""
    return {"metagradients": Matrix(_scores(recorded, recorded.plan()), f"{WHAT}, in one training on the pool")}


def along_several(recorded: Recorded) -> dict[str, Matrix]:
    """The same in the mean over several such trainings."""
    found = np.mean([_scores(recorded, recorded.plan(number)) for number in range(TRAININGS)], axis=0)
    return {"metagradients-mean": Matrix(found, f"{WHAT}, in the mean over {TRAININGS} trainings on the pool")}


def along_recorded(recorded: Recorded) -> dict[str, Matrix]:
    """The same in the mean over the orders in which leave-small has the whole pool, those of the runs that are asked about."""
    plans = recorded.whole_runs()
    if not plans:
        print("metagradients-orders: left out, for it needs a recording of the design leave-small")
        return {}
    found = np.mean([_scores(recorded, plan) for plan in plans], axis=0)
    meaning = f"{WHAT}, in the mean over the {len(plans)} orders in which the recording has the whole pool"
    return {"metagradients-orders": Matrix(found, meaning)}


def _scores(recorded: Recorded, plan: Plan) -> Float[np.ndarray, "pool test"]:
    """What an example adds to the fall of each test loss, shared out over the step sizes at which it was seen."""
    targets: Sequence[Sequence[int]] = [[place] for place in range(len(recorded.test))]
    found = metagradients(recorded.trainer, plan, recorded.sides[1], targets)
    seen = exposures(recorded, plan)[:, None]
    return np.divide(-found.values, seen, out=np.zeros_like(found.values), where=seen > 0)


def exposures(recorded: Recorded, plan: Plan) -> Float[np.ndarray, " pool"]:
    """The step sizes at which a training sees each example, each times its share of the batch."""
    relative = relative_weights(recorded.pool)
    rates = recorded.trainer.recipe.rates(len(plan.batches))
    shares = presentation_weights(plan.batches, rates, relative)
    there = plan.batches >= 0
    members = plan.batches[there]
    weights = np.broadcast_to(shares[:, None], plan.batches.shape)[there]
    if relative is not None:
        weights = weights * relative[members]
    return np.bincount(members, weights, minlength=len(recorded.pool))
