"""Predicts runs, then really trains them by the recording's own settings, and holds the one against the other."""

import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from gptfl.api.writing import is_named, picture_at
from gptfl.core import Progress, fingerprint, silent, user_path
from gptfl.errors import UsageError
from gptfl.evaluation.paired import PAIRS, paired_difference, pairing_of
from gptfl.evaluation.verification import Verification
from gptfl.evaluation.verify import TrainingPlan, check_made_here, verified
from gptfl.options.base import make
from gptfl.options.common import Picture
from gptfl.options.evaluation import VerifyOptions
from gptfl.options.signature import takes
from gptfl.plugins.guards import make_executor, workers_of
from gptfl.recording.cost import Announce
from gptfl.report.verification import draw_verification, write_verification
from gptfl.simulation.counterfactual import SimulationRequest, counterfactual_of
from gptfl.simulation.reference import OtherSubset, against_average
from gptfl.simulation.simulator import FittedSimulator, open_fitted
from gptfl.store.outputs import ResultWriter, check_plain_target, check_writable


@takes(VerifyOptions)
def verify(
    simulator: str | Path | None = None,
    *groups: object,
    progress: Progress = silent,
    announce: Announce | None = None,
    **options: Any,
) -> Verification | None:
    """Predict what ``simulate`` would, train the very same batches, and compare: None for ``dry_run``.

    With ``drop`` or ``against`` both sides are trained, in pairs of the same orders, and ``paired`` says whether their
    difference is clear of noise.

    The model is the recording's own, from the same weights, trained by the recording's settings but on one process.

    Args:
        simulator: its file, by default the one made last.
        groups: options in groups, such as ``gptfl.options.simulation.CounterfactualOptions(subset="ids.txt")``.
        progress: called along the way.
        announce: called with the cost before the training starts; ``dry_run=True`` stops there.
        options: those of ``gptfl verify`` (docs/cli.md) by name. One of ``subset``, ``drop`` and ``curriculum`` says what
            to train on; the first two are files of ids, or the ids.

    Raises ``TypeError`` for a name that is no option, ``UsageError`` for options that don't go together, and
    ``DataError`` where the recording was imported, its model or texts can't be had, the estimator can't answer or a
    training diverges.
    """
    all_options = make(VerifyOptions, *groups, simulator=simulator, **options)
    return verify_with(all_options, progress=progress, announce=announce)


def verify_with(
    options: VerifyOptions,
    *,
    progress: Progress = silent,
    announce: Announce | None = None,
    opened: FittedSimulator | None = None,
) -> Verification | None:
    """``verify`` with all options in one object; None for a dry run.

    Args:
        options: which runs to train, and how.
        progress: called along the way.
        announce: called with the cost before the trainings start.
        opened: the simulator where it was read already.

    Raises as ``verify`` does.
    """
    choice, seed, inputs = counterfactual_of(options.run), options.seed, options.inputs
    choice.check()
    if not choice.given():
        raise UsageError("nothing says what to train on", "give --subset, --drop or --curriculum")
    source = opened or open_fitted(
        inputs.simulator, inputs.dynamics, inputs.workspace, options.estimator, options.metric, inputs.features
    )
    check_made_here(source, options.model, options.recipe, options.chat_template)
    other = OtherSubset.compared(source, choice, options.against)
    if choice.curriculum is None:
        choice = replace(choice, orders=choice.orders or (1 if other is None else PAIRS))
    request, pairing = choice.request(source, seed), None
    if other is not None:
        pairing = pairing_of(source, choice, request, other, seed)
        request = pairing.ours
    target, picture = _targets(source, request, options.output, options.figure, other)
    prediction = source.predict(request.query)
    average = against_average(source, request)
    runner = make_executor(source.recording.registry, options.executor, options.executor_set)
    training = TrainingPlan.of(source, request, choice, options, progress, pairing)
    if announce is not None or options.dry_run:
        guess = replace(training.estimate(), workers=workers_of(runner))
        if announce is not None:
            announce(guess)
    if options.dry_run:
        return None
    check_writable(target)
    space = source.recording.workspace
    # What is written elsewhere needs nothing of a workspace that others may only read.
    with space.lock("gptfl verify") if target.parent == space.root else nullcontext():
        started = time.perf_counter()
        runs = training.train(runner, progress)
        seconds = time.perf_counter() - started
    count = len(request.query.batches)
    found = verified(source, request, prediction, average, runs[:count], seconds)
    if pairing is not None:
        sides = (runs[:count], runs[count:])
        found = replace(found, paired=paired_difference(source, pairing, found.predicted, sides))
    found = replace(found, output=target, figure=picture)
    writer = ResultWriter(found)
    if picture is not None:
        writer.draw("figure", lambda known: draw_verification(known, picture), required=is_named(options.figure))
    writer.write("output", lambda known: write_verification(known, target))
    return writer.finish()


def _targets(
    source: FittedSimulator,
    request: SimulationRequest,
    output: str | Path | None,
    figure: Picture,
    other: OtherSubset | None,
) -> tuple[Path, Path | None]:
    """The files to write: the same for whatever trains the same."""
    query = request.query
    against = () if other is None else (other.members.tolist(),)
    key = fingerprint(query.batches, query.learning_rates, query.steps, *against)
    beside = source.output(key)
    name = beside.name.removesuffix(".predictions.h5") + ".verified"
    target = beside.with_name(f"{name}.json") if output is None else user_path(output)
    if target.suffix.lower() != ".json":
        raise UsageError(f"--output {target} is not a .json file", "end it in .json")
    picture = picture_at(figure, target.with_suffix(".png"))
    check_plain_target(target, "--output")
    return target, picture
