"""Asks a simulator what training on other examples, or in another order, would have done."""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from gptfl.api.writing import is_named, picture_at
from gptfl.core import Progress, fingerprint, silent, user_path
from gptfl.errors import UsageError
from gptfl.options.base import make
from gptfl.options.common import Ids
from gptfl.options.signature import takes
from gptfl.options.simulation import NewExampleOptions, SimulateOptions, one_subset
from gptfl.plugins.settings import utf8
from gptfl.report.simulation import draw_simulation
from gptfl.simulation.counterfactual import Counterfactual, SimulationRequest, counterfactual_of, overrides_of
from gptfl.simulation.many import SubsetSimulations, simulate_subsets
from gptfl.simulation.outcome import Simulation
from gptfl.simulation.reference import OtherSubset, trust_of
from gptfl.simulation.simulate import answered, request_of
from gptfl.simulation.simulator import FittedSimulator, open_fitted, with_new_examples
from gptfl.store.kinds import PREDICTIONS
from gptfl.store.outputs import ResultWriter, check_target
from gptfl.store.predictions import PredictionFile, write_predictions
from gptfl.store.simulators import SimulatorFile


@takes(SimulateOptions)
def simulate(
    simulator: str | Path | None = None,
    *groups: object,
    subset: Ids | None = None,
    progress: Progress = silent,
    **options: Any,
) -> Simulation:
    """Predict every test example's trajectory for a curriculum; write predictions and a figure.

    Without ``subset``, ``drop`` and ``curriculum`` the held-out runs are simulated. A subset is trained on as the
    recording was (its steps, batch size and learning rates, cycling through fresh shuffles) unless options say otherwise.
    Effects are against the average recorded run (as ``mean-run`` learns it) at the same step, or at its last step where it
    isn't known that far, or against training on the subset ``against``; those of ``drop`` against the whole pool.

    Args:
        simulator: its file, by default the one made last.
        groups: options in groups, such as ``gptfl.options.simulation.NewExampleOptions(new_train="new.jsonl")``.
        subset: what to train on: a file of ids, or the ids; ``drop`` and ``against`` take the same.
        progress: called along the way.
        options: those of ``gptfl simulate`` (docs/cli.md) by name. ``figure`` is a path, True for a picture beside the
            predictions, as by default, or False for none. See ``with_observed`` and ``read_new_examples`` for the files
            ``observe``, ``new_train`` and ``new_test``.

    Raises ``TypeError`` for a name that is no option, ``UsageError`` for options that don't go together, and
    ``DataError`` where a file is missing or malformed, where simulator and recording don't belong together, or the
    estimator can't answer.
    """
    named = {"simulator": simulator, "subset": one_subset(subset)}
    return simulate_with(make(SimulateOptions, *groups, **named, **options), progress=progress)


def simulate_with(
    options: SimulateOptions,
    *,
    progress: Progress = silent,
    draw: Callable[[Simulation, Path], None] = draw_simulation,
) -> Simulation:
    """``simulate`` with all options in one object, of which at most one says on which subset to train.

    ``draw`` writes the picture.
    """
    run, new, inputs, seed = options.run, options.new, options.inputs, options.seed
    against, observe, output, figure = options.against, options.observe, options.output, options.figure
    choice = counterfactual_of(run)
    choice.check()
    _check_new(choice, new)
    known = open_fitted(
        inputs.simulator, inputs.dynamics, inputs.workspace, options.estimator, options.metric, inputs.features
    )
    source = known
    if new.new_train is not None or new.new_test is not None:
        from gptfl.recording.new_examples import read_new_examples  # with all that reads examples

        examples = read_new_examples(
            new.new_train, new.new_test, known.recording.dynamics, known.metric, known.recording.registry
        )
        source = with_new_examples(known, examples, inputs.features, new.model, progress)
    request = request_of(source, choice, observe, seed)
    other = OtherSubset.compared(source, choice, against)
    # Whatever asks for the same curricula against the same is the same question.
    plain = request.recorded is not None and against is None and source.new is None
    key = "" if plain else _key(source, request, None if other is None else other.members)
    target = user_path(output) if output is not None else source.output(key)
    picture = picture_at(figure, target.parent / f"{target.name.removesuffix('.h5')}.png")
    if output is not None:
        check_target(target, PREDICTIONS)
    count = len(request.labels)
    progress("simulate", 0, count, request.what)
    result = answered(source, request, other, seed, trust_of(known))
    progress("simulate", count, count, request.what)
    result = replace(result, predictions=target, figure=picture)
    settings = {
        "what": utf8(request.what),
        "against": utf8(result.reference.what),
        "orders": request.orders,
        "seed": seed,
        **asdict(choice.overrides),
    }
    if observe is not None:
        settings["observe"] = utf8(observe)
    if source.new is not None:
        ids = {"new_train": [one.id for one in source.new.pool], "new_test": [one.id for one in source.new.test]}
        settings |= ids
    writer = ResultWriter(result)
    file = _file_of(result, source.found, settings | {"notes": list(result.notes)})
    writer.write("predictions", lambda _: write_predictions(target, file))
    if picture is not None:
        is_required = is_named(figure)
        writer.draw("figure", lambda known: draw(known, picture), required=is_required)
    return writer.finish()


def simulate_many_with(
    options: SimulateOptions, *, progress: Progress = silent, opened: FittedSimulator | None = None
) -> SubsetSimulations:
    """What training on each of the subsets would end at, in one pass; nothing is written.

    ``opened`` is the simulator where it was read already. Only what holds for every subset is looked at: the orders, the
    seed and the changes to the recorded recipe.
    """
    run, inputs = options.run, options.inputs
    overrides = overrides_of(run)
    overrides.check()
    source = opened or open_fitted(
        inputs.simulator, inputs.dynamics, inputs.workspace, options.estimator, options.metric, inputs.features
    )
    found = simulate_subsets(source, run.subset, run.orders or 1, overrides, options.seed, progress)
    return replace(found, notes=(*found.notes, trust_of(source).note))


def _key(source: FittedSimulator, request: SimulationRequest, other: Int[np.ndarray, " subset"] | None) -> str:
    query, new = request.query, source.new
    added = (
        () if new is None else ([[e.id, e.digest] for e in new.pool], [[e.id, e.digest] for e in new.test], new.first)
    )
    against = None if other is None else other.tolist()
    # A question without observed scores keeps the key that it had before there were any.
    observed = () if query.observed is None else (query.first, query.observed)
    return fingerprint(query.batches, query.learning_rates, query.steps, against, *added, *observed)


def _check_new(choice: Counterfactual, new: NewExampleOptions) -> None:
    if new.new_train is not None and not choice.given():
        raise UsageError(
            f"--new-train {new.new_train} adds examples, but nothing says to train on them",
            "name them beside the pool's in --subset or --curriculum, or give --drop",
        )
    if new.model is not None and new.new_test is None:
        raise UsageError(
            f"--model {new.model} measures the first scores of --new-test", "leave it out, or give --new-test"
        )


def _file_of(result: Simulation, found: SimulatorFile, settings: dict[str, Any]) -> PredictionFile:
    query, prediction = result.request.query, result.prediction
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
