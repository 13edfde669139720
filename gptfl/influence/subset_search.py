"""Improves a subset by exchanging single examples, judged by what the simulator predicts for the whole of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import Progress, class_numbers
from gptfl.core.curriculum import Stream, generator
from gptfl.core.packing import stacked_batches
from gptfl.core.presentation_form import PresentationForm
from gptfl.designs.dealing import draw_evenly
from gptfl.errors import DataError
from gptfl.features.vectors import VectorSource
from gptfl.influence.exchanges import Exchanges, PredictedExchanges, SummedExchanges, Worth
from gptfl.influence.greedy import ClassQuota, SelectionSpec, directions, greatest, similarity
from gptfl.influence.targets import CLOSED_FORM, DERIVATIVE, Influence, InfluenceTarget
from gptfl.plugins.optional import HasPresentationForm
from gptfl.simulation.schedule import RunSchedule, recorded_schedule
from gptfl.simulation.simulator import FittedSimulator

SEARCH = 6000
"""So many curricula are predicted in search of a better subset unless given."""
ORDERS = 2
"""Each subset is judged in so many random orders, so that none is only good in its order."""
FEWEST, AS_MANY = 128, 4
"""Those tried are among the so many of greatest worth, or so many times as many as are selected."""
DRAWN = 31
"""Beside the subset chosen by worth, so many random ones are judged to start from the best of them all."""
MOST_ALIKE = 2**29
"""What each two examples that may come in cost by their likeness takes so many bytes at most."""
ALMOST = 1e-9


@dataclass(frozen=True, slots=True)
class SearchStart:
    """The places chosen by their worth, the worth of every example, and what likeness to another one takes off it."""

    chosen: list[int]
    utility: Float[np.ndarray, " pool"]
    penalty: float = 0.0


@dataclass(frozen=True, slots=True)
class PredictedGain:
    """How good subsets are: the predicted metric at the last step, signed so that more is better, less a cost.

    ``first`` is what each test example starts from, and ``tests`` are those that the metric is the mean of. The cost is ``times`` the sum over members of ``spread``
    and of the greatest ``overlap`` with another member; rows and columns of ``overlap`` are the ``eligible`` places.
    """

    source: FittedSimulator
    schedule: RunSchedule
    first: Float[np.ndarray, " test"]
    tests: slice | Int[np.ndarray, " target"]
    times: float
    spread: Float[np.ndarray, " pool"]
    eligible: Int[np.ndarray, " eligible"]
    overlap: Float[np.ndarray, "eligible eligible"] | None = None
    weights: Float[np.ndarray, " target"] | None = None
    """What each of ``tests`` counts; None for their mean."""

    @property
    def sign(self) -> float:
        return 1.0 if self.source.metric.higher_is_better else -1.0

    def __call__(
        self, members: Int[np.ndarray, "subset size"], batches: Int[np.ndarray, "subset order step batch"]
    ) -> Float[np.ndarray, " subset"]:
        query = self.schedule.query(batches.reshape(-1, *batches.shape[2:]), self.first)
        values = self.source.predict(query).values[:, -1, self.tests].astype(np.float64)
        ends = values.mean(axis=1) if self.weights is None else values @ self.weights
        cost = self.spread[members].sum(axis=1)
        if self.overlap is not None:
            rows = np.searchsorted(self.eligible, members)
            cost = cost + np.array([self.overlap[np.ix_(one, one)].max(axis=1).sum() for one in rows])
        return np.asarray(self.sign * ends.reshape(len(members), -1).mean(axis=1) - self.times * cost)

    def best_of(
        self,
        starts: Sequence[Int[np.ndarray, " size"]],
        batches: Int[np.ndarray, "subset order step batch"],
        first: Int[np.ndarray, " eligible"],
    ) -> tuple[Exchanges, float, Int[np.ndarray, " eligible"]]:
        """The best of some subsets, whose exchanges are judged by sums where the estimator's predictions are such.

        Beside it, how good the first subset is, and the ascending places of examples that may come in.

        Args:
            starts: members of each.
            batches: their curricula.
            first: the eligible places, those first that matter most: of a form that can't have all, the last are left out.
        """
        form = self._form(starts[0], batches[0], first)
        if form is None:
            values = self(np.stack(starts), batches)
            best = int(np.argmax(values))
            return PredictedExchanges(self, starts[best], batches[best]), float(values[0]), self.eligible
        weights = np.full(len(form.base), 1.0 / len(form.base)) if self.weights is None else self.weights
        worth = Worth(self.sign * weights, self.times, self.spread, self.eligible, self.overlap)
        known = [place for place, one in enumerate(starts) if np.isin(one, form.examples).all()]
        every = [SummedExchanges(form, worth, starts[place], batches[place]) for place in known]
        best = int(np.argmax([one.now for one in every]))
        return every[best], every[0].now, form.examples

    def _form(
        self,
        members: Int[np.ndarray, " size"],
        batches: Int[np.ndarray, "order step batch"],
        first: Int[np.ndarray, " eligible"],
    ) -> PresentationForm | None:
        """Predictions as sums over presentations, None where the estimator makes no such."""
        estimator = self.source.named.estimator
        if not isinstance(estimator, HasPresentationForm):
            return None
        query = self.source.scope.about(self.schedule.query(batches, self.first))
        wanted = np.concatenate([members, first[~np.isin(first, members)]])
        try:
            return estimator.presentation_form(query, wanted, np.arange(len(self.first))[self.tests])
        except DataError:  # what was fitted, or this recipe, allows none
            return None


def _overlap(
    vectors: VectorSource, eligible: Int[np.ndarray, " eligible"], start: SearchStart, spec: SelectionSpec
) -> Float[np.ndarray, "eligible eligible"]:
    """What the likeness of each two eligible examples takes off a subset; nothing of an example to itself."""
    ways = directions(vectors, eligible, len(start.utility), spec)
    overlap = start.penalty * similarity(ways, ways)
    np.fill_diagonal(overlap, 0.0)
    return overlap


def improve_by_swaps(
    source: FittedSimulator,
    subject: InfluenceTarget,
    spec: SelectionSpec,
    rooms: ClassQuota,
    influence: Influence,
    start: SearchStart,
    vectors: VectorSource | None,
    seed: int,
    progress: Progress,
    weights: Float[np.ndarray, " target"] | None = None,
) -> tuple[Influence, list[int]]:
    """The influence, with a note on what the swaps came to, and the subset after them.

    They start from the subset chosen by utility, or from a random one where that is predicted to be better. A subset is
    as good as ``PredictedGain`` says, whose costs are ``cautious`` standard deviations of every member's influence and
    ``penalty`` times every member's similarity to the member most like it.

    Args:
        source: the simulator, which predicts every subset.
        subject: the test examples that are to gain.
        spec: how many examples, how cautious, and how many curricula to predict (``search``; 0 for no swaps).
        rooms: how many of each class there may be.
        influence: by which the subset was chosen.
        start: the subset, the utility of every example, and the penalty.
        vectors: of the training examples, by which they are similar; None where nothing is penalised.
        seed: of all that is drawn.
        progress: called along the way.
        weights: what each test example of the subject counts, None for their mean.
    """
    in_units = influence.how != DERIVATIVE
    if spec.search == 0 or (not in_units and start.penalty > 0):
        return influence, start.chosen
    drawn = _drawn(source, spec.size, rooms, seed)
    first = _eligible(start, spec, rooms, drawn, alike=vectors is not None and start.penalty > 0)
    eligible = np.sort(first)
    recipe = recorded_schedule(source.recording.dynamics, source.metric)
    objective = PredictedGain(
        source,
        recipe,
        first=source.first(int(recipe.grid[0])),
        tests=slice(None) if subject.tests is None else subject.tests,
        # Closed-form influence is of seeing an example once; others are of all its places in a run.
        times=recipe.seen / spec.size if influence.how == CLOSED_FORM else 1.0,
        spread=np.zeros(len(start.utility)) if influence.spread is None else spec.cautious * influence.spread,
        eligible=eligible,
        overlap=None if vectors is None or start.penalty <= 0 else _overlap(vectors, eligible, start, spec),
        weights=weights,
    )
    starts = [np.array(start.chosen), *(one for one in drawn if np.isin(one, eligible).all())]
    starts = starts[: max(1, spec.search // ORDERS)]
    batches = stacked_batches([recipe.orders(np.sort(one), ORDERS, seed) for one in starts])
    exchanges, before, eligible = objective.best_of(starts, batches, first)
    chosen, after, done = search(
        exchanges,
        eligible=eligible,
        rooms=rooms,
        budget=spec.search - len(starts) * ORDERS,
        seed=seed,
        progress=progress,
    )
    notes = (
        () if done else (f"the search for exchanges ended with its --search {spec.search}: more may find better ones",)
    )
    lost = len(set(start.chosen) - set(chosen))
    if lost:
        notes = (exchanged_note(objective, lost, len(chosen), before, after), *notes)
    return replace(influence, notes=(*influence.notes, *notes)), chosen


def exchanged_note(objective: PredictedGain, lost: int, size: int, before: float, after: float) -> str:
    """What exchanges came to, in a sentence.

    Args:
        objective: what they were judged by.
        lost: how many of those chosen were exchanged.
        size: of how many.
        before: how good the subset was.
        after: how good it is.
    """
    note = f"{lost} of the {size} examples chosen by influence alone were exchanged for others"
    if not objective.spread.any() and objective.overlap is None:
        metric = objective.source.metric
        way = "raises" if metric.higher_is_better else "lowers"
        # Not where it ends: these orders were searched in, and what is predicted of the result is of others.
        note += (
            f", which {way} the predicted {metric.name} by {after - before:.3g} in the {ORDERS} orders of the search"
        )
    return note


def search(
    exchanges: Exchanges,
    eligible: Int[np.ndarray, " eligible"],
    rooms: ClassQuota,
    budget: int,
    seed: int,
    progress: Progress,
) -> tuple[list[int], float, bool]:
    """The members, and how good they are, after swaps of single members for eligible others, while these are better.

    Every member has its turn once a pass, in random order. It ends after a pass without any swap, or when ``budget``
    curricula were judged; what comes last says whether the budget was enough.

    Args:
        exchanges: the subset to begin with, and what exchanges make of it.
        eligible: ascending places of the examples that may come in.
        rooms: how many of each class there may be.
        budget: at most so many curricula are predicted, or turns judged for each order.
        seed: of the random orders.
        progress: called after each turn.
    """
    random = generator(seed, Stream.SWAPS)
    spent, moved = exchanges.orders, True
    outside = ~np.isin(eligible, exchanges.members)
    left = rooms.left(exchanges.members.tolist())
    while moved and spent + exchanges.orders <= budget:
        moved = False
        for turn in random.permutation(len(exchanges.members)):
            if spent + exchanges.orders > budget:
                break
            member = exchanges.members[turn]
            room = left + (np.arange(len(left)) == rooms.classes[member])
            others = eligible[outside]
            others = others[room[rooms.classes[others]] > 0]
            others, cost = exchanges.tried(turn, others, budget - spent, random)
            if len(others) == 0:
                continue
            values = exchanges.values(turn, others)
            spent += cost
            progress("search", min(spent, budget), budget, "exchanging examples")
            best = int(np.argmax(values))
            if values[best] > exchanges.now + ALMOST * max(abs(exchanges.now), 1e-30):
                exchanges.take(turn, int(others[best]), float(values[best]))
                outside[eligible == member], outside[eligible == others[best]] = True, False
                left = rooms.left(exchanges.members.tolist())
                moved = True
    progress("search", max(budget, spent), max(budget, spent), "exchanging examples")
    return [int(one) for one in exchanges.members], exchanges.now, not moved and spent + exchanges.orders <= budget


def _eligible(
    start: SearchStart, spec: SelectionSpec, rooms: ClassQuota, drawn: list[Int[np.ndarray, " subset"]], alike: bool
) -> Int[np.ndarray, " eligible"]:
    """The places of examples that may come in: those chosen first, then by their worth.

    Args:
        start: the subset chosen by worth.
        spec: of so many examples.
        rooms: how many of each class there may be.
        drawn: random subsets.
        alike: whether the likeness of each two of them is to be held, which leaves fewer.
    """
    utility = start.utility
    candidates = greatest(utility, min(len(utility), max(FEWEST, AS_MANY * spec.size)), _open(rooms))
    others = np.setdiff1d(np.unique(np.concatenate([candidates, *drawn])), start.chosen)
    found = np.concatenate([start.chosen, others[np.argsort(-utility[others], kind="stable")]])
    most = max(len(start.chosen), int((MOST_ALIKE / 4) ** 0.5)) if alike else len(found)
    return np.asarray(found[:most])


def _drawn(source: FittedSimulator, size: int, rooms: ClassQuota, seed: int) -> list[Int[np.ndarray, " subset"]]:
    """Random subsets, as many examples of each class as of another, that keep to the room of their classes."""
    pool, may = source.scope.pool, rooms.eligible
    numbers = class_numbers(pool)
    classes = None if numbers is None else numbers[may]
    subsets = [may[draw_evenly(size, classes, len(may), (seed, Stream.STARTS, number))] for number in range(DRAWN)]
    return [one for one in subsets if (rooms.left(one.tolist()) >= 0).all()]


def _open(rooms: ClassQuota) -> ClassQuota:
    """The same classes with room for all."""
    return replace(rooms, most=len(rooms.classes))
