"""Asks a simulator what training on other examples, or in another order, would have done."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import Prediction, Progress, fingerprint, silent, user_path
from gptfl.core.curriculum import check_seed
from gptfl.core.imported import is_imported
from gptfl.errors import UsageError
from gptfl.estimators.average import mean_over_runs
from gptfl.plugins.settings import utf8
from gptfl.report.comparison_plot import check_picture
from gptfl.report.simulation import draw_simulation
from gptfl.scores import pointwise
from gptfl.simulation.caveats import beyond_note, novelty_note, range_note, share_note
from gptfl.simulation.counterfactual import Counterfactual, Ids, SimulationRequest
from gptfl.simulation.new_examples import read_new_examples
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
from gptfl.simulation.reference import Trust, against_average, held_out_trust, other_subset
from gptfl.simulation.schedule import Overrides
from gptfl.simulation.simulator import FittedSimulator, open_fitted, with_new_examples
from gptfl.store.kinds import PREDICTIONS
from gptfl.store.outputs import ResultWriter, check_plain_target, check_target
from gptfl.store.predictions import PredictionFile, write_predictions
from gptfl.store.simulators import SimulatorFile

_SCORES = (pointwise.all_steps_mse, pointwise.final_spearman)


def simulate(
    simulator: str | Path | None = None,
    *,
    dynamics: str | Path | None = None,
    workspace: str | Path | None = None,
    subset: Ids | None = None,
    drop: Ids | None = None,
    curriculum: str | Path | None = None,
    orders: int = 1,
    epochs: float | None = None,
    steps: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    against: Ids | None = None,
    observe: str | Path | None = None,
    new_train: str | Path | None = None,
    new_test: str | Path | None = None,
    model: str | None = None,
    features: str | Path | None = None,
    metric: str | None = None,
    estimator: str | None = None,
    seed: int = 42,
    output: str | Path | None = None,
    figure: str | Path | None = None,
    progress: Progress = silent,
) -> Simulation:
    """Predict every test example's trajectory for a curriculum; write predictions and a figure.

    ``subset`` and ``drop`` (the pool without these) are files of ids, or sequences of ids; ``curriculum`` is
    a file of batches; with none of them, the held-out runs are simulated. A subset is trained on as the
    recording was (its steps, batch size and learning rates, cycling through fresh shuffles) unless
    ``epochs``, ``steps``, ``batch_size`` or ``lr`` say otherwise, in ``orders`` random orders.
    Effects are against the average recorded run (as ``mean-run`` learns it) at the same step, or at its last step
    where it isn't known that far, or against training on the subset ``against``.

    ``observe`` is a file of scores that were recorded of this very run so far (see ``with_observed``), for estimators
    that go on from them.

    ``new_train`` and ``new_test`` are files of examples that the recording lacks, one JSON object a line (see
    ``read_new_examples``); those to train on may then be named like the pool's. The first scores of new test examples
    are in their file, or measured with ``model``, which must be the one recorded. Their vectors come from the
    encoder that the simulator's ``features`` are by; these are looked for in the workspace unless named, and needed
    only for examples that it wasn't fitted to.

    Raises ``UsageError`` for options that don't go together, and ``DataError`` where a file is missing or
    malformed, where simulator and recording don't belong together, or the estimator can't answer.
    """
    check_seed(seed)
    choice = Counterfactual(subset, drop, curriculum, orders, Overrides(epochs, steps, batch_size, lr))
    choice.check()
    _check_new(choice, new_train, new_test, model)
    known = open_fitted(simulator, dynamics, workspace, estimator, metric, features)
    source = known
    if new_train is not None or new_test is not None:
        new = read_new_examples(new_train, new_test, known.recording.dynamics, known.metric)
        source = with_new_examples(known, new, features, model, progress)
    asked = choice.ask(source, seed)
    if observe is not None:
        check_observing(source, observe)
        asked = with_observed(source, asked, observe)
    rival = None if against is None else source.pool.select(against, "--against")
    # Whatever asks for the same curricula against the same is the same question.
    plain = asked.recorded is not None and against is None and source.new is None
    key = "" if plain else _key(source, asked, rival)
    target = user_path(output) if output is not None else source.output(key)
    picture = target.with_name(target.name.removesuffix(".h5") + ".png") if figure is None else user_path(figure)
    check_picture(picture)
    if output is not None:
        check_target(target, PREDICTIONS)
    check_plain_target(picture, "--figure")
    count = len(asked.labels)
    progress("simulate", 0, count, asked.what)
    prediction = source.ask(asked.query)
    if against is None or rival is None:
        versus = against_average(source, asked)
    else:
        versus = other_subset(source, against, rival, asked, orders, seed)
    progress("simulate", count, count, asked.what)
    result = _summarise(source, asked, prediction, versus, held_out_trust(known), target, picture)
    settings = {
        "what": utf8(asked.what),
        "against": utf8(versus.what),
        "orders": orders,
        "seed": seed,
        **asdict(choice.overrides),
    }
    if observe is not None:
        settings["observe"] = utf8(observe)
    if source.new is not None:
        ids = {"new_train": [one.id for one in source.new.pool], "new_test": [one.id for one in source.new.test]}
        settings |= ids
    keeping = ResultWriter(result)
    file = _file_of(result, asked, prediction, source.found, settings | {"notes": list(result.notes)})
    keeping.write("predictions", lambda _: write_predictions(target, file))
    keeping.draw("figure", lambda _: _draw(picture, result, asked, prediction, versus), asked=figure is not None)
    return keeping.settled()


def _draw(
    picture: Path, result: Simulation, asked: SimulationRequest, prediction: Prediction, versus: Reference
) -> None:
    shown = [
        (change.id, result.tests.index(change.id), word)
        for word, changes in (("helped", result.helped), ("hurt", result.hurt))
        for change in changes[:2]
    ]
    draw_simulation(
        picture,
        steps=result.steps,
        values=result.values,
        # Of what is 0 or 1 the prediction is the probability, and bounds would say it again more roughly.
        intervals={} if result.binary else prediction.intervals,
        reference=versus.values,
        recorded=asked.recorded,
        shown=shown,
        title=f"{result.estimator}: {asked.what}",
        against=versus.what,
        metric=result.metric,
        observed=asked.query.observed,
    )


def _key(source: FittedSimulator, asked: SimulationRequest, rival: Int[np.ndarray, " subset"] | None) -> str:
    query, new = asked.query, source.new
    added = (
        () if new is None else ([[e.id, e.digest] for e in new.pool], [[e.id, e.digest] for e in new.test], new.first)
    )
    against = None if rival is None else rival.tolist()
    # A question without observed scores keeps the key that it had before there were any.
    told = () if query.observed is None else (query.first, query.observed)
    return fingerprint(query.batches, query.learning_rates, query.steps, against, *added, *told)


def _check_new(
    choice: Counterfactual,
    new_train: str | Path | None,
    new_test: str | Path | None,
    model: str | None,
) -> None:
    if new_train is not None and not choice.given():
        raise UsageError(
            f"--new-train {new_train} adds examples, but nothing says to train on them",
            "name them beside the pool's in --subset or --curriculum, or give --drop",
        )
    if model is not None and new_test is None:
        raise UsageError(f"--model {model} measures the first scores of --new-test", "leave it out, or give --new-test")


def _beyond_note(source: FittedSimulator, final: Float[np.ndarray, " test"], step: int) -> tuple[str, ...]:
    """As ``beyond_note``, of the test examples that were recorded."""
    dynamics = source.recording.dynamics
    return beyond_note(final[: len(dynamics.test)], dynamics, source.metric, step)


def _summarise(
    source: FittedSimulator,
    asked: SimulationRequest,
    prediction: Prediction,
    reference: Reference,
    trust: Trust,
    target: Path,
    picture: Path,
) -> Simulation:
    tests = tuple(example.id for example in source.scope.test)
    marks = source.marks()
    last = prediction.values[:, -1].astype(np.float64)
    final = mean_over(last)
    # A run may lack the last score of some test examples.
    recorded = None if asked.recorded is None else mean_over_runs(asked.recorded[:, -1:])[0]
    helped, hurt = most_changed(tests, final, reference.final, source.metric, recorded)
    return Simulation(
        estimator=source.found.estimator,
        metric=source.metric,
        what=asked.what,
        reference=reference,
        labels=asked.labels,
        tests=tests,
        steps=asked.query.steps,
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
        predictions=target,
        figure=picture,
        notes=(
            *source.notes,
            *source.recording.notes,
            *_unseen_notes(source, asked),
            *asked.notes,
            *reference.notes,
            *share_note(source.world, asked.query.batches),
            *novelty_note(prediction.novelty),
            *range_note(final, source.metric),
            *(() if asked.recorded is not None else _beyond_note(source, final, int(asked.query.steps[-1]))),
            *((trust.note,) if asked.recorded is None else ()),
        ),
        marks=marks if any(marks) else (),
        groups=_groups(asked, prediction, marks),
        intervals={
            level: (mean_over(low[:, -1]), mean_over(high[:, -1]))
            for level, (low, high) in sorted(prediction.intervals.items())
        },
        novelty=prediction.novelty,
        imported=is_imported(source.recording.dynamics.settings),
        binary=source.recording.dynamics.is_binary(source.metric),
    )


def _unseen_notes(source: FittedSimulator, asked: SimulationRequest) -> tuple[str, ...]:
    """What of a question the simulator wasn't fitted to."""
    notes: tuple[str, ...] = ()
    recording, batches = source.recording, asked.query.batches
    if recording.aside is not None:
        notes += (f"the simulator was fitted without {recording.aside.told(recording.dynamics)}",)
    used = np.unique(batches[batches >= 0])
    strange = int((source.scope.pool_seen[used] < 0).sum())
    if strange:
        notes += (f"{strange} of the {len(used)} examples trained on are ones that the simulator was not fitted to",)
    if asked.recorded is not None and source.new is not None:
        notes += ("what was recorded is of the recording's test examples, without the new ones",)
    return notes


