"""Answers what training on other examples, or in another order, would have done: numbers, and what they come to."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from gptfl.core import Prediction
from gptfl.estimators.average import mean_over_runs
from gptfl.scores import pointwise
from gptfl.simulation.caveats import beyond_note, novelty_note, range_note, share_note
from gptfl.simulation.counterfactual import Counterfactual, SimulationRequest
from gptfl.simulation.forms import difference_intervals
from gptfl.simulation.observing import check_observing, with_observed
from gptfl.simulation.outcome import (
    ExampleGroup,
    Reference,
    Simulation,
    finite_mean,
    mean_over,
    most_changed,
    spread_of,
)
from gptfl.simulation.reference import OtherSubset, Trust, against_average, against_subset
from gptfl.simulation.simulator import FittedSimulator

_SCORES = (pointwise.all_steps_mse, pointwise.final_spearman)


def _beyond_note(source: FittedSimulator, final: Float[np.ndarray, " test"], step: int) -> tuple[str, ...]:
    """As ``beyond_note``, of the test examples that were recorded."""
    dynamics = source.recording.dynamics
    return beyond_note(final[: len(dynamics.test)], dynamics, source.metric, step)


def request_of(
    source: FittedSimulator, choice: Counterfactual, observe: str | Path | None, seed: int
) -> SimulationRequest:
    """The curricula that are asked about, with what was observed so far.

    Args:
        source: the simulator that is to answer.
        choice: a subset, a drop, batches as given, or the held-out runs.
        observe: file of the scores that a run had so far, None where nothing was observed.
        seed: draws the orders.

    Raises as ``choice.request`` and ``with_observed`` do.
    """
    if observe is not None:
        check_observing(source, observe)
        if choice.orders is None and not choice.every_order:
            choice = replace(choice, orders=1)  # what was observed is of one order
    request = choice.request(source, seed)
    if observe is None:
        return request
    return with_observed(source, request, observe)


def answered(
    source: FittedSimulator,
    request: SimulationRequest,
    other: OtherSubset | None,
    seed: int,
    trust: Trust,
) -> Simulation:
    """What the simulator answers; nothing is written.

    Args:
        source: the simulator.
        request: the curricula.
        other: the subset that the answer is held against, None for the average recorded run.
        seed: draws the orders in which that subset is laid out.
        trust: the simulator's skill on held-out runs.

    Raises ``PluginError`` for a prediction that isn't one.
    """
    prediction = source.predict(request.query)
    versus = against_average(source, request) if other is None else against_subset(source, other, request, seed)
    found = simulated(source, request, prediction, versus, trust)
    if other is None:
        return found
    changes = prediction.values[:, -1].mean(axis=1, dtype=np.float64) - versus.ends
    return replace(found, change_intervals=change_intervals(source, request, other, changes))


def change_intervals(
    source: FittedSimulator, request: SimulationRequest, other: OtherSubset, changes: Float[np.ndarray, " run"]
) -> Mapping[float, tuple[float, float]]:
    """By level, between which bounds the change of the mean lies that a question makes against another subset.

    In the mean over every order. Where some were drawn, what these leave open of that mean is in the bounds, too.
    Nothing of a single order, whose luck isn't known, and where ``difference_intervals`` has nothing.

    Args:
        source: the simulator.
        request: the question.
        other: the subset.
        changes: of the mean over test examples at the last step, in the metric's units: of every order as one, or of
            each that was drawn.
    """
    query = request.query
    if query.observed is not None or (query.typical is None and request.orders < 2):
        return {}
    chance = 0.0 if query.typical is not None else float(changes.std(ddof=1) / np.sqrt(len(changes)))
    members = np.unique(query.batches[query.batches >= 0])
    return difference_intervals(source, request.recipe, members, other.members, float(changes.mean()), chance)


def simulated(
    source: FittedSimulator, request: SimulationRequest, prediction: Prediction, reference: Reference, trust: Trust
) -> Simulation:
    """What a prediction comes to; nothing is written.

    Args:
        source: the simulator.
        request: the curricula that it was asked about.
        prediction: what it answered.
        reference: what the prediction is held against.
        trust: the simulator's skill on held-out runs.
    """
    tests = tuple(example.id for example in source.scope.test)
    marks = source.marks()
    last = prediction.values[:, -1].astype(np.float64)
    final = mean_over(last)
    # A run may lack the last score of some test examples.
    recorded = None if request.recorded is None else mean_over_runs(request.recorded[:, -1:])[0]
    helped, hurt = most_changed(tests, final, reference.final, source.metric, recorded)
    return Simulation(
        estimator=source.found.estimator,
        metric=source.metric,
        what=request.what,
        reference=reference,
        labels=request.labels,
        tests=tests,
        steps=request.query.steps,
        values=prediction.values,
        final=final,
        change=final - reference.final,
        spread=spread_of(last),
        mean_final=float(final.mean()),
        mean_reference=float(reference.final.mean()),
        mean_change=float((final - reference.final).mean()),
        mean_spread=float(spread_of(last.mean(axis=1))),
        helped=helped,
        hurt=hurt,
        recorded=recorded,
        mean_recorded=None if recorded is None else finite_mean(recorded),
        skill=trust.skill,
        trust=trust.text,
        simulator=source.path,
        dynamics=source.recording.path,
        request=request,
        prediction=prediction,
        notes=(
            *source.notes,
            *source.recording.notes,
            *_unseen_notes(source, request),
            *request.notes,
            *reference.notes,
            *_caveats(source, request, prediction, trust),
        ),
        marks=marks if any(marks) else (),
        groups=_groups(request, prediction, marks),
        intervals={
            level: (mean_over(low[:, -1]), mean_over(high[:, -1]))
            for level, (low, high) in sorted(prediction.intervals.items())
        },
        novelty=prediction.novelty,
        imported=source.recording.dynamics.settings.elsewhere,
        binary=source.recording.dynamics.is_binary(source.metric),
        examples=tuple(source.scope.test),
    )


def _caveats(
    source: FittedSimulator, request: SimulationRequest, prediction: Prediction, trust: Trust
) -> tuple[str, ...]:
    """Where a prediction extrapolates, and of a run that wasn't recorded how far to trust it."""
    final = mean_over(prediction.values[:, -1].astype(np.float64))
    notes = (
        *share_note(source.world, request.query.drawn),
        *novelty_note(prediction.novelty),
        *range_note(final, source.metric),
    )
    if request.recorded is not None:
        return notes
    return (*notes, *_beyond_note(source, final, int(request.query.steps[-1])), trust.note)


