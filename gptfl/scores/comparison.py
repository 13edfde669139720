"""Scores several estimators on the same held-out runs and says which differences are clear."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from gptfl.core import MetricInfo
from gptfl.core.display import Displayed
from gptfl.scores import bootstrap, pointwise
from gptfl.scores.ceiling import Ceiling
from gptfl.scores.coverage import Coverage, Intervals, coverages
from gptfl.scores.excess import Excess, excesses
from gptfl.scores.held_out import HeldOut
from gptfl.scores.lds import FEWEST_RUNS, RELIABLE_RUNS, comparable, lds, lds_draws
from gptfl.scores.removals import ChangeSpreads, RemovalScores, removal_scores
from gptfl.scores.sampling import RunDraws, Sampling

FEWEST_CLEAR = 6
"""With fewer held-out runs no difference is called clear.

Even if all runs agreed on its sign, chance would do that in more than 5 % of cases.
"""
SCORES = ("mse", "mae", "rho", "lds", "skill")
LOWER_IS_BETTER = frozenset({"mse", "mae"})
PER_RUN: Mapping[str, Callable[..., Float[np.ndarray, " run"]]] = {
    "mse": pointwise.all_steps_mse,
    "mae": pointwise.all_steps_mae,
    "rho": pointwise.final_spearman,
}


@dataclass(frozen=True, slots=True)
class Value:
    """A score with its spread over runs (sample standard deviation) or its bootstrap interval."""

    value: float
    std: float | None = None
    interval: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """What one simulated trajectory of one test example takes: seconds, and operations where they can be counted."""

    seconds: float
    flops: float | None = None


@dataclass(frozen=True, slots=True)
class Predictions:
    """What one estimator predicted for the held-out runs, or why it couldn't.

    ``estimator`` is the label of its row, ``name`` what it is registered as where that is shorter; an ``oracle``
    looked along the very runs that it predicted. ``intervals`` are of the levels that it gave for every run;
    ``conditions`` says whether it goes on from scores that it is told of a run; ``encoder``, whose features it had.
    """

    estimator: str
    predicted: Float[np.ndarray, "run recorded test"] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    reused: bool = False
    notes: tuple[str, ...] = ()
    error: str | None = None
    name: str = ""
    oracle: bool = False
    cost: Cost | None = None
    intervals: Intervals = field(default_factory=dict)
    conditions: bool = False
    encoder: str | None = None
    changes: ChangeSpreads | None = None
    """How sure it is of what leaving groups of examples out changes, where held-out runs show that and it tells."""


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One line of the table; ``scores`` lacks what can't be told, ``best`` names where it clearly leads.

    ``by_task`` are the scores on each task of a mixture. There, ``scores`` has the mean over the tasks of MSE, MAE and
    rho, as the paper does; skill and LDS take all test examples together.

    ``lds_reliable`` is False below 20 held-out runs that can be compared with another. With ``error`` there are no scores.
    ``estimator`` is its label, ``name`` what is registered; an ``oracle`` is never best, for it looked along the runs.
    ``excess`` is its squared error beside another's; ``coverage`` tells of its intervals by level, where it gave any,
    and ``coverage_by_task`` of those on each task of a mixture. ``encoder`` is whose features it had. ``shares`` are
    of the order-noise ceilings of skill and LDS, where these are known and above 0.
    """

    estimator: str
    scores: Mapping[str, Value] = field(default_factory=dict)
    lds_reliable: bool = True
    best: frozenset[str] = frozenset()
    settings: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    reused: bool = False
    notes: tuple[str, ...] = ()
    error: str | None = None
    name: str = ""
    oracle: bool = False
    cost: Cost | None = None
    by_task: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    conditions: bool = False
    excess: Excess | None = None
    coverage: Mapping[float, Coverage] = field(default_factory=dict)
    coverage_by_task: Mapping[str, Mapping[float, Coverage]] = field(default_factory=dict)
    encoder: str | None = None
    shares: Mapping[str, Value] = field(default_factory=dict)
    skill_by_step: Mapping[int, float] = field(default_factory=dict)
    removals: RemovalScores | None = None
    """How far it is right about what leaving groups of examples out changes, where held-out runs show that."""

    def of_tasks(self) -> "dict[str, ScoreRow]":
        """The same row with the scores on one task only, for each; nothing is marked best there."""
        return {
            task: replace(
                self,
                scores=scores,
                best=frozenset(),
                by_task={},
                excess=None,
                shares={},
                skill_by_step={},
                removals=None,
                coverage=self.coverage_by_task.get(task, {}),
                coverage_by_task={},
            )
            for task, scores in self.by_task.items()
        }


