"""A recording to hold: opened once, featurized, compared and fitted from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptfl.api.simulator import Simulator, fitted_simulator
from gptfl.core import Dynamics, Example, Progress, Run, silent, user_path
from gptfl.core.display import html_rows
from gptfl.evaluation.compare import compare_held_out
from gptfl.features.result import FeaturizeResult
from gptfl.options.base import assemble, make, shell_names
from gptfl.options.evaluation import CompareOptions
from gptfl.options.recording import CollectOptions
from gptfl.options.signature import takes
from gptfl.options.simulation import FeaturizeOptions, FitOptions
from gptfl.recording.recording import OpenedRecording
from gptfl.recording.recording import open_recording as open_file
from gptfl.recording.result import CollectResult
from gptfl.scores.comparison import Comparison
from gptfl.simulation.fit import fit_options

if TYPE_CHECKING:
    from gptfl.recording.cost import CostEstimate
    from gptfl.recording.next_runs import Choose


_OWN = ("dynamics", "workspace")
_NOT_COMPARED = {*_OWN, "output", "figure", *shell_names(CompareOptions)}
"""The options of commands that a recording's methods don't take."""


class Recording:
    """Recorded runs of one model on one pool: what ``gptfl.collect`` and ``gptfl.open_recording`` give.

    The file is read when it is first needed, and once.
    """

    def __init__(
        self, path: str | Path, workspace: str | Path | None = None, collected: CollectResult | None = None
    ) -> None:
        self.path = user_path(path)
        self.collected = collected
        """What the call of ``gptfl.collect`` came to that this is from."""
        self._workspace = None if workspace is None or workspace == "" else user_path(workspace)

    @cached_property
    def opened(self) -> OpenedRecording:
        """The recording as it was read. Raises ``DataError`` where it can't be."""
        return open_file(self.path, self._workspace)

    @property
    def dynamics(self) -> Dynamics:
        """Examples, metrics, runs and settings."""
        return self.opened.dynamics

    @property
    def pool(self) -> tuple[Example, ...]:
        """The examples that runs train on."""
        return self.dynamics.pool

    @property
    def test(self) -> tuple[Example, ...]:
        """The examples that are measured."""
        return self.dynamics.test

    @property
    def settings(self) -> Mapping[str, Any]:
        """How the runs were made."""
        return self.dynamics.settings

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the recorded metrics."""
        return tuple(self.dynamics.metrics)

    @property
    def runs(self) -> int:
        """How many runs are recorded; ``dynamics.runs`` has them."""
        return len(self.dynamics.runs) if self.collected is None else self.collected.runs

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know of it: of the call that made it, or of the file."""
        return self.opened.notes if self.collected is None else self.collected.notes

    @property
    def estimate(self) -> "CostEstimate | None":
        """What the call that made it was expected to cost."""
        return None if self.collected is None else self.collected.estimate

    @property
    def recorded_now(self) -> int:
        """How many of its runs were recorded by the call that it is from."""
        return 0 if self.collected is None else self.collected.recorded_now

    @property
    def moved(self) -> Mapping[str, tuple[float, float]]:
        """Each metric's mean over runs and test examples at the first and at the last step, by the call that made it."""
        return {} if self.collected is None else self.collected.moved

    def run(self, index: int) -> Run:
        """The run of this number. Raises ``KeyError``."""
        for run in self.dynamics.runs:
            if run.index == index:
                return run
        raise KeyError(index)

    @takes(FeaturizeOptions, _OWN)
    def featurize(self, encoder: str | None = None, *, progress: Progress = silent, **options: Any) -> FeaturizeResult:
        """Embed its examples and write the features: ``gptfl.featurize`` of this recording."""
        from gptfl.features.featurize import featurize_with

        all_options = assemble(FeaturizeOptions, (), {"encoder": encoder, **options}, "featurize", _OWN)
        return featurize_with(replace(all_options, dynamics=self.path, workspace=self._workspace), progress=progress)

    @takes(CompareOptions, _NOT_COMPARED)
    def compare(
        self,
        estimators: str | Sequence[str] | None = None,
        *groups: object,
        progress: Progress = silent,
        **options: Any,
    ) -> Comparison:
        """Hold estimators against the same held-out runs; writes no table and no picture, but keeps fits that took long.

        Args:
            estimators: one or several; all that find what they need, else.
            groups: options in groups, such as ``gptfl.options.simulation.LearningOptions(every=2)``.
            progress: called along the way.
            options: those of ``gptfl.compare`` (docs/cli.md), but for files of the recording and of the result.

        Raises as ``gptfl.compare`` does.
        """
        all_options = assemble(CompareOptions, groups, {"estimators": estimators, **options}, "compare", _NOT_COMPARED)
        learning = all_options.learning
        recording = replace(self.opened, every=learning.every, keep_diverged=learning.keep_diverged)
        return compare_held_out(recording, all_options, progress)

    @takes(FitOptions, {*_OWN, "metrics"})
    def fit(
        self,
        estimator: str | None = None,
        *groups: object,
        metric: str | None = None,
        progress: Progress = silent,
        **options: Any,
    ) -> Simulator:
        """Fit an estimator and write the simulator: ``gptfl.fit`` of this recording.

        Args:
            estimator: its name, None for the default.
            groups: options in groups.
            metric: its name, None for the recording's only one or the loss.
            progress: called along the way.
            options: those of ``gptfl fit`` by name, but for the recording and its workspace.

        Raises as ``gptfl.fit`` does.
        """
        all_options = fit_options(estimator, groups, metric, options, _OWN)
        inputs = replace(all_options.inputs, dynamics=self.path, workspace=self._workspace)
        return fitted_simulator(replace(all_options, inputs=inputs), progress)

    def __repr__(self) -> str:
        return f"Recording({str(self.path)!r})"

    def _repr_html_(self) -> str:
        dynamics = self.dynamics
        rows = {
            "recording": self.path.name,
            "runs": str(len(dynamics.runs)),
            "pool, test": f"{len(dynamics.pool)}, {len(dynamics.test)} examples",
            "metrics": ", ".join(dynamics.metrics),
            "model": dynamics.settings.model,
            "task": dynamics.settings.task,
        }
        return html_rows(rows)


