"""Subsets between two sides: what must get better, and what must not get worse."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import Example, Features, MetricInfo, Progress
from gptfl.core.display import Displayed
from gptfl.core.linear_form import LinearForm
from gptfl.errors import DataError, UsageError
from gptfl.influence.closed_form import vectors_of
from gptfl.influence.greedy import SelectionSpec, class_quota, select_greedily
from gptfl.influence.methods import compute_influence
from gptfl.influence.selection import check_spec
from gptfl.influence.subset_search import SearchStart, improve_by_swaps
from gptfl.influence.targets import LEVEL, Influence, InfluenceTarget
from gptfl.influence.two_sides import Gain, gains_of
from gptfl.simulation.caveats import novelty_note, share_note
from gptfl.simulation.counterfactual import AS_RECORDED, subset_request
from gptfl.simulation.forms import linear_form_of
from gptfl.simulation.reference import against_average, trust_of
from gptfl.simulation.simulator import FittedSimulator

POINTS = 9
"""So many weights of the two sides are tried unless given."""
OPTIMISTIC = (
    "both predictions are optimistic: every subset was chosen because they are good, and what is predicted too well is "
    "chosen first; gptfl verify --subset tells what one comes to"
)


@dataclass(frozen=True, slots=True)
class FrontierPoint:
    """A subset on the frontier: what it is predicted to do to both sides, against the average recorded run.

    ``weight`` is that of the target in the search, from 0 to 1. ``on`` and ``keep`` are the predicted means of the metric
    on either side. ``both`` is the probability that the target gets better and the retained test examples don't get
    worse, by the joint posterior; None where the estimator tells no interval.
    """

    weight: float
    examples: tuple[Example, ...]
    on: float
    keep: float
    gain: Gain
    retained: Gain
    both: float | None
    novelty: float | None

    @property
    def ids(self) -> tuple[str, ...]:
        """What to name in ``--subset``."""
        return tuple(example.id for example in self.examples)


@dataclass(frozen=True, slots=True)
class Frontier(Displayed):
    """Subsets of which none is predicted to be better than another for both sides.

    ``points`` are ordered by their gain on the target, the least first. ``chosen`` is the place of the one whose ids are
    written. ``reference`` has the metric of the average recorded run on the target and on the retained test examples.
    ``found`` counts the different subsets that were found, those among them that are dominated by others included.
    """

    recording: str
    estimator: str
    metric: MetricInfo
    subject: str
    kept: str
    on: str
    keep: str
    how: str
    pool: int
    size: int
    step: int
    reference: tuple[float, float]
    points: tuple[FrontierPoint, ...]
    chosen: int
    found: int
    orders: int
    simulator: Path
    imported: bool = False
    """Whether the recording was imported, and nothing can be trained by its recipe."""
    output: Path | None = None
    figure: Path | None = None
    notes: tuple[str, ...] = ()
    unkept: tuple[str, ...] = ()
    """What couldn't be written beside the result, and why."""

    @property
    def point(self) -> FrontierPoint:
        """The one whose ids are written."""
        return self.points[self.chosen]

    @property
    def ids(self) -> tuple[str, ...]:
        """Its ids."""
        return self.point.ids


