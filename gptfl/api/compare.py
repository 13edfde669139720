"""Holds every estimator against the same held-out runs."""

from typing import Any

from gptfl.api.writing import check_targets, written
from gptfl.core import Progress, silent
from gptfl.evaluation.compare import compare_held_out
from gptfl.options.base import make
from gptfl.options.evaluation import CompareOptions
from gptfl.options.signature import takes
from gptfl.recording.recording import open_recording
from gptfl.report.comparison import check_format, write_table
from gptfl.report.comparison_plot import draw_comparison
from gptfl.scores.comparison import Comparison


@takes(CompareOptions)
def compare(*groups: object, progress: Progress = silent, **options: Any) -> Comparison:
    """Fit every estimator to the same runs and score what it predicts for the held-out ones: a row for each.

    Persistence, mean-run and, where there are classes, class-share are always among them. Without ``features`` and
    ``encoder`` each gets the features of the encoder that it prefers, else those made last. Runs that diverged take no
    part, and are named, unless ``keep_diverged``. Where ``unseen`` sets test examples aside, they alone are scored. Fits
    whose inputs and settings match are taken from the workspace. An estimator that fails, or that can't answer about
    unseen examples, is a row with the reason.

    Args:
        groups: options in groups, such as ``gptfl.options.simulation.LearningOptions(every=2)``.
        progress: called along the way.
        options: those of ``gptfl compare`` (docs/cli.md) by name. ``settings`` may map an estimator's name to settings for
            each of its rows. ``figure`` is a .png, True for the default place in the workspace, as by default, or False
            for none. No ``estimators``, an empty sequence, are the naive ones alone. Sweeps are ``gptfl.sweep`` and
            ``gptfl.learning_curve``.

    Raises ``TypeError`` for a name that is no option, ``UsageError`` for a value that makes no sense, and ``DataError``
    where no run is held out or too few are left to fit, where a named estimator lacks what it needs, or where ``output``
    or ``figure`` would overwrite a file of another type.
    """
    return compare_with(make(CompareOptions, *groups, **options), progress=progress)


def compare_with(options: CompareOptions, *, progress: Progress = silent) -> Comparison:
    """``compare`` with all options in one object; it sweeps over nothing."""
    inputs, learning, output = options.inputs, options.learning, options.output
    check_targets(output, options.figure, check_format)
    recording = open_recording(inputs.dynamics, inputs.workspace, learning.every, learning.keep_diverged)
    comparison = compare_held_out(recording, options, progress)
    usual = recording.workspace.root / f"{recording.stem}.{comparison.metric.name}.comparison.png"
    return written(comparison, output, options.figure, usual, write_table, draw_comparison)
