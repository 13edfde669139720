"""The influence of each training example by a fitted simulator: in closed form, by its derivative, or by simulating."""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from gptfl.core import Features, Progress
from gptfl.errors import DataError, PluginError
from gptfl.influence.closed_form import closed_form
from gptfl.influence.removal import removal
from gptfl.influence.self_influence import InitialMetrics
from gptfl.influence.simulated import simulated
from gptfl.influence.targets import CLOSED_FORM, DERIVATIVE, REMOVE, REPLACE, Influence, InfluenceTarget
from gptfl.options.defaults import FEW_RUNS
from gptfl.plugins.optional import InfluencesItself, InfluencesMean, InfluencesTests, TellsInfluence, has_self_influence
from gptfl.simulation.schedule import recorded_schedule
from gptfl.simulation.simulator import FittedSimulator


def compute_influence(
    source: FittedSimulator,
    subject: InfluenceTarget,
    how: str | None,
    own: InitialMetrics | None,
    features: str | Path | Features | None,
    orders: int,
    seed: int,
    progress: Progress,
) -> Influence:
    """The influence of each pool example, in the way asked for; by default directly where the estimator offers it.

    Args:
        source: the fitted simulator.
        subject: what the influence is on.
        how: remove, closed-form, derivative, replace or drop.
        own: the pool examples' first scores, where known, for influence on themselves.
        features: those that the simulator was fitted on, by default looked for in the workspace.
        orders: in how many random orders each curriculum is simulated.
        seed: of the orders.
        progress: called along the way.

    Raises ``DataError`` where the estimator can't answer.
    """
    if how == REMOVE:
        return removal(source, subject, features, progress)
    estimator = source.named.estimator
    sure = isinstance(estimator, TellsInfluence)
    if subject.tests is None or not sure:
        if how == CLOSED_FORM:
            lacks = "itself is not among the test examples that it is told on" if sure else "it has no influence_of"
            raise DataError(
                f"{source.found.estimator} can't tell --how {how} on {subject.name} ({lacks})",
                "use --on mean or test:ID" if sure else f"use --how replace, or an estimator such as {FEW_RUNS}",
            )
    elif how in (None, CLOSED_FORM):
        influence, spread = closed_form(source, subject.tests, features, progress)
        last = int(recorded_schedule(source.recording.dynamics, source.metric).grid[-1])
        return Influence(influence, CLOSED_FORM, last, spread=spread)
    offered = has_self_influence(estimator) if subject.itself else isinstance(estimator, InfluencesTests)
    if how == DERIVATIVE and not offered:
        kind = "self_influence" if subject.itself else "influence"
        raise DataError(
            f"{source.found.estimator} can't tell --how derivative on {subject.name} (it has no {kind})",
            "use --how replace or drop, or another estimator",
        )
    if how == DERIVATIVE or (how is None and offered):
        return Influence(direct_influence(source, subject), DERIVATIVE, None)
    if estimator.tags.oracle:
        raise DataError(
            f"{source.found.estimator} looks along the runs that it explains and can't answer for others",
            "use another estimator",
        )
    return simulated(
        source, subject, how=how or REPLACE, own=own, features=features, orders=orders, seed=seed, progress=progress
    )


def direct_influence(source: FittedSimulator, subject: InfluenceTarget) -> Float[np.ndarray, " pool"]:
    """What the estimator's own method says to first order.

    Raises ``DataError`` where examples were set aside from the fit, ``PluginError`` where the answer is ill-shaped or
    not finite.
    """
    part, estimator = source.named.part, source.named.estimator
    dynamics = source.recording.dynamics
    if source.recording.held_out is not None:
        raise DataError(
            f"{source.path} was fitted with examples set aside, and tells no influence of or on those",
            "use --how replace, or fit without --unseen",
        )
    shape: tuple[int, ...] = (len(dynamics.pool),)
    if isinstance(estimator, InfluencesItself) and subject.tests is None:
        values = np.asarray(estimator.self_influence(), dtype=np.float64)
    elif isinstance(estimator, InfluencesMean) and subject.tests is not None:
        values = np.asarray(estimator.mean_influence(subject.tests), dtype=np.float64)
    elif isinstance(estimator, InfluencesTests):
        shape = (*shape, len(dynamics.test))
        values = np.asarray(estimator.influence(), dtype=np.float64)
    if values.shape != shape or not np.isfinite(values).all():
        raise PluginError(f"{part.who} told influences of shape {values.shape}, not finite ones of {shape}", "mend it")
    return values if values.ndim == 1 or subject.tests is None else np.asarray(values[:, subject.tests].mean(axis=1))