def frontier_from(
    source: FittedSimulator,
    target: InfluenceTarget,
    keep: InfluenceTarget,
    spec: SelectionSpec,
    points: int,
    point: int | None,
    how: str | None,
    features: str | Path | Features | None,
    orders: int,
    seed: int,
    progress: Progress,
) -> Frontier:
    """Subsets for several weights of two sides, those left out that are worse than another for both; writes nothing.

    Args:
        source: the simulator.
        target: the test examples that are to gain.
        keep: those that must not get worse; none of them is in ``target``.
        spec: how many training examples, how diverse, how cautious, and how long to search for each weight.
        points: how many weights, from all for ``keep`` to all for ``target``.
        point: the number of the point whose ids are written, from 1; None for the one most likely to do both.
        how: the method of influence, None for the best that the estimator offers.
        features: the vectors, or their file; None for those in the workspace.
        orders: how many random orders simulated influence and the predictions take.
        seed: of all that is drawn.
        progress: called along the way.

    Raises ``DataError`` where the estimator has no such influence, ``UsageError`` where the criteria don't go together or
    there is no such point.
    """
    sides = []
    for one in (target, keep):
        influence = compute_influence(
            source, one, how=how, own=None, features=features, orders=orders, seed=seed, progress=progress
        )
        check_spec(source, spec, influence)
        sides.append(influence)
    subsets = _subsets(source, (target, keep), spec, sides, np.linspace(0.0, 1.0, points), features, seed, progress)
    form = _form(source, (target, keep))
    found, notes = _predicted(source, (target, keep), subsets, form, orders, seed)
    left = undominated([(one.gain.value, one.retained.value) for one in found])
    kept = tuple(found[place] for place in left)
    chosen = _usual(kept) if point is None else _named(point, len(kept))
    members = np.array([source.pool.places[id] for id in kept[chosen].ids])
    request = subset_request(source, np.sort(members), False, orders, seed, AS_RECORDED)
    average = against_average(source, request)
    reference = target_rows(source, (target, keep)) @ average.final
    return Frontier(
        recording=source.recording.path.name,
        estimator=source.found.estimator,
        metric=source.metric,
        subject=target.text,
        kept=keep.text,
        on=target.name,
        keep=keep.name,
        how=sides[0].how,
        pool=len(source.scope.pool),
        size=spec.size,
        step=int(request.query.steps[-1]),
        reference=(float(reference[0]), float(reference[1])),
        points=kept,
        chosen=chosen,
        found=len(found),
        orders=orders,
        simulator=source.path,
        imported=source.recording.dynamics.settings.elsewhere,
        notes=(
            *source.notes,
            *source.recording.notes,
            *average.notes,
            *notes[left[chosen]],
            *(() if isinstance(form, LinearForm) else (f"no intervals, and no verdicts: {form}",)),
            OPTIMISTIC,
            f"trust in {source.found.estimator}: {trust_of(source).text}",
        ),
    )


def undominated(values: Sequence[tuple[float, float]]) -> list[int]:
    """The places of pairs than which no other is at least as great in both and greater in one, by their first value.

    Of equal pairs the first is kept.
    """
    order = sorted(range(len(values)), key=lambda place: (-values[place][0], -values[place][1], place))
    kept: list[int] = []
    best = -np.inf
    for place in order:
        if values[place][1] > best:
            kept.append(place)
            best = values[place][1]
    return kept[::-1]


def _named(point: int, count: int) -> int:
    """The place of a point by its number. Raises ``UsageError`` where there is none."""
    if not 1 <= point <= count:
        raise UsageError(f"is {point}", f"the frontier has {count} points: give a number from 1", option="point")
    return point - 1


def _usual(points: Sequence[FrontierPoint]) -> int:
    """The point most likely to do both; without intervals that of the greatest gain that loses nothing, if there is one."""
    likely = [-1.0 if one.both is None else one.both for one in points]
    if max(likely) >= 0.0:
        return int(np.argmax(likely))
    safe = [place for place, one in enumerate(points) if one.retained.value >= 0.0]
    return safe[-1] if safe else 0


def _subsets(
    source: FittedSimulator,
    sides: tuple[InfluenceTarget, InfluenceTarget],
    spec: SelectionSpec,
    influences: Sequence[Influence],
    weights: Float[np.ndarray, " weight"],
    features: str | Path | Features | None,
    seed: int,
    progress: Progress,
) -> dict[tuple[int, ...], float]:
    """The places of each subset found, ascending, with the least weight of the target for which it was."""
    rooms = class_quota(source.scope.pool, spec)
    # A row's worth for either side is lessened by its own doubt: as if both erred together, which is the cautious way.
    worth = [one.cautious(spec.cautious) for one in influences]
    sizes = [max(float(one[rooms.eligible].std()), 1e-300) for one in worth]
    found: dict[tuple[int, ...], float] = {}
    with vectors_of(source, features) if spec.diversity else contextlib.nullcontext() as vectors:
        for weight in weights:
            parts = np.array([weight / sizes[0], (1.0 - weight) / sizes[1]])
            shares = parts / parts.sum()
            mixed = _mixed(influences, shares)
            utility = shares[0] * worth[0] + shares[1] * worth[1]
            penalty = spec.diversity * float(utility.std())
            chosen = select_greedily(utility, penalty, spec, rooms, vectors)
            subject, counts = _weighted(sides, shares)
            _, chosen = improve_by_swaps(
                source,
                subject,
                spec=spec,
                rooms=rooms,
                influence=mixed,
                start=SearchStart(chosen, utility, penalty),
                vectors=vectors,
                seed=seed,
                progress=progress,
                weights=counts,
            )
            found.setdefault(tuple(sorted(chosen)), float(weight))
    return found


