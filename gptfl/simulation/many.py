"""Many subsets in one pass: what training on each would end at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import MetricInfo, Prediction, Progress, Query, silent
from gptfl.core.display import Displayed
from gptfl.errors import UsageError
from gptfl.options.common import Ids
from gptfl.simulation.caveats import novelty_note
from gptfl.simulation.counterfactual import AS_RECORDED, subset_request
from gptfl.simulation.outcome import mean_over
from gptfl.simulation.reference import against_average
from gptfl.simulation.schedule import MAX_NUMBERS, Overrides
from gptfl.simulation.simulator import FittedSimulator

PER_RUN = ("batches", "learning_rates", "first")
"""What of a query has a row for each run."""


@dataclass(frozen=True, slots=True)
class SubsetSimulations(Displayed):
    """Where training on each of many subsets would end, by the recording's recipe.

    ``final`` is the last predicted metric of each subset and test example (mean over orders), ``change`` that less the
    average recorded run's; ``intervals`` has by level the bounds of what a single run would end at, ``novelty`` how
    far each subset lies from what was recorded. ``sizes`` are how many examples each has.
    """

    estimator: str
    metric: MetricInfo
    tests: tuple[str, ...]
    steps: Int[np.ndarray, " recorded"]
    sizes: tuple[int, ...]
    values: Float[np.ndarray, "subset recorded test"]
    final: Float[np.ndarray, "subset test"]
    change: Float[np.ndarray, "subset test"]
    intervals: Mapping[float, tuple[Float[np.ndarray, "subset test"], Float[np.ndarray, "subset test"]]] = field(
        default_factory=dict
    )
    novelty: Float[np.ndarray, " subset"] | None = None
    notes: tuple[str, ...] = ()

    @property
    def order(self) -> list[int]:
        """Places of the subsets, the best predicted mean first."""
        means = self.final.mean(axis=1)
        return [int(i) for i in np.argsort(-means if self.metric.higher_is_better else means, kind="stable")]


def simulate_subsets(
    source: FittedSimulator,
    subsets: Sequence[Ids],
    orders: int = 1,
    overrides: Overrides = AS_RECORDED,
    seed: int = 42,
    progress: Progress = silent,
) -> SubsetSimulations:
    """What training on each of these subsets would end at, predicted in one pass.

    Each is laid out as ``gptfl.simulate`` lays it out, with the same seeds. More than ``MAX_NUMBERS`` batch entries or
    values
    are predicted in parts.

    Args:
        source: the simulator.
        subsets: each a file of ids or a sequence of them.
        orders: in so many random orders each; results are means over them.
        overrides: what differs from the recording's recipe; no ``epochs``, by which lengths would differ.
        seed: draws the orders.
        progress: called after each part.

    Raises ``UsageError`` where there is no subset or with ``epochs``, ``DataError`` as ``simulate`` does.
    """
    if not subsets:
        raise UsageError("there is no subset to simulate", "give at least one")
    if overrides.epochs is not None:
        raise UsageError("--epochs makes runs of as many steps as their subsets are large", "give --steps")
    members = [source.pool.select(subset, f"subset {place}") for place, subset in enumerate(subsets)]
    requests = [subset_request(source, chosen, False, orders, seed, overrides) for chosen in members]
    one = requests[0]
    parts = _predict_in_parts(source, [request.query for request in requests], orders, progress)

    def per_subset(values: Float[np.ndarray, "run ..."]) -> Float[np.ndarray, "subset ..."]:
        return np.stack([mean_over(values[i : i + orders]) for i in range(0, len(values), orders)])

    values = np.concatenate([per_subset(answer.values) for answer in parts])
    average = against_average(source, one)
    novelty = None
    if all(answer.novelty is not None for answer in parts):
        novelty = np.concatenate([per_subset(np.asarray(answer.novelty)) for answer in parts])
    return SubsetSimulations(
        estimator=source.found.estimator,
        metric=source.metric,
        tests=tuple(example.id for example in source.scope.test),
        steps=one.query.steps,
        sizes=tuple(len(chosen) for chosen in members),
        values=values,
        final=values[:, -1],
        change=values[:, -1] - average.final,
        intervals={
            level: (
                np.concatenate([per_subset(answer.intervals[level][0][:, -1]) for answer in parts]),
                np.concatenate([per_subset(answer.intervals[level][1][:, -1]) for answer in parts]),
            )
            for level in sorted(parts[0].intervals)
        },
        novelty=novelty,
        notes=tuple(
            dict.fromkeys(
                (
                    *source.notes,
                    *source.recording.notes,
                    *(note for request in requests for note in request.notes),
                    *average.notes,
                    *novelty_note(novelty),
                )
            )
        ),
    )


def _predict_in_parts(
    source: FittedSimulator, queries: Sequence[Query], orders: int, progress: Progress
) -> list[Prediction]:
    """What is predicted of the queries in order, as many at once as have at most ``MAX_NUMBERS`` numbers."""
    one, count = queries[0], len(queries)
    cost = max(one.batches.size, orders * len(one.steps) * len(source.scope.test))
    part = max(1, MAX_NUMBERS // max(cost, 1))
    predictions = []
    for start in range(0, count, part):
        progress("simulate", start, count, f"{count} subsets")
        some = queries[start : start + part]
        whole: dict[str, Any] = {name: np.concatenate([getattr(query, name) for query in some]) for name in PER_RUN}
        predictions.append(source.predict(replace(one, **whole)))
    progress("simulate", count, count, f"{count} subsets")
    return predictions