@dataclass(frozen=True, slots=True)
class Comparison(Displayed):
    """One table: what was compared, on what, and how it came out.

    ``left_out`` maps estimators that were not asked to the reason; ``predicted`` holds the
    trajectories of each row without an error. ``unseen`` says what was set aside from fitting, if anything was:
    the ids under ``train`` and ``test``, and how they were chosen. ``observed`` is how many recorded scores of each
    run the estimators were told after the first. ``ceiling`` is there where runs were repeated in other orders.
    """

    recording: str
    metric: MetricInfo
    rows: tuple[ScoreRow, ...]
    held_out: HeldOut
    predicted: Mapping[str, Float[np.ndarray, "run recorded test"]]
    fit_runs: int
    validation_runs: int
    folds: int | None = None
    seed: int = 42
    left_out: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    figure: Path | None = None
    output: Path | None = None
    unkept: tuple[str, ...] = ()
    """What couldn't be written beside the result, and why."""
    unseen: Mapping[str, Any] | None = None
    observed: int = 0
    ceiling: Ceiling | None = None

    @property
    def runs(self) -> int:
        """How many runs were held out."""
        return len(self.held_out.names)


@dataclass(frozen=True, slots=True)
class _Scored:
    """The values of one estimator, each score in each bootstrap draw, and the values of each task of a mixture."""

    values: Mapping[str, Value]
    draws: Mapping[str, Float[np.ndarray, " draw"]]
    by_task: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)


def score_rows(
    held_out: HeldOut,
    outcomes: list[Predictions],
    seed: int = 42,
    against: str | None = None,
    ceiling: Ceiling | None = None,
) -> tuple[ScoreRow, ...]:
    """A row for every outcome, all scored under the same bootstrap draws, with marks where one clearly leads.

    Args:
        held_out: the recorded runs, and the mean of those fitted.
        outcomes: what each estimator predicted, or its error.
        seed: of the draws.
        against: the label of the row whose squared errors others are held against, by default the one of the least
            among
            those that aren't an oracle's.
        ceiling: of the order noise, drawn by the same seed; None where runs weren't repeated.
    """
    draws, freedom = held_out.sampling.draws(seed), held_out.independent - 1
    weights = draws.units
    scored = {o.estimator: _score(held_out, o.predicted, weights) for o in outcomes if o.predicted is not None}
    ranked = {o.estimator: scored[o.estimator] for o in outcomes if o.estimator in scored and not o.oracle}
    leaders = _leaders(ranked, held_out.sampling) if held_out.independent >= FEWEST_CLEAR else {}
    predicted = {o.estimator: o.predicted for o in outcomes if o.predicted is not None}
    over = against if against in predicted else None
    more = excesses(
        predicted,
        held_out.recorded,
        weights,
        rivals=ranked.keys(),
        over=over,
        freedom=freedom,
        fewest=FEWEST_CLEAR,
    )
    rows = []
    for outcome in outcomes:
        row = replace(_unscored_row(held_out, outcome, draws), excess=more.get(outcome.estimator))
        if outcome.estimator in scored:
            best = frozenset(name for name, leader in leaders.items() if leader == outcome.estimator)
            own = scored[outcome.estimator]
            shares = _shares(own, held_out.sampling, ceiling)
            at = pointwise.skill_by_step(
                predicted[outcome.estimator], held_out.recorded, held_out.mean_run, held_out.steps
            )
            row = replace(row, scores=own.values, best=best, by_task=own.by_task, shares=shares, skill_by_step=at)
            if held_out.removals is not None:
                mine = predicted[outcome.estimator]
                changes = removal_scores(held_out.removals, mine, held_out.recorded, seed, outcome.changes)
                row = replace(row, removals=changes)
        rows.append(row)
    return tuple(rows)


