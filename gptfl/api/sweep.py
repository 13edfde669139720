"""Compares an estimator with itself over a grid of choices, as the paper's ablations do."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gptfl.api.learning_curve import RUNS
from gptfl.api.writing import check_targets, written
from gptfl.core import Progress, silent
from gptfl.errors import DataError, UsageError
from gptfl.evaluation.compare import compare_held_out
from gptfl.features.lookup import FeaturesRead, find_features
from gptfl.options.base import make, shared
from gptfl.options.evaluation import CompareOptions, GridOptions
from gptfl.options.signature import takes
from gptfl.plugins.registry import Registry
from gptfl.plugins.settings import read_axes, read_settings_by_part
from gptfl.recording.recording import choose_metric, open_recording
from gptfl.report.sweep import check_sweep_format, draw_sweep, write_sweep
from gptfl.scores.comparison import Comparison, ScoreRow
from gptfl.scores.sweep import Point, Sweep

EVERY, ENCODER = "every", "encoder"
"""The axes that are no setting of an estimator: which recorded scores, and whose features."""
MOST_POINTS = 200
"""More combinations than this are a slip of the finger: each is a comparison of its own."""


@dataclass
class _Grid:
    """The axes and their values, checked against what there is before any work."""

    axes: Mapping[str, Sequence[Any]]
    estimator: str
    points: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for axis, values in self.axes.items():
            if not values:
                raise UsageError(f"{axis}= names no value", f"write for example {axis}=1,2,3")
            if len(set(map(repr, values))) < len(values):
                raise UsageError(f"{axis} names a value twice", "name each once")
        if not self.axes:
            raise UsageError("nothing says what to vary", "write for example order=1,2,3")
        self.points = [dict(zip(self.axes, values, strict=True)) for values in itertools.product(*self.axes.values())]
        if len(self.points) > MOST_POINTS:
            raise UsageError(f"these are {len(self.points)} combinations", f"ask for at most {MOST_POINTS} at a time")

    def check_settings(self, registry: Registry) -> None:
        """Make the estimator once for each combination: a value that it refuses is told before any work."""
        for point in self.points:
            registry.make("estimator", self.estimator, **settings_of(point))


def settings_of(point: Mapping[str, Any]) -> dict[str, Any]:
    """The axis values of a combination that are settings of the estimator."""
    return {axis: value for axis, value in point.items() if axis not in (EVERY, ENCODER)}


@takes(GridOptions)
def sweep(axes: Mapping[str, Sequence[Any]], *groups: object, progress: Progress = silent, **options: Any) -> Sweep:
    """Compare an estimator, beside the naive ones, at every combination of the axes' values: a point for each.

    Points of different ``every`` are scored at different steps, each against its own mean-run.

    Args:
        axes: values by setting of the estimator, by ``every`` (which recorded scores are used) or by ``encoder`` (whose
            features).
        groups: options in groups, such as ``gptfl.options.common.InputOptions(workspace="study")``.
        progress: called along the way.
        options: those of ``gptfl sweep`` (docs/cli.md) by name; ``settings`` and ``figure`` are as in ``compare``, and
            hold at all points.

    Raises as ``compare`` does, before any work where an axis, a value or the features it needs are wrong.
    """
    return sweep_with(make(GridOptions, *groups, axes=axes, **options), progress=progress)


def sweep_with(options: GridOptions, *, progress: Progress = silent) -> Sweep:
    """``sweep`` with all options in one object."""
    axes, estimator, inputs = read_axes(options.axes), options.estimator, options.inputs
    settings = read_settings_by_part(options.settings)
    check_targets(options.output, options.figure, check_sweep_format)
    if RUNS in axes:
        raise UsageError(f"{RUNS} is no setting", "use gptfl learning-curve, or gptfl.learning_curve")
    grid = _Grid(axes, estimator)
    fixed = dict(settings.get(estimator, {}))
    named = options.encoder is not None or inputs.features is not None
    for axis, clash in ((EVERY, options.every > 1), (ENCODER, named)):
        if axis in axes and clash:
            raise UsageError(f"{axis} is both swept and given", "leave out the one that is fixed")
    twice = sorted(axes.keys() & fixed.keys())
    if twice:
        raise UsageError(f"{twice[0]} is both swept and set", "leave out --set for it")
    recording = open_recording(inputs.dynamics, inputs.workspace)
    grid.check_settings(recording.registry)
    chosen, metric_notes = choose_metric(recording.dynamics, options.metric)
    _check_every(axes.get(EVERY, ()))
    read: FeaturesRead = {
        (None, str(name)): find_features(recording, None, str(name)) for name in axes.get(ENCODER, ())
    }
    points = []
    for number, point in enumerate(grid.points):
        progress("sweep", number, len(grid.points), shown(point))
        own = {**fixed, **settings_of(point)}
        shared_options = shared(options, CompareOptions) | {
            "dynamics": recording.path,
            "workspace": recording.workspace.root,
            "estimators": (estimator,),
            "metric": chosen.name,
            "settings": {**settings, estimator: own} if own else settings,
        }
        if ENCODER in point:
            shared_options["encoder"] = str(point[ENCODER])
        if EVERY in point:
            shared_options["every"] = point[EVERY]
        compared = make(CompareOptions, **shared_options)
        learning = compared.learning
        # Each point's comparison has no notes of how the recording was found.
        same = replace(recording, notes=(), every=learning.every, keep_diverged=learning.keep_diverged)
        comparison = compare_held_out(same, compared, progress, read)
        points.append(Point(point, row_of(comparison, estimator), comparison))
    progress("sweep", len(grid.points), len(grid.points))
    result = Sweep(
        estimator,
        {axis: tuple(values) for axis, values in axes.items()},
        tuple(points),
        notes=(*recording.notes, *metric_notes),
    )
    usual = recording.workspace.root / f"{recording.stem}.{chosen.name}.sweep-{'-'.join(result.axes)}.png"
    return written(result, options.output, options.figure, usual, write_sweep, draw_sweep)


def row_of(comparison: Comparison, estimator: str) -> ScoreRow:
    """The one row of an estimator. Raises ``DataError`` with the reason where it failed."""
    row = next(row for row in comparison.rows if estimator in (row.name, row.estimator))
    if row.error:
        raise DataError(f"{row.estimator} failed: {row.error}", "sweep over other values")
    return row


def shown(point: Mapping[str, Any]) -> str:
    """A combination in a few words."""
    return ", ".join(f"{axis}={value}" for axis, value in point.items())


def _check_every(values: Sequence[Any]) -> None:
    for value in values:
        if type(value) is not int or value < 1:
            raise UsageError(f"every={value}", "give whole numbers of at least 1")
