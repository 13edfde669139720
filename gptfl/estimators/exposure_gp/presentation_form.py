"""A fitted Gaussian process as a sum over presentations: what each place in a run's batches does to where the run ends.

Of other runs a process expects what is linear in their states, and these are sums over what they saw. So every example has
a covariance with each run fitted, and a first-order effect on each test example, at each point of each path of vectors.
"""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import Query
from gptfl.core.blocked_rows import rows_at_once
from gptfl.core.presentation_form import PresentationForm
from gptfl.errors import DataError
from gptfl.estimators.clock import Places
from gptfl.estimators.exposure_gp.accumulation import Vectors
from gptfl.estimators.exposure_gp.curricula import Examples
from gptfl.estimators.exposure_gp.model import ExposureModel
from gptfl.estimators.exposure_gp.predictions import view
from gptfl.estimators.exposure_gp.questions import requested_of

MOST_BYTES = 2**29
"""The arrays of a form take so many bytes at most."""


def presentation_form(
    model: ExposureModel,
    query: Query,
    places: Places,
    examples: Int[np.ndarray, " example"],
    tests: Int[np.ndarray, " chosen"],
    observed: bool,
) -> PresentationForm:
    """The arrays for runs by the recipe of a query.

    Args:
        model: what was fitted.
        query: runs by the recipe, whose batches hold none but ``examples``.
        places: where these runs are on the clock of step sizes.
        examples: different places in the pool; of more than fit into ``MOST_BYTES`` the first ones are taken.
        tests: places of the test examples.
        observed: whether predictions go on from what is known of the asked runs.

    Raises ``DataError`` where predictions aren't such a sum, and where not even the query's own examples fit.
    """
    _check(model, query, places, observed)
    terms = _Terms.of(model, tests)
    count = MOST_BYTES // max(terms.bytes_each, 1)
    if np.setdiff1d(query.batches[query.batches >= 0], examples[:count]).size:
        raise DataError(
            f"exposure-gp has no sum over presentations: effects of {len(examples)} examples on {len(tests)} test "
            f"examples take more than {MOST_BYTES / 2**30:g} GiB",
            "ask about fewer",
        )
    kept = np.sort(examples[:count])
    rows, direct = terms.of_examples(kept)
    found = PresentationForm(
        link=model.link,
        trials=len(model.even) if model.binary else 0,
        learning_rates=query.learning_rates[0],
        examples=kept,
        base=np.zeros(len(tests)),
        channels=terms.channels.per_step(_left(model, query), int(model.recorded.steps[-1])),
        row_channels=terms.row_channels,
        rows=rows,
        columns=terms.columns,
        direct_channels=terms.direct_channels,
        direct=direct,
    )
    viewed = view(
        model, query, places, requested_of(model, query, len(model.recorded.steps)), np.arange(model.pool), None
    )
    members = [np.unique(one[one >= 0]) for one in query.batches]
    added = [
        found.ends(found.counts(batches[None], one), np.searchsorted(kept, one))[0]
        for batches, one in zip(query.batches, members, strict=True)
    ]
    found.base[:] = (viewed.mean[:, -1, tests] - np.stack(added)).mean(axis=0)
    return found


def _left(model: ExposureModel, query: Query) -> Float[np.ndarray, " step"]:
    """How much of what each step of a query's recipe did is left at the last recorded one."""
    recorded = model.recorded.curricula
    fading, rates = recorded.fading, query.learning_rates[0]
    if fading is None:
        return np.ones(len(rates))
    # Of the first run, for all are of one recipe; a step without examples has no size.
    one = recorded.like(query.drawn[:1], query.learning_rates[:1])
    lasting = one.lasting.weights[0]
    found = one.left_at(int(model.recorded.steps[-1]))[0]
    return np.asarray(np.divide(found, lasting, out=np.zeros(len(rates)), where=lasting > 0))


def _check(model: ExposureModel, query: Query, places: Places, observed: bool) -> None:
    """Raise ``DataError`` where predictions for the recipe of a query aren't sums over what its places hold."""
    problem, curricula = None, model.recorded.curricula
    if query.unseen is not None:
        problem = "it is asked about examples that it wasn't fitted to"
    elif query.typical is not None or not (query.learning_rates == query.learning_rates[0]).all():
        problem = "it is asked about every order, or about other step sizes for each run"
    elif model.lack:
        problem = "recorded runs repeat one another, and what repeats share is not linear in what a run sees"
    elif observed:
        problem = "predictions go on from what is known of a run"
    elif curricula.relative is not None:
        problem = "how much an example counts hangs on what else is in its batch"
    elif curricula.per is not None:
        problem = "examples count as in batches of another size than theirs"
    elif query.steps[-1] != model.recorded.steps[-1] or not places.plain.all():
        problem = "the recipe's step sizes add up to others than recorded runs', or it ends elsewhere"
    if problem is not None:
        raise DataError(f"exposure-gp has no sum over presentations: {problem}", "ask it by gptfl simulate")


Key = tuple[tuple[int, ...], float | None]
"""The points of vectors (none where there is one), and within how many steps what was seen fades."""


