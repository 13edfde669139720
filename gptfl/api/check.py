"""Computes what new rows would do to the test examples, before any training."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from gptfl.core import Progress, silent, user_path
from gptfl.influence.additions import Check, added
from gptfl.options.base import make
from gptfl.options.check import CheckOptions
from gptfl.options.signature import takes
from gptfl.recording.new_examples import read_new_examples
from gptfl.report.additions import check_page, write_page
from gptfl.simulation.reference import trust_of
from gptfl.simulation.schedule import recorded_schedule
from gptfl.simulation.simulator import open_fitted, with_new_examples
from gptfl.store.outputs import ResultWriter, check_plain_target


@takes(CheckOptions)
def check(new: str | Path, *groups: object, progress: Progress = silent, **options: Any) -> Check:
    """What adding new training rows does to the mean of the test examples, with interval and novelty.

    Args:
        new: the file of new rows.
        groups: options in groups, such as ``gptfl.options.common.InputOptions(workspace="study")``.
        progress: called along the way.
        options: those of ``gptfl check`` (docs/cli.md) by name.

    Raises ``TypeError`` for a name that is no option, ``UsageError`` for options that make no sense, and ``DataError``
    where files are missing or don't belong together, or the estimator can't tell.
    """
    return check_with(make(CheckOptions, *groups, new=new, **options), progress=progress)


def check_with(options: CheckOptions, *, progress: Progress = silent) -> Check:
    """``check`` with all options in one object. Raises as it does, but for ``TypeError``."""
    target = None if options.output is None else user_path(options.output)
    if target is not None:
        check_page(target)
        check_plain_target(target, "--output")
    inputs = options.inputs
    known = open_fitted(
        options.simulator, inputs.dynamics, inputs.workspace, options.estimator, options.metric, inputs.features
    )
    recording = known.recording
    new = read_new_examples(options.new, None, recording.dynamics, known.metric, recording.registry, "NEW")
    source = with_new_examples(known, new, inputs.features, None, progress)
    result = Check(
        recording=source.recording.path.name,
        estimator=source.found.estimator,
        metric=source.metric,
        step=int(recorded_schedule(source.recording.dynamics, source.metric).grid[-1]),
        rows=len(new.pool),
        additions=added(source, options.by, progress),
        notes=(*source.notes, *source.recording.notes, f"trust in {source.found.estimator}: {trust_of(known).text}"),
    )
    writer = ResultWriter(replace(result, output=target))
    if target is not None:
        writer.write("output", lambda made: write_page(made, target))
    return writer.finish()
