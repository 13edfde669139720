"""Asks a simulator what training on other examples, or in another order, would have done."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from gptfl.core import Progress, fingerprint, silent, user_path
from gptfl.core.curriculum import check_seed
from gptfl.errors import UsageError
from gptfl.plugins.settings import utf8
from gptfl.report.pictures import check_picture, save_figure
from gptfl.report.simulation import figure_of_simulation
from gptfl.scores import pointwise
from gptfl.simulation.counterfactual import Counterfactual, Ids, SimulationRequest
from gptfl.simulation.new_examples import read_new_examples
from gptfl.simulation.outcome import (
    Simulation,
)
from gptfl.simulation.reference import trust_of
from gptfl.simulation.schedule import Overrides
from gptfl.simulation.simulate import answered, request_of
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
    figure: str | Path | bool | None = True,
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
    only for examples that it wasn't fitted to. ``figure`` is a path, True for a picture beside the predictions, or False for none.

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
    asked = request_of(source, choice, observe, seed)
    rival = None if against is None else source.pool.select(against, "--against")
    # Whatever asks for the same curricula against the same is the same question.
    plain = asked.recorded is not None and against is None and source.new is None
    key = "" if plain else _key(source, asked, rival)
    target = user_path(output) if output is not None else source.output(key)
    picture = _picture(figure, target)
    if output is not None:
        check_target(target, PREDICTIONS)
    count = len(asked.labels)
    progress("simulate", 0, count, asked.what)
    result = answered(source, asked, against, orders, seed, trust_of(known))
    progress("simulate", count, count, asked.what)
    result = replace(result, predictions=target, figure=picture)
    settings = {
        "what": utf8(asked.what),
        "against": utf8(result.reference.what),
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
    file = _file_of(result, source.found, settings | {"notes": list(result.notes)})
    keeping.write("predictions", lambda _: write_predictions(target, file))
    if picture is not None:
        asked_for = isinstance(figure, str | Path)
        keeping.draw("figure", lambda known: save_figure(figure_of_simulation(known), picture), asked=asked_for)
    return keeping.settled()


def _picture(figure: str | Path | bool | None, target: Path) -> Path | None:
    """Where the picture goes: to a path, beside the predictions, or nowhere."""
    if figure is False:
        return None
    beside = target.with_name(target.name.removesuffix(".h5") + ".png")
    picture = beside if figure is None or figure is True else user_path(figure)
    check_picture(picture)
    check_plain_target(picture, "--figure")
    return picture


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


def _file_of(result: Simulation, found: SimulatorFile, settings: dict[str, Any]) -> PredictionFile:
    query, prediction = result.asked.query, result.prediction
    return PredictionFile(
        estimator=result.estimator,
        metric=result.metric,
        labels=result.labels,
        batches=query.batches,
        learning_rates=query.learning_rates,
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