@dataclass
class _Channels:
    """How much a presentation counts at the end by when it comes: one channel for each point of each kind of path."""

    begins: dict[Key, int] = field(default_factory=lambda: {((), None): 0})
    count: int = 1

    def of(self, vectors: Vectors, reach: float | None = None) -> list[int]:
        """The numbers of the channels of some vectors, one a point; that of vectors of one point comes first of all."""
        points = tuple(vectors.points.tolist()) if len(vectors.points) > 1 else ()
        width = max(len(points), 1)
        if (points, reach) not in self.begins:
            self.begins[points, reach] = self.count
            self.count += width
        begin = self.begins[points, reach]
        return list(range(begin, begin + width))

    def per_step(self, left: Float[np.ndarray, " step"], last: int) -> Float[np.ndarray, "step channel"]:
        """What seeing an example at each step counts in each; what is seen after the ``last`` recorded step does nothing.

        ``left`` is how much of what each step did is left at the end.
        """
        steps = len(left)
        found, taken = np.zeros((steps, self.count)), np.arange(min(steps, last))
        for (points, reach), begin in self.begins.items():
            fading = np.ones(len(taken)) if reach is None else np.exp((taken + 1 - last) / reach)
            for number in range(max(len(points), 1)):
                share = np.interp(taken, points, np.eye(len(points))[number]) if points else 1.0
                found[: len(taken), begin + number] = fading * share * left[: len(taken)]
        return found


@dataclass(frozen=True, slots=True)
class _Terms:
    """What makes the arrays of examples: where the runs fitted have come to in each source of effects but their own."""

    model: ExposureModel
    tests: Int[np.ndarray, " chosen"]
    channels: _Channels
    fitted: tuple[Float[np.ndarray, "run d"], ...]
    columns: Float[np.ndarray, "run test"]
    row_channels: Int[np.ndarray, " row_channel"]
    direct_channels: Int[np.ndarray, " direct_channel"]

    @classmethod
    def of(cls, model: ExposureModel, tests: Int[np.ndarray, " chosen"]) -> "_Terms":
        """Those at the last recorded step, for these test examples."""
        step, posterior = model.solved[-1]
        _, *shared = model.states.last()
        fitted = []
        for weight, unit, states in zip(model.hyper.weights[1:], step.units[1:], shared, strict=True):
            ours = np.asarray(states)[step.members]
            fitted.append((weight / unit * (ours - ours.mean(axis=0))).astype(np.float32))
        outputs = posterior.columns.vectors[tests] * posterior.columns.signal
        columns = (posterior.strength * posterior.dual @ outputs.T) * step.size[tests]
        channels, none = _Channels(), _examples_of(model, np.zeros(0, dtype=np.int64))
        # What an example does by itself counts alike whenever it is seen.
        rows = {0, *(place for vectors, reach in none.effects for place in channels.of(vectors, reach))}
        ways = zip(none.expected, model.hyper.scales, strict=False)
        direct = {place for one, scale in ways if scale != 0.0 for place in channels.of(one)}
        kinds = [np.array(sorted(one), dtype=np.int64) for one in (rows, direct)]
        return cls(model, tests, channels, tuple(fitted), np.asarray(columns), *kinds)

    @property
    def bytes_each(self) -> int:
        """How many bytes the arrays take for each example."""
        return 4 * (len(self.row_channels) * len(self.columns) + len(self.direct_channels) * len(self.tests))

    def of_examples(
        self, places: Int[np.ndarray, " example"]
    ) -> tuple[Float[np.ndarray, "example row_channel row"], Float[np.ndarray, "example direct_channel test"]]:
        """The arrays ``rows`` and ``direct`` of some examples, whose vectors are read some at a time."""
        rows = np.zeros((len(places), len(self.row_channels), len(self.columns)), np.float32)
        direct = np.zeros((len(places), len(self.direct_channels), len(self.tests)), np.float32)
        width = sum(one.train.shape[1] for one in self.model.sources.sets.values()) + direct[:1].size
        count = rows_at_once(4 * max(width, 1))
        for start in range(0, len(places), count):
            self._put(places[start : start + count], rows[start : start + count], direct[start : start + count])
        return rows, direct

    def _put(
        self,
        places: Int[np.ndarray, " some"],
        rows: Float[np.ndarray, "some row_channel row"],
        direct: Float[np.ndarray, "some direct_channel test"],
    ) -> None:
        model = self.model
        step, _ = model.solved[-1]
        own = model.hyper.weights[0] / step.units[0] * model.states.own_at_end(step.members, places).columns
        rows[:, 0] += own.T
        examples = _examples_of(model, places)
        for (vectors, reach), fitted in zip(examples.effects, self.fitted, strict=True):
            there = np.searchsorted(self.row_channels, self.channels.of(vectors, reach))
            for place, one in zip(there, vectors.rows, strict=True):
                rows[:, place] += one @ fitted.T
        slopes = model.slopes[-1][self.tests]
        for one, scale in zip(examples.expected, model.hyper.scales, strict=False):
            for place, effects in zip(self.channels.of(one), one.rows, strict=True) if scale != 0.0 else ():
                direct[:, np.searchsorted(self.direct_channels, place)] += scale * slopes * effects[:, self.tests]


def _examples_of(model: ExposureModel, places: Int[np.ndarray, " example"]) -> Examples:
    """What is known of some examples of the pool; nothing is expected where the model goes by nothing that is."""
    train = {name: np.asarray(one.train[places]) for name, one in model.sources.sets.items()}
    if model.hyper.scales.any():
        return model.states.examples_of(places, train, None)
    vectors = model.sources.vectors(train)
    return Examples(places, vectors, (), model.sources.recent(vectors))