@takes(CollectOptions)
def collect(
    model: str,
    task: str | None = None,
    *groups: object,
    progress: Progress = silent,
    announce: "Callable[[CostEstimate], None] | None" = None,
    **options: Any,
) -> Recording:
    """Fine-tune ``model`` on random subsets of the task's pool and record every test example: the recording to hold.

    The same call again finishes what an interrupted one left.

    Args:
        model: name, Hub id or folder.
        task: name; without it, the examples are one's own: ``data``, ``train`` or ``dataset`` names them.
        groups: options in groups, such as ``gptfl.options.recording.TrainingOptions(lr=1e-4)``.
        progress: called along the way.
        announce: called with the estimate of the cost before the runs start.
        options: those of ``gptfl collect`` (docs/cli.md) by name.

    Raises as ``gptfl.recording.collect.collect`` does.
    """
    from gptfl.recording.collect import record

    all_options = make(CollectOptions, *groups, model=model, task=task, **options)
    result = record(all_options, progress=progress, announce=announce, choose=chooser(all_options, progress))
    return Recording(result.path, all_options.output.workspace, result)


def chooser(options: CollectOptions, progress: Progress = silent) -> "Choose | None":
    """What chooses the runs of ``--next``, from the recording's simulator; None where none are asked for."""
    if options.design.next is None:
        return None
    from gptfl.influence.next_runs import choose_next

    return lambda request: choose_next(request, options.output.workspace, progress)


def open_recording(path: str | Path | None = None, workspace: str | Path | None = None) -> Recording:
    """The recording at a path, else the one made last in the workspace. Raises ``DataError`` where there is none."""
    opened = open_file(path, workspace)
    recording = Recording(opened.path, workspace)
    recording.opened = opened
    return recording