def _unseen_notes(source: FittedSimulator, request: SimulationRequest) -> tuple[str, ...]:
    """What of a question the simulator wasn't fitted to."""
    notes: tuple[str, ...] = ()
    recording, batches = source.recording, request.query.batches
    if recording.held_out is not None:
        notes += (f"the simulator was fitted without {recording.held_out.described(recording.dynamics)}",)
    used = np.unique(batches[batches >= 0])
    strange = int((source.scope.pool_seen[used] < 0).sum())
    if strange:
        notes += (f"{strange} of the {len(used)} examples trained on are ones that the simulator was not fitted to",)
    if request.recorded is not None and source.new is not None:
        notes += ("what was recorded is of the recording's test examples, without the new ones",)
    return notes


def _groups(request: SimulationRequest, prediction: Prediction, marks: tuple[str, ...]) -> tuple[ExampleGroup, ...]:
    """The scores of seen and of unseen test examples, where there are both held-out runs and something unseen."""
    groups = []
    for name, mark in (("seen", ""), ("unseen", "unseen")):
        places = np.array([place for place, one in enumerate(marks) if one == mark], dtype=np.int64)
        if request.recorded is None or "unseen" not in marks or len(places) == 0:
            continue
        pair = prediction.values[:, :, places].astype(np.float64), request.recorded[:, :, places].astype(np.float64)
        mse, rho = (pointwise.mean_and_std(score(*pair))[0] for score in _SCORES)
        groups.append(ExampleGroup(name, len(places), mse, rho))
    return tuple(groups)
