"""What a fitted recurrence needs of a question: projections of its examples, and where its runs begin."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from gptfl.core import Query
from gptfl.estimators.baselines import begun
from gptfl.estimators.clock import Clock
from gptfl.estimators.gptfluence.mean_run import MeanTrajectory, pushes
from gptfl.estimators.gptfluence.pool_rows import PoolProjection
from gptfl.estimators.gptfluence.recurrence import rollout
from gptfl.estimators.gptfluence.sides import StreamedSides, VectorSides
from gptfl.estimators.gptfluence.update_rule import UpdateRule


@dataclass(frozen=True, slots=True)
class AskedRuns:
    """A query, the projections of its training and test examples, and how batches count.

    ``first`` is on the scale of the fit, of which the metric's is ``scale`` times as much. ``push`` is what the mean run
    adds to each step; None without one. ``clock`` and ``grid`` are the mean run's, or None and the query's own steps.
    """

    query: Query
    train: Float[Tensor, "factor pool width"] | PoolProjection
    test: Float[Tensor, "factor test width"]
    first: Float[np.ndarray, "run test"]
    scale: float
    law: UpdateRule
    push: Float[Tensor, "#run interval test"] | None
    clock: Clock | None
    grid: Int[np.ndarray, " grid"]

    @property
    def stays(self) -> bool:
        """Whether a run ends before it took any step, as ``begun`` has it."""
        return self.clock is not None and bool(self.clock.place(self.query, self.grid).still[:, -1].any())

    def values(self) -> Float[np.ndarray, "run recorded test"]:
        """The trajectories. Raises ``DataError`` as ``rollout`` does."""
        query = self.query
        found = rollout(
            self.train,
            self.test,
            query.batches,
            query.steps,
            self.first,
            self.law,
            rates=query.learning_rates,
            push=self.push,
        )
        return begun(self.scale * found, self.clock, query, self.grid)


def asked_of(
    query: Query,
    sides: VectorSides | StreamedSides,
    parameters: dict[str, Tensor],
    law: UpdateRule,
    scale: float,
    course: tuple[MeanTrajectory, Tensor] | None,
    clock: Clock | None,
) -> AskedRuns:
    """What a query comes to.

    Args:
        query: the question.
        sides: the vectors of its examples.
        parameters: of the projections.
        law: how batches count, for the examples that were fitted.
        scale: the metric's over that of the fit.
        course: the mean run and what it saw at each step, None without one.
        clock: the mean run's, None where each step stands for itself.

    Raises ``DataError`` for steps at which the mean run isn't known.
    """
    law, first = law.for_query(query.unseen), query.first / scale
    clock = None if course is None else clock
    grid = query.steps if course is None else course[0].grid
    places = None if clock is None else clock.place(query, grid).check()
    with torch.inference_mode():
        train, test = sides.project(parameters)
        push = None if course is None else pushes(*course, train, test, query, first, places, law)
    return AskedRuns(query, train, test, first, scale, law, push, clock, grid)