def _groups(asked: SimulationRequest, prediction: Prediction, marks: tuple[str, ...]) -> tuple[ExampleGroup, ...]:
    """The scores of seen and of unseen test examples, where there are both held-out runs and something unseen."""
    groups = []
    for name, mark in (("seen", ""), ("unseen", "unseen")):
        places = np.array([place for place, one in enumerate(marks) if one == mark], dtype=np.int64)
        if asked.recorded is None or "unseen" not in marks or len(places) == 0:
            continue
        pair = prediction.values[:, :, places].astype(np.float64), asked.recorded[:, :, places].astype(np.float64)
        mse, rho = (pointwise.mean_and_std(score(*pair))[0] for score in _SCORES)
        groups.append(ExampleGroup(name, len(places), mse, rho))
    return tuple(groups)


def _file_of(
    result: Simulation, asked: SimulationRequest, prediction: Prediction, found: SimulatorFile, settings: dict[str, Any]
) -> PredictionFile:
    return PredictionFile(
        estimator=result.estimator,
        metric=result.metric,
        labels=result.labels,
        batches=asked.query.batches,
        learning_rates=asked.query.learning_rates,
        steps=result.steps,
        values=result.values,
        reference=result.reference.values,
        against=utf8(result.reference.what),
        dynamics=found.dynamics,
        simulator=found.key,
        intervals=prediction.intervals,
        settings=settings,
        novelty=prediction.novelty,
    )