def _unscored_row(held_out: HeldOut, outcome: Predictions, draws: RunDraws) -> ScoreRow:
    """What is known of an estimator without its errors: what it is, what it took, and what its intervals hold."""
    places = held_out.places() if outcome.intervals else {}
    return ScoreRow(
        outcome.estimator,
        lds_reliable=comparable(held_out.peers) >= RELIABLE_RUNS,
        settings=outcome.settings,
        seconds=outcome.seconds,
        reused=outcome.reused,
        notes=outcome.notes,
        error=outcome.error,
        name=outcome.name or outcome.estimator,
        oracle=outcome.oracle,
        cost=outcome.cost,
        conditions=outcome.conditions,
        encoder=outcome.encoder,
        coverage=coverages(outcome.intervals, held_out.recorded, draws),
        coverage_by_task={
            task: coverages(outcome.intervals, held_out.recorded, draws, own) for task, own in places.items()
        },
    )


def _score(
    held_out: HeldOut, predicted: Float[np.ndarray, "run recorded test"], weights: Float[np.ndarray, "draw run"]
) -> _Scored:
    recorded, mean_run = held_out.recorded, held_out.mean_run
    values: dict[str, Value] = {}
    draws: dict[str, Float[np.ndarray, " draw"]] = {}
    parts = held_out.places()
    whole = list(parts.values()) or [np.arange(recorded.shape[2])]
    for name, score in PER_RUN.items():
        each = pointwise.mean_over_parts([score(predicted[:, :, own], recorded[:, :, own]) for own in whole])
        mean, std = pointwise.mean_and_std(each)
        values[name] = Value(mean, std=std if np.isfinite(std) else None)
        draws[name] = bootstrap.weighted_means(each, weights)
    skill = pointwise.skill(predicted, recorded, mean_run)
    if np.isfinite(skill):
        errors, reference = (pointwise.squared_errors(x, recorded) for x in (predicted, mean_run))
        draws["skill"] = bootstrap.skill_draws(errors, reference, weights)
        values["skill"] = Value(skill, interval=held_out.sampling.interval("skill", skill, draws["skill"]))
    peers = held_out.peers
    if comparable(peers) >= FEWEST_RUNS:
        agreement = lds(predicted, recorded, peers)
        if np.isfinite(agreement):
            draws["lds"] = lds_draws(predicted, recorded, peers, weights)
            values["lds"] = Value(agreement, interval=held_out.sampling.interval("lds", agreement, draws["lds"]))
    by_task = {task: _score(held_out.at(own), predicted[:, :, own], weights).values for task, own in parts.items()}
    return _Scored(values, draws, by_task)


def _shares(scored: _Scored, sampling: Sampling, ceiling: Ceiling | None) -> dict[str, Value]:
    """The shares of the ceilings, with the interval that comes of what is unsure of both."""
    found = {}
    for score, top in {} if ceiling is None else {"skill": ceiling.skill, "lds": ceiling.lds}.items():
        if score not in scored.values or top is None or top <= 0:
            continue
        value = scored.values[score].value / top
        found[score] = Value(value)
        if ceiling is not None and ceiling.doubt is not None and value > 0:
            own = sampling.moved(score, scored.values[score].value, scored.draws[score])
            found[score] = Value(value, interval=ceiling.doubt.of_share(score, value, own))
    return found


def _leaders(scored: Mapping[str, _Scored], sampling: Sampling) -> dict[str, str]:
    """Which estimator leads in each score, where its paired difference to every other excludes zero.

    The one that comes next isn't always the hardest to tell apart: one further off may vary more.
    """
    leaders = {}
    for name in SCORES:
        sign = 1.0 if name in LOWER_IS_BETTER else -1.0
        known = [estimator for estimator in scored if name in scored[estimator].values]
        ranked = sorted(known, key=lambda estimator: sign * scored[estimator].values[name].value)
        if len(ranked) < 2:
            continue
        best, *others = [(scored[one].values[name].value, scored[one].draws[name]) for one in ranked]
        if all(sampling.differs(name, other, best) for other in others):
            leaders[name] = ranked[0]
    return leaders
