"""A selected subset."""

import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from gptfl.core import Example, Features, MetricInfo, Progress
from gptfl.core.display import Displayed
from gptfl.errors import DataError, UsageError
from gptfl.influence.closed_form import vectors_of
from gptfl.influence.greedy import SelectionSpec, class_quota, select_greedily
from gptfl.influence.methods import compute_influence
from gptfl.influence.subset_search import SearchStart, improve_by_swaps
from gptfl.influence.targets import Influence, InfluenceTarget, influence_target
from gptfl.options.defaults import FEW_RUNS
from gptfl.options.influence import SelectOptions
from gptfl.simulation.simulator import FittedSimulator


@dataclass(frozen=True, slots=True)
class Selection(Displayed):
    """The training examples that are predicted to be best to train on.

    ``examples`` are in the order in which they were chosen, ``influence`` is of each on the target, positive where it
    makes the metric better, between ``low`` and ``high`` where the estimator says how sure it is. ``predicted`` is
    the metric that the estimator predicts for training on them all, the mean over the target's test examples at
    ``step``, ``reference`` that of the average recorded run; ``intervals`` maps a level to the means of the test
    examples' own bounds.
    """

    recording: str
    estimator: str
    metric: MetricInfo
    on: str
    subject: str
    how: str
    pool: int
    examples: tuple[Example, ...]
    influence: Float[np.ndarray, " selected"]
    low: Float[np.ndarray, " selected"] | None
    high: Float[np.ndarray, " selected"] | None
    step: int
    predicted: float
    reference: float
    intervals: Mapping[float, tuple[float, float]]
    orders: int
    simulator: Path
    output: Path | None = None
    notes: tuple[str, ...] = ()
    unkept: tuple[str, ...] = ()
    """What couldn't be written beside the result, and why."""
    novelty: float | None = None
    """How much of what the examples may do the recorded runs leave open, where the estimator tells: 0 nothing, 1 all."""
    imported: bool = False
    """Whether the recording was imported, and nothing can be trained by its recipe."""
    criteria: Mapping[str, float | None] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    """The class of each example, where the pool's examples have classes."""
    among: int | None = None
    """From how many examples of the pool they were selected, where not from all."""

    @property
    def ids(self) -> tuple[str, ...]:
        """What to name in ``--subset``."""
        return tuple(example.id for example in self.examples)

    @property
    def classes(self) -> dict[str, int]:
        """How many examples of each class there are, most first; empty without classes."""
        return dict(Counter(self.class_names).most_common())


def spec_of(options: SelectOptions, source: FittedSimulator) -> SelectionSpec:
    """What a subset should be, by the options. Raises ``DataError`` where ``among`` names what isn't in the pool."""
    spec = SelectionSpec.of(options.selection)
    if options.among is None:
        return spec
    return replace(spec, among=np.sort(source.pool.select(options.among, "--from")))


def target_of(on: str | Sequence[str], source: FittedSimulator, spec: SelectionSpec) -> InfluenceTarget:
    """What is to become better. Raises ``UsageError`` and ``DataError`` as ``influence_target`` and ``SelectionSpec.check`` do."""
    spec.check(len(source.scope.pool))
    subject = influence_target(on, source.recording.dynamics)
    if subject.itself:
        raise UsageError("--on self names no test examples to train for", "use --on mean, test:ID or group:FILE")
    return subject


def check_spec(source: FittedSimulator, spec: SelectionSpec, influence: Influence) -> None:
    """Raise ``DataError`` where the estimator or its features can't give what ``spec`` goes by."""
    name = source.found.estimator
    if spec.diversity and source.found.features is None:
        raise DataError(
            f"--diversity {spec.diversity:g} goes by features, and {name} was fitted without any",
            "leave it out, or use an estimator that is fitted to features",
        )
    if spec.cautious and influence.spread is None:
        raise DataError(
            f"--cautious {spec.cautious:g}: {name} doesn't say how sure it is of an influence (--how {influence.how})",
            f"leave it out, or use an estimator that tells influence in closed form, such as {FEW_RUNS}",
        )


def chosen_of(
    source: FittedSimulator,
    subject: InfluenceTarget,
    spec: SelectionSpec,
    how: str | None,
    features: str | Path | Features | None,
    orders: int,
    seed: int,
    progress: Progress,
) -> tuple[Influence, list[int]]:
    """The influence of every example, and the places of those chosen: the greatest first, then improved by swaps.

    Args:
        source: the simulator.
        subject: the test examples that are to gain.
        spec: how many examples, how diverse, how cautious, and how long to search.
        how: the method of influence, None for the best that the estimator offers.
        features: the vectors, or their file; None for those in the workspace.
        orders: how many random orders simulated influence takes.
        seed: of all that is drawn.
        progress: called along the way.

    Raises ``DataError`` where the estimator or its features can't give what ``spec`` goes by.
    """
    rooms = class_quota(source.scope.pool, spec)
    influence = compute_influence(
        source, subject, how=how, own=None, features=features, orders=orders, seed=seed, progress=progress
    )
    check_spec(source, spec, influence)
    utility = influence.cautious(spec.cautious)
    penalty = spec.diversity * float(utility.std())
    with vectors_of(source, features) if spec.diversity else contextlib.nullcontext() as vectors:
        chosen = select_greedily(utility, penalty, spec, rooms, vectors)
        return improve_by_swaps(
            source,
            subject,
            spec=spec,
            rooms=rooms,
            influence=influence,
            start=SearchStart(chosen, utility, penalty),
            vectors=vectors,
            seed=seed,
            progress=progress,
        )