def _mixed(influences: Sequence[Influence], shares: Float[np.ndarray, "2"]) -> Influence:
    """Influence on a weighted mean of both sides; its spread is at most this."""
    spreads = [one.spread for one in influences]
    spread = None
    if spreads[0] is not None and spreads[1] is not None:
        spread = shares[0] * spreads[0] + shares[1] * spreads[1]
    mean = shares[0] * influences[0].influence + shares[1] * influences[1].influence
    return replace(influences[0], influence=mean, spread=spread, notes=(), before=None, common=None, lasting=None)


def _weighted(
    sides: tuple[InfluenceTarget, InfluenceTarget], shares: Float[np.ndarray, "2"]
) -> tuple[InfluenceTarget, Float[np.ndarray, " target"] | None]:
    """The test examples of both sides, and what each counts; one side alone where the other counts nothing."""
    for place in (0, 1):
        if shares[1 - place] == 0.0:
            return sides[place], None
    tests = [one.tests for one in sides if one.tests is not None]
    counts = [np.full(len(one), share / len(one)) for one, share in zip(tests, shares, strict=True)]
    return InfluenceTarget("both", np.concatenate(tests)), np.concatenate(counts)


def target_rows(source: FittedSimulator, targets: Sequence[InfluenceTarget]) -> Float[np.ndarray, "target test"]:
    """The mean over each target's test examples as weights over all."""
    rows = np.zeros((len(targets), len(source.scope.test)))
    for row, one in zip(rows, targets, strict=True):
        places = slice(None) if one.tests is None else one.tests
        row[places] = 1.0
    return np.asarray(rows / rows.sum(axis=1, keepdims=True))


def _form(source: FittedSimulator, sides: tuple[InfluenceTarget, InfluenceTarget]) -> LinearForm | str:
    """What tells intervals of both sides together, or why nothing does."""
    try:
        form = linear_form_of(source, target_rows(source, sides))
    except DataError as error:
        return error.problem
    return form if LEVEL in form.intervals.reach else f"{source.found.estimator} doesn't know how wide intervals are"


def _predicted(
    source: FittedSimulator,
    sides: tuple[InfluenceTarget, InfluenceTarget],
    subsets: dict[tuple[int, ...], float],
    form: LinearForm | str,
    orders: int,
    seed: int,
) -> tuple[list[FrontierPoint], list[tuple[str, ...]]]:
    """What each subset is predicted to do to both sides, and what to tell of each."""
    sign = 1.0 if source.metric.higher_is_better else -1.0
    rows = target_rows(source, sides)
    found: list[FrontierPoint] = []
    notes: list[tuple[str, ...]] = []
    for members, weight in subsets.items():
        places: Int[np.ndarray, " subset"] = np.array(members)
        request = subset_request(source, places, False, orders, seed, AS_RECORDED)
        prediction = source.predict(request.query)
        ends = rows @ prediction.values[:, -1].astype(np.float64).mean(axis=0)
        mean = sign * (ends - rows @ against_average(source, request).final)
        both = None
        gain, retained = (Gain(float(one)) for one in mean)
        if isinstance(form, LinearForm):
            covariance = form.joint_change(places).covariance
            gain, retained, both = gains_of(mean, covariance, form.intervals.reach[LEVEL])
        novelty = None if prediction.novelty is None else float(prediction.novelty.mean())
        notes.append(
            (
                *request.notes,
                *share_note(source.world, request.query.batches),
                *novelty_note(prediction.novelty),
            )
        )
        examples = tuple(source.scope.pool[place] for place in members)
        found.append(FrontierPoint(weight, examples, float(ends[0]), float(ends[1]), gain, retained, both, novelty))
    return found, notes
