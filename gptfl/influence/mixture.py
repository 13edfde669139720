"""Shares of groups of rows as what is chosen: how many rows of each, while which of them is left to chance."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import Example, MetricInfo, Progress
from gptfl.core.curriculum import Stream, generator
from gptfl.core.display import Displayed
from gptfl.core.linear_form import LinearForm
from gptfl.errors import DataError, UsageError
from gptfl.influence.frontier import target_rows
from gptfl.influence.greedy import ROUNDING, SelectionSpec
from gptfl.influence.mixture_search import MixtureObjective, best_counts, proportional
from gptfl.influence.targets import LEVEL, InfluenceTarget
from gptfl.influence.two_sides import Gain
from gptfl.recording.row_groups import group_rows
from gptfl.simulation.caveats import novelty_note
from gptfl.simulation.forms import linear_form_of
from gptfl.simulation.reference import trust_of
from gptfl.simulation.simulator import FittedSimulator

DRAWS = 64
"""In so many random draws of rows by their groups' shares a mixture is judged."""
OPTIMISTIC = (
    "the predicted change is optimistic: these shares were chosen because it is large; gptfl verify --subset tells what the "
    "ids written come to"
)


@dataclass(frozen=True, slots=True)
class MixtureSelection(Displayed):
    """How many rows of each group to train on, which of them being left to chance, and what that is predicted to give.

    ``rows`` counts the rows of each group that may be chosen, ``chosen`` those that are, ``usual`` those of a subset of the
    same size in the pool's own shares. ``predicted``, ``predicted_usual`` and ``reference`` are the mean metric of the target
    at ``step`` for both mixtures, in the mean over draws, and of the average recorded run. ``gain`` is against the average
    run and ``better`` against the pool's own shares; their intervals are of one draw of rows, and ``drawn`` is the standard
    deviation of ``gain`` over draws alone.
    """

    recording: str
    estimator: str
    metric: MetricInfo
    on: str
    subject: str
    by: str
    pool: int
    names: tuple[str, ...]
    rows: Int[np.ndarray, " group"]
    chosen: Int[np.ndarray, " group"]
    usual: Int[np.ndarray, " group"]
    step: int
    predicted: float
    predicted_usual: float
    reference: float
    gain: Gain
    better: Gain
    drawn: float
    examples: tuple[Example, ...]
    """One draw of rows with these shares, by the seed."""
    simulator: Path
    imported: bool = False
    output: Path | None = None
    figure: Path | None = None
    notes: tuple[str, ...] = ()
    unkept: tuple[str, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        """What to name in ``--subset``."""
        return tuple(example.id for example in self.examples)

    @property
    def shares(self) -> Float[np.ndarray, " group"]:
        """The share of each group in the mixture."""
        return np.asarray(self.chosen / self.chosen.sum())

    @property
    def pool_shares(self) -> Float[np.ndarray, " group"]:
        """The share of each group in what may be chosen from."""
        return np.asarray(self.rows / self.rows.sum())


def mixture_from(
    source: FittedSimulator,
    subject: InfluenceTarget,
    by: str,
    spec: SelectionSpec,
    seed: int,
    progress: Progress,
) -> MixtureSelection:
    """The shares of groups that are predicted to be best for ``subject``, and one draw of rows by them; writes nothing.

    Args:
        source: the simulator, whose predictions are linear in what a run sees.
        subject: the test examples that are to gain.
        by: the field whose values make groups, or class or task.
        spec: how many rows, at most which share of a group, how cautious, and which rows may be chosen.
        seed: of the draws.
        progress: called along the way.

    Raises ``DataError`` where the simulator is not of that kind or no row has the field, and ``UsageError`` where the
    groups have too few rows.
    """
    pool = source.scope.pool
    form = linear_form_of(source, target_rows(source, (subject,)))
    names, groups = _groups(pool, by, spec)
    rows = np.array([len(one) for one in groups])
    most = _most(spec, rows)
    sign = 1.0 if source.metric.higher_is_better else -1.0
    target = form_target(form)
    objective = MixtureObjective.of(form, groups, target, sign, spec.cautious)
    usual = proportional(rows, spec.size, spec.size)
    begin = proportional(rows, spec.size, most)
    progress("mixture", 0, 2, f"shares by {by}")
    chosen = best_counts(objective, begin, np.minimum(rows, most))
    progress("mixture", 1, 2, "draws of rows")
    gain, better, means, drawn = _judged(form, groups, chosen, usual, sign, seed)
    progress("mixture", 2, 2, "draws of rows")
    members = draw(groups, chosen, generator(seed, Stream.MIXTURES, 0))
    step = int(form.recipe.steps[-1])
    return MixtureSelection(
        recording=source.recording.path.name,
        estimator=source.found.estimator,
        metric=source.metric,
        on=subject.name,
        subject=subject.text,
        by=by,
        pool=len(pool),
        names=names,
        rows=rows,
        chosen=chosen,
        usual=usual,
        step=step,
        predicted=means[0],
        predicted_usual=means[1],
        reference=float(form.average[-1] @ target),
        gain=gain,
        better=better,
        drawn=drawn,
        examples=tuple(pool[place] for place in members),
        simulator=source.path,
        imported=source.recording.dynamics.settings.elsewhere,
        notes=(
            *source.notes,
            *source.recording.notes,
            *novelty_note(np.array([form.predict(members).novelty])),
            OPTIMISTIC,
            f"trust in {source.found.estimator}: {trust_of(source).text}",
        ),
    )


def _groups(
    pool: Sequence[Example], by: str, spec: SelectionSpec
) -> tuple[tuple[str, ...], list[Int[np.ndarray, " row"]]]:
    """The names of the groups that have rows to choose, and the places of these. Raises ``DataError`` for a single one."""
    grouping = group_rows(pool, by)
    may = np.ones(len(pool), dtype=bool) if spec.among is None else np.isin(np.arange(len(pool)), spec.among)
    groups = {name: np.flatnonzero((grouping.of == place) & may) for place, name in enumerate(grouping.names)}
    there = {name: rows for name, rows in groups.items() if len(rows)}
    if len(there) < 2:
        raise DataError(f"--by {by}: all rows are of one group, whose share is all", "use another field")
    return tuple(there), list(there.values())


def form_target(form: LinearForm) -> Float[np.ndarray, " test"]:
    """What each test example counts in the form's first target."""
    assert form.targets is not None
    return np.asarray(form.targets.weights[0])


def _most(spec: SelectionSpec, rows: Int[np.ndarray, " group"]) -> int:
    """At most so many rows of a group. Raises ``UsageError`` where that leaves too few."""
    if spec.max_share is None:
        return spec.size
    most = math.floor(spec.max_share * spec.size + ROUNDING)
    left = int(np.minimum(rows, most).sum())
    if left < spec.size:
        raise UsageError(
            f"--max-share-per-class {spec.max_share:g} leaves {left} of the --size {spec.size} rows",
            "give a larger share",
        )
    return most


def draw(
    groups: Sequence[Int[np.ndarray, " row"]], counts: Int[np.ndarray, " group"], random: np.random.Generator
) -> Int[np.ndarray, " subset"]:
    """So many rows of each group, at random without replacement; their places, ascending."""
    return np.sort(
        np.concatenate([random.permutation(rows)[:count] for rows, count in zip(groups, counts, strict=True)])
    )


def _judged(
    form: LinearForm,
    groups: Sequence[Int[np.ndarray, " row"]],
    chosen: Int[np.ndarray, " group"],
    usual: Int[np.ndarray, " group"],
    sign: float,
    seed: int,
) -> tuple[Gain, Gain, tuple[float, float], float]:
    """Gains against the average run and against the pool's shares, both mixtures' predicted means, and the spread of draws.

    The variance is that of the posterior, in the mean over draws, and that of predictions between draws.
    """
    target, reach = form_target(form), form.intervals.reach.get(LEVEL)
    gains: list[tuple[float, float]] = []
    differences: list[tuple[float, float]] = []
    values = []
    for number in range(DRAWS):
        random = generator(seed, Stream.MIXTURES, number)
        ours, theirs = draw(groups, chosen, random), draw(groups, usual, random)
        values.append([float(form.ends(one) @ target) for one in (ours, theirs)])
        for found, than in ((gains, None), (differences, theirs)):
            change = form.joint_change(ours, than)
            found.append((sign * float(change.mean[0]), float(change.covariance[0, 0])))
    same = bool((chosen == usual).all())
    means = np.array(values).mean(axis=0)
    return (
        _gain(np.array(gains), reach),
        Gain(0.0) if same else _gain(np.array(differences), reach),
        (float(means[0]), float(means[1])),
        float(np.array(gains)[:, 0].std(ddof=1)),
    )


def _gain(draws: Float[np.ndarray, "draw 2"], reach: float | None) -> Gain:
    mean = float(draws[:, 0].mean())
    if reach is None:
        return Gain(mean)
    half = reach * math.sqrt(float(draws[:, 1].mean()) + float(draws[:, 0].var(ddof=1)))
    return Gain(mean, mean - half, mean + half)
