"""The whole road on a small scale: a built-in model, a built-in task, all five stages."""

import shlex
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gptfl.api.compare import compare
from gptfl.api.simulate import simulate
from gptfl.core import TEST as TEST_ROLE
from gptfl.core import Progress, silent, user_path
from gptfl.errors import DataError
from gptfl.features.featurize import featurize
from gptfl.interruption import leaving
from gptfl.plugins.interfaces import Plan
from gptfl.recording.collect import collect
from gptfl.recording.resume import KEPT, NONE_KEPT, left_at
from gptfl.scores.comparison import Comparison
from gptfl.simulation.fit import fit
from gptfl.store.recordings import read_dynamics
from gptfl.store.workspace import Workspace, stem_for

if TYPE_CHECKING:
    from gptfl.simulation.outcome import Simulation


RUNS, POOL, TEST, SUBSET, STEPS, EVERY, FOLDS, ORDERS = 24, 120, 48, 12, 36, 2, 4, 4
LEARNING_RATE = 1e-4
MODEL, TASK, ENCODER = "tiny", "errands", "tfidf-svd"
LEFT_OUT = "price"
"""The simulated question: what if a run saw no example of this kind?"""


@dataclass(frozen=True, slots=True)
class DemoResult:
    """Where everything lies, and what the last two stages found.

    ``trained_final`` is the mean final metric when the simulated curricula are carried out for real.
    """

    workspace: Path
    subset: Path
    simulation: "Simulation"
    trained_final: float
    comparison: Comparison


def demo(
    workspace: str | Path | None = None,
    *,
    progress: Progress = silent,
    announce: Callable[[str, str, float], None] | None = None,
) -> DemoResult:
    """Run the five stages on the built-in model and task; a few minutes at most on two cores.

    ``workspace`` is a new temporary folder unless given. ``announce`` gets each stage's name, what
    it made and the seconds it took.
    """
    with _root(workspace) as root:
        return _demo(root, progress, announce)


@contextmanager
def _root(workspace: str | Path | None) -> Iterator[Path]:
    """The workspace. A temporary folder goes again where it is empty in the end."""
    root = user_path(workspace) if workspace is not None else Path(tempfile.mkdtemp(prefix="gptfl-demo-"))
    recording = Workspace(root).dynamics_path(stem_for(TASK, MODEL))

    def left() -> str:
        again = f"gptfl demo --workspace {shlex.quote(str(root))} goes on from there"
        return f"finished runs are kept, {again}" if left_at(recording) == KEPT else NONE_KEPT

    try:
        with leaving(left):
            yield root
    finally:
        if workspace is None:
            with suppress(OSError):
                root.rmdir()


def _demo(root: Path, progress: Progress, announce: Callable[[str, str, float], None] | None) -> DemoResult:
    @contextmanager
    def stage(name: str) -> Iterator[Callable[[str], None]]:
        started = time.perf_counter()
        made: list[str] = []
        yield made.append
        if announce is not None:
            announce(name, made[0], time.perf_counter() - started)

    with stage("collect") as tell:
        recorded = collect(
            MODEL,
            TASK,
            workspace=root,
            runs=RUNS,
            pool=POOL,
            test=TEST,
            subset_size=SUBSET,
            steps=STEPS,
            lr=LEARNING_RATE,
            record_every=EVERY,
            device="cpu",
            progress=progress,
        )
        tell(f"{RUNS} runs of {STEPS} steps, each on {SUBSET} of {POOL} examples, {TEST} test examples measured")
    with stage("featurize") as tell:
        features = featurize(ENCODER, dynamics=recorded.path, progress=progress)
        tell(f"{', '.join(map(str, features.dims.values()))} numbers an example by {ENCODER} (needs no download)")
    with stage("fit") as tell:
        fitted = fit(dynamics=recorded.path, features=features.path, progress=progress)
        tell(f"{fitted.estimator} on {fitted.fit_runs} runs, {fitted.validation_runs} to validate")
    with stage("simulate") as tell:
        subset = root / "ids.txt"
        members = [e.id for e in read_dynamics(recorded.path).pool if e.fields.get("kind") != LEFT_OUT][:SUBSET]
        lines = [f"# {SUBSET} examples, none of them about a {LEFT_OUT}", *members, ""]
        subset.write_text("\n".join(lines), encoding="utf-8")
        simulation = simulate(fitted.path, dynamics=recorded.path, subset=subset, orders=ORDERS, progress=progress)
        tell(f"a training set that was never run: no example about a {LEFT_OUT}, {ORDERS} orders")
    with stage("check") as tell:
        trained = train_for_real(simulation, progress)
        tell("the same curricula carried out for real, to see how far to trust the simulation")
    with stage("compare") as tell:
        comparison = compare(dynamics=recorded.path, features=features.path, folds=FOLDS, progress=progress)
        tell(f"every estimator, refitted {FOLDS} times so that each run is held out once")
    return DemoResult(root, subset, simulation, trained, comparison)


def train_for_real(simulation: "Simulation", progress: Progress = silent) -> float:
    """The mean final loss when the curricula of a simulation of the demo are carried out."""
    from gptfl.metrics import Loss
    from gptfl.recording.trainers import TrainerMaker
    from gptfl.store.predictions import read_predictions
    from gptfl.tasks.errands import Errands
    from gptfl.training.trainer import TrainerSettings

    seed = read_dynamics(simulation.dynamics).settings.seed
    trainer = TrainerMaker(
        MODEL, "cpu", Errands().load(POOL, TEST, seed), (Loss(),), TrainerSettings(LEARNING_RATE, record_every=STEPS)
    )()
    if simulation.predictions is None:
        raise DataError("the simulation's predictions were not kept", "simulate again where they can be written")
    curricula = read_predictions(simulation.predictions).batches
    finals = []
    for index, batches in enumerate(curricula):
        run = trainer.run(Plan(index, index, TEST_ROLE, batches), lambda done, total: None)
        finals.append(run.metrics["loss"][-1].mean())
        progress("check", index + 1, len(curricula))
    return float(np.mean(finals))
