"""Predicts runs, then really trains them by the recording's own settings, and holds the one against the other."""

import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gptfl.core import Progress, fingerprint, silent, user_path
from gptfl.core.curriculum import check_seed
from gptfl.errors import UsageError
from gptfl.evaluation.verification import Verification
from gptfl.plugins.guards import make_executor
from gptfl.plugins.registry import get_registry
from gptfl.recording.cost import Announce
from gptfl.report.pictures import check_picture
from gptfl.report.verification import draw_verification, write_verification
from gptfl.simulation.counterfactual import Counterfactual, Ids, SimulationRequest
from gptfl.simulation.reference import against_average
from gptfl.simulation.schedule import Overrides
from gptfl.simulation.simulator import FittedSimulator, open_fitted
from gptfl.store.outputs import ResultWriter, check_plain_target, check_writable

if TYPE_CHECKING:
    pass


from gptfl.evaluation.verify import TrainingPlan, check_made_here, verified


def verify(
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
    features: str | Path | None = None,
    metric: str | None = None,
    estimator: str | None = None,
    model: str | None = None,
    data: str | Path | None = None,
    device: str = "auto",
    executor: str = "local",
    seed: int = 42,
    dry_run: bool = False,
    output: str | Path | None = None,
    figure: str | Path | None = None,
    progress: Progress = silent,
    announce: Announce | None = None,
) -> Verification | None:
    """Predict what ``simulate`` would for the same options, train the very same batches, and compare.

    One of ``subset``, ``drop`` and ``curriculum`` says what to train on. The model is the recording's own, from the
    same weights (``model`` says where it lies now), trained by the recording's settings but on one process; where the
    recording keeps no texts they come from ``data``. ``announce`` gets the cost first; ``dry_run`` stops there and
    returns None. The numbers, all trajectories among them, go to ``output``, by default in the workspace.

    Raises ``UsageError`` for options that don't go together, and ``DataError`` where the recording was imported, its
    model or texts can't be had, the estimator can't answer or a training diverges.
    """
    check_seed(seed)
    choice = Counterfactual(subset, drop, curriculum, orders, Overrides(epochs, steps, batch_size, lr))
    choice.check()
    if not choice.given():
        raise UsageError("nothing says what to train on", "give --subset, --drop or --curriculum")
    source = open_fitted(simulator, dynamics, workspace, estimator, metric, features)
    check_made_here(source)
    asked = choice.ask(source, seed)
    target, picture = _targets(source, asked, output, figure)
    prediction = source.ask(asked.query)
    average = against_average(source, asked)
    runner = make_executor(get_registry(), executor)
    training = TrainingPlan.of(source, asked, choice, seed, model, data, device, progress)
    if announce is not None or dry_run:
        guess = training.estimate()
        if announce is not None:
            announce(guess)
    if dry_run:
        return None
    check_writable(target)
    space = source.recording.workspace
    # What is written elsewhere needs nothing of a workspace that others may only read.
    with space.lock("gptfl verify") if target.parent == space.root else nullcontext():
        started = time.perf_counter()
        runs = training.carry_out(runner, progress)
        seconds = time.perf_counter() - started
    found = verified(source, asked, prediction, average, runs, seconds)
    found = replace(found, output=target, figure=picture)
    keeping = ResultWriter(found)
    keeping.draw("figure", lambda known: draw_verification(known, picture), asked=figure is not None)
    keeping.write("output", lambda known: write_verification(known, target))
    return keeping.settled()


def _targets(
    source: FittedSimulator, asked: SimulationRequest, output: str | Path | None, figure: str | Path | None
) -> tuple[Path, Path]:
    query = asked.query
    key = fingerprint(query.batches, query.learning_rates, query.steps)
    beside = source.output(key)
    name = beside.name.removesuffix(".predictions.h5") + ".verified"
    target = beside.with_name(f"{name}.json") if output is None else user_path(output)
    if target.suffix.lower() != ".json":
        raise UsageError(f"--output {target} is not a .json file", "end it in .json")
    picture = target.with_suffix(".png") if figure is None else user_path(figure)
    check_picture(picture)
    check_plain_target(target, "--output")
    check_plain_target(picture, "--figure")
    return target, picture
