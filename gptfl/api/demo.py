"""The recommended road on a small scale: a built-in model, a built-in task, every stage, and what they come to."""

import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptfl.api.compare import compare
from gptfl.api.rank import rank
from gptfl.api.report import write_report
from gptfl.api.verify import verify
from gptfl.core import Progress, silent, user_path
from gptfl.designs.identification import contrast_subset
from gptfl.errors import DataError
from gptfl.features.featurize import featurize
from gptfl.interruption import leaving
from gptfl.options.base import make
from gptfl.options.common import DemoOptions
from gptfl.options.files import typed
from gptfl.options.signature import takes
from gptfl.recording.collect import collect
from gptfl.recording.resume import KEPT, NONE_KEPT, left_at
from gptfl.scores.comparison import Comparison
from gptfl.simulation.fit import fit
from gptfl.store.durable import cannot_write, part_of, put_in_place
from gptfl.store.recordings import read_dynamics
from gptfl.store.workspace import Workspace, stem_for

if TYPE_CHECKING:
    from gptfl.evaluation.verification import Verification
    from gptfl.influence.ranking import RankResult


LEARNING_RATE = 1e-4
MODEL, TASK = "tiny", "errands"
LEFT_OUT = "price"
"""The question asked: what if a run saw no example of this kind?"""
FOLDER = "gptfl-demo"


@dataclass(frozen=True, slots=True)
class DemoResult:
    """Where everything lies, and what the last stages found."""

    workspace: Path
    subset: Path
    comparison: Comparison
    verification: "Verification"
    ranking: "RankResult"
    page: Path

    @property
    def verdict(self) -> str:
        """What it came to, in one sentence."""
        row = next(row for row in self.comparison.rows if row.estimator == self.verification.estimator)
        found, runs = self.verification, self.comparison.runs
        skill = row.scores["skill"]
        around = "" if skill.interval is None else " [{:.0f}, {:.0f}]".format(*(100 * one for one in skill.interval))
        predicted, recorded, average = found.means()
        parts = [
            f"from {runs} recorded runs {found.estimator} predicts held-out ones with {100 * skill.value:.0f} %{around} "
            "of the average run's squared error gone"
        ]
        if predicted is not None and recorded is not None and average is not None:
            parts.append(
                f"without any example about a {LEFT_OUT} it predicted a mean loss of {predicted:.3g} where training then "
                f"gave {recorded:.3g} (average run {average:.3g})"
            )
        return "; ".join(parts)


@takes(DemoOptions)
def demo(
    workspace: str | Path | None = None,
    *,
    progress: Progress = silent,
    announce: Callable[[str, str, float], None] | None = None,
    **options: Any,
) -> DemoResult:
    """Go the recommended road on the built-in model and task: a minute or two on two cores.

    Args:
        workspace: ``gptfl-demo`` in the current folder unless given. Runs and features that are there already aren't made again.
        progress: called along the way.
        announce: gets each stage's name, what it made and the seconds it took.
        options: those of ``gptfl demo`` (docs/cli.md) by name: ``pool``, ``test`` and ``runs`` make it a smaller one.

    Raises ``DataError`` where the workspace holds a demo of other sizes.
    """
    return demo_with(make(DemoOptions, workspace=workspace, **options), progress=progress, announce=announce)


def demo_with(
    options: DemoOptions,
    *,
    progress: Progress = silent,
    announce: Callable[[str, str, float], None] | None = None,
) -> DemoResult:
    """``demo`` with all options in one object."""
    root = user_path(options.workspace or FOLDER)
    recording = Workspace(root).dynamics_path(stem_for(TASK, MODEL))

    def left() -> str:
        again = shlex.join(("gptfl", "demo", *typed(replace(options, workspace=root))))
        return f"finished runs are kept, {again} goes on from there" if left_at(recording) == KEPT else NONE_KEPT

    with leaving(left):
        return _demo(options, root, progress, announce)


def _demo(
    options: DemoOptions, root: Path, progress: Progress, announce: Callable[[str, str, float], None] | None
) -> DemoResult:
    @contextmanager
    def stage(name: str) -> Iterator[Callable[[str], None]]:
        started = time.perf_counter()
        made: list[str] = []
        yield made.append
        if announce is not None:
            announce(name, made[0], time.perf_counter() - started)

    with stage("collect") as describe:
        recorded = collect(
            MODEL,
            TASK,
            workspace=root,
            few_runs=True,
            pool=options.pool,
            test=options.test,
            runs=options.runs,
            # The question leaves a whole kind out: only runs on few examples differ by as much.
            subset_size=contrast_subset(options.pool),
            lr=LEARNING_RATE,
            device="cpu",
            progress=progress,
        )
        describe(f"{recorded.runs} runs, {options.test} test examples measured at every step, and gradients of another")
    with stage("featurize") as describe:
        features = featurize("gradients", dynamics=recorded.path, progress=progress)
        describe("the recorded gradients, as vectors of the examples")
    with stage("fit") as describe:
        fitted = fit(dynamics=recorded.path, features=features.path, progress=progress)
        describe(f"{fitted.estimator}, to {fitted.fit_runs} runs")
    with stage("compare") as describe:
        comparison = compare(
            dynamics=recorded.path,
            features=features.path,
            estimators=(fitted.estimator,),
            folds=recorded.runs,
            progress=progress,
        )
        describe("each run held out once and predicted from the others")
    with stage("verify") as describe:
        subset = _subset(root, recorded.path)
        verification = verify(fitted.path, dynamics=recorded.path, subset=subset, progress=progress)
        if verification is None:
            raise DataError("nothing was trained", "run gptfl demo in another --workspace")
        describe(
            f"a training set that was never run, with no example about a {LEFT_OUT}: predicted, then really trained"
        )
    with stage("rank") as describe:
        ranking = rank((fitted.path,), dynamics=recorded.path, progress=progress)
        describe("the influence of every training example, nothing trained")
    with stage("report") as describe:
        page = write_report(
            simulator=fitted.path, dynamics=recorded.path, folds=recorded.runs, workspace=root, progress=progress
        )
        describe("one page of all of it, with a switch for each training example")
    return DemoResult(root, subset, comparison, verification, ranking, page.path)


def _subset(root: Path, recording: Path) -> Path:
    """A file of as many examples as the runs were trained on, none of them of the kind that is left out."""
    dynamics = read_dynamics(recording)
    size = dynamics.settings.subset_size
    members = [one.id for one in dynamics.pool if one.fields.get("kind") != LEFT_OUT][:size]
    path = root / "ids.txt"
    try:
        with part_of(path) as part:
            lines = [f"# {len(members)} examples, none of them about a {LEFT_OUT}", *members, ""]
            part.write_text("\n".join(lines), encoding="utf-8")
            put_in_place(part, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    return path
