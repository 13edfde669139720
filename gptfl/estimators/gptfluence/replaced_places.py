"""The places of one example of each run: what the others count without it, and what whoever takes them counts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gptfl.estimators.gptfluence.asked import AskedRuns
from gptfl.estimators.gptfluence.batches import IntervalCounts
from gptfl.estimators.gptfluence.recurrence import factors


@dataclass(frozen=True, slots=True)
class Share:
    """What whoever takes the places counts in an interval of the recurrence.

    Where all examples count alike that is ``own``. Else the others in the same batches count the less the more it does:
    ``rates`` is what a batch with places counts, ``rest`` what its others do in the loss together, ``places`` how many
    places there are in it, and ``beside`` what its others add to the factors, each by what it counts in the loss.
    """

    own: float
    rates: Float[Tensor, " step"]
    rest: Float[Tensor, " step"]
    places: Float[Tensor, " step"]
    beside: Float[Tensor, "factor step test"]

    def of(
        self, relative: Float[Tensor, " row"] | None
    ) -> tuple[Float[Tensor, "*row"], Float[Tensor, "row step"] | None]:
        """What each candidate counts, and the others of each batch in units of what they do in the loss.

        ``relative`` is what each candidate counts in the loss, None where all count alike.
        """
        if relative is None:
            return torch.tensor(self.own, dtype=torch.float64), None
        theirs = self.places * relative[:, None]
        beside = self.rates / (self.rest + theirs)
        return (beside * theirs).sum(dim=1), beside


@dataclass(frozen=True, slots=True)
class ReplacedPlaces:
    """What every interval holds beside the places, and for each run what the places of each interval with some count."""

    others: IntervalCounts
    shares: Sequence[Mapping[int, Share]]


def places_of(asked: AskedRuns, counts: IntervalCounts, replaced: Int[np.ndarray, " run"]) -> ReplacedPlaces:
    """The places of the example ``replaced`` of each run of a question, whose intervals have these counts."""
    query, intervals = asked.query, len(asked.query.steps) - 1
    start = int(query.steps[0])
    seen = query.batches[:, start : int(query.steps[-1])]
    run, step, _ = np.nonzero(seen >= 0)  # in the order of the members
    interval = np.searchsorted(query.steps - start, step, side="right") - 1
    theirs = counts.members.numpy() == replaced[run]
    weights = np.ones(len(run)) if counts.weights is None else counts.weights.numpy().copy()
    if asked.law.relative is not None:
        return _diluted(asked, counts, weights, (run, step), theirs)
    nothing, no_step = torch.zeros(0, dtype=torch.float64), asked.test.new_zeros(0).double()
    own = np.bincount(run[theirs] * intervals + interval[theirs], weights[theirs], minlength=len(seen) * intervals)
    shares: list[dict[int, Share]] = [{} for _ in seen]
    for number in np.unique(run[theirs] * intervals + interval[theirs]).tolist():
        share = Share(float(own[number]), nothing, nothing, nothing, no_step)
        shares[number // intervals][number % intervals] = share
    weights[theirs] = 0.0
    return ReplacedPlaces(replace(counts, weights=torch.from_numpy(weights)), shares)


def _diluted(
    asked: AskedRuns,
    counts: IntervalCounts,
    weights: Float[np.ndarray, " member"],
    where: tuple[Int[np.ndarray, " member"], Int[np.ndarray, " member"]],
    theirs: Bool[np.ndarray, " member"],
) -> ReplacedPlaces:
    """The same where examples count differently: of batches with places, the others are kept by themselves.

    Args:
        asked: the question.
        counts: of its intervals.
        weights: of their members; they are changed.
        where: run and step since the first of each member.
        theirs: which members are in the places.
    """
    law, query = asked.law, asked.query
    assert law.relative is not None
    assert law.batch is not None
    run, step = where
    length = int(query.steps[-1] - query.steps[0])
    batch = run * length + step
    found, places = np.unique(batch[theirs], return_counts=True)
    within = np.isin(batch, found)
    members, of = counts.members.numpy()[within & ~theirs], np.searchsorted(found, batch[within & ~theirs])
    counted = law.relative[members]
    sizes = np.bincount(of, minlength=len(found))
    beside = IntervalCounts(
        *(torch.from_numpy(one) for one in (members, np.cumsum(sizes) - sizes, sizes, counted.astype(np.float64)))
    )
    sums = torch.stack(factors(asked.train, asked.test, beside)).double()
    rest = torch.from_numpy(np.bincount(of, counted, minlength=len(found)).astype(np.float64))
    rates = np.full(len(found), float(law.batch))
    if law.rate is not None:
        rates *= query.learning_rates[found // length, found % length + int(query.steps[0])] / law.rate
    shares: list[dict[int, Share]] = [{} for _ in query.batches]
    # Each batch with places is in one interval.
    at = np.searchsorted(query.steps - query.steps[0], found % length, side="right") - 1
    keys = found // length * (len(query.steps) - 1) + at
    for key in np.unique(keys).tolist():
        chosen = torch.from_numpy(np.flatnonzero(keys == key))
        share = Share(
            0.0,
            torch.from_numpy(rates)[chosen],
            rest[chosen],
            torch.from_numpy(places.astype(np.float64))[chosen],
            sums[:, chosen],
        )
        shares[key // (len(query.steps) - 1)][key % (len(query.steps) - 1)] = share
    weights[within] = 0.0
    return ReplacedPlaces(replace(counts, weights=torch.from_numpy(weights)), shares)
