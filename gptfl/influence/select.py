"""Selects the training examples that are predicted to be best to train on."""

from dataclasses import fields
from pathlib import Path

import numpy as np

from gptfl.core import Classes, Prediction, Progress, classes_of
from gptfl.influence.closed_form import WIDTH
from gptfl.influence.greedy import SelectionSpec
from gptfl.influence.selection import Selection, chosen_of
from gptfl.influence.targets import Influence, InfluenceTarget
from gptfl.simulation.caveats import beyond_note, novelty_note, share_note
from gptfl.simulation.counterfactual import AS_RECORDED, SimulationRequest, subset_request
from gptfl.simulation.outcome import Reference
from gptfl.simulation.reference import against_average, trust_of
from gptfl.simulation.simulator import FittedSimulator

OPTIMISTIC = (
    "the predicted change is optimistic: these examples were chosen because it is large, and what is predicted too well "
    "is chosen first; gptfl verify tells what they come to"
)


def select_from(
    source: FittedSimulator,
    subject: InfluenceTarget,
    spec: SelectionSpec,
    how: str | None,
    features: str | Path | None,
    orders: int,
    seed: int,
    progress: Progress,
) -> Selection:
    """The training examples with the best predicted effect on ``subject``; nothing is written.

    Args:
        source: the simulator.
        subject: the test examples that are to gain.
        spec: how many examples, how diverse, how cautious, and how long to search.
        how: the method of influence, None for the best that the estimator offers.
        features: the file of vectors, None for those in the workspace.
        orders: how many random orders simulated influence and the final prediction take.
        seed: of all that is drawn.
        progress: called along the way.

    Raises ``DataError`` where the estimator has no such influence, ``UsageError`` where the criteria don't go together.
    """
    influence, chosen = chosen_of(
        source, subject, spec, how=how, features=features, orders=orders, seed=seed, progress=progress
    )
    request = subset_request(source, np.sort(np.array(chosen)), False, orders, seed, AS_RECORDED)
    return _selection_of(source, subject, spec, influence, chosen, request, source.predict(request.query))


def _selection_of(
    source: FittedSimulator,
    subject: InfluenceTarget,
    spec: SelectionSpec,
    influence_of_pool: Influence,
    chosen: list[int],
    request: SimulationRequest,
    prediction: Prediction,
) -> Selection:
    """What a choice comes to; nothing is written."""
    average: Reference = against_average(source, request)
    influence = influence_of_pool.influence[chosen]
    half = None if influence_of_pool.spread is None else WIDTH * influence_of_pool.spread[chosen]
    tests = slice(None) if subject.tests is None else subject.tests
    trust = trust_of(source)
    names, classes = Classes(source.scope.pool), classes_of(source.scope.pool)
    final, step = prediction.values[:, -1, tests].mean(axis=0), int(request.query.steps[-1])
    dynamics = source.recording.dynamics
    return Selection(
        recording=source.recording.path.name,
        estimator=source.found.estimator,
        metric=source.metric,
        on=subject.name,
        subject=subject.text,
        how=influence_of_pool.how,
        pool=len(source.scope.pool),
        examples=tuple(source.scope.pool[place] for place in chosen),
        influence=influence,
        low=None if half is None else influence - half,
        high=None if half is None else influence + half,
        step=step,
        predicted=float(final.mean()),
        reference=float(average.final[tests].mean()),
        intervals={
            level: (float(low[:, -1, tests].mean()), float(high[:, -1, tests].mean()))
            for level, (low, high) in sorted(prediction.intervals.items())
            # Of what is 0 or 1 a mean of bounds says nothing of the mean.
            if not dynamics.is_binary(source.metric)
        },
        novelty=None if prediction.novelty is None else float(prediction.novelty.mean()),
        imported=dynamics.settings.elsewhere,
        orders=len(request.labels),
        simulator=source.path,
        notes=(
            *source.notes,
            *source.recording.notes,
            *influence_of_pool.notes,
            *request.notes,
            *average.notes,
            *share_note(source.world, request.query.batches),
            *novelty_note(prediction.novelty),
            *beyond_note(final, dynamics, source.metric, step, tests),
            OPTIMISTIC,
            f"trust in {source.found.estimator}: {trust.text}",
        ),
        criteria={one.name: getattr(spec, one.name) for one in fields(spec) if one.name != "among"},
        class_names=() if classes is None else tuple(names.name(classes[place]) for place in chosen),
        among=None if spec.among is None else len(spec.among),
    )
