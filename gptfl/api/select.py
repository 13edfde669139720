"""Selects the training examples that are predicted to be best to train on."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from gptfl.core import Progress, silent, user_path
from gptfl.errors import UsageError
from gptfl.influence.greedy import SelectionSpec
from gptfl.influence.select import select_from
from gptfl.influence.selection import Selection, spec_of, target_of
from gptfl.influence.targets import InfluenceTarget, check_how
from gptfl.options.base import make
from gptfl.options.influence import SelectOptions
from gptfl.options.signature import takes
from gptfl.report.selection import write_ids
from gptfl.simulation.simulator import FittedSimulator, open_fitted
from gptfl.store.outputs import ResultWriter, check_plain_target
from gptfl.store.workspace import safe_name


@takes(SelectOptions)
def select(
    size: int, simulator: str | Path | None = None, *groups: object, progress: Progress = silent, **options: Any
) -> Selection:
    """Choose ``size`` training examples with the best predicted effect on the metric of some test examples.

    The examples of greatest influence are chosen first, as if effects added up (see ``select_greedily``). Then they are
    exchanged one by one for others as long as the simulator predicts a better outcome of the whole subset (see
    ``improve_by_swaps``). The ids are written, as ``simulate`` and ``verify`` take them for their ``subset``, and the
    result tells what the simulator predicts for training on all of them by the recording's recipe, the mean over
    ``orders`` random orders.

    Args:
        size: how many.
        simulator: its file, by default the one made last.
        groups: options in groups, such as ``gptfl.options.common.InputOptions(workspace="study")``.
        progress: called along the way.
        options: those of ``gptfl select`` (docs/cli.md) by name; ``on`` may be a sequence of test ids.

    Raises ``TypeError`` for a name that is no option, ``UsageError`` for options that make no sense, and ``DataError``
    where files are missing or don't belong together, or the estimator can't tell what is asked.
    """
    all_options = make(SelectOptions, *groups, size=size, simulator=simulator, **options)
    return select_with(all_options, progress=progress)


def select_with(options: SelectOptions, *, progress: Progress = silent) -> Selection:
    """``select`` with all options in one object."""
    selection_options, inputs = options.selection, options.inputs
    check_how(selection_options.how)
    source = open_fitted(
        selection_options.simulator,
        inputs.dynamics,
        inputs.workspace,
        selection_options.estimator,
        selection_options.metric,
        inputs.features,
    )
    spec = spec_of(options, source)
    subject = target_of(selection_options.on, source, spec)
    target = _target(source, subject, spec, options.output)
    selection = select_from(
        source,
        subject,
        spec=spec,
        how=selection_options.how,
        features=inputs.features,
        orders=selection_options.orders,
        seed=options.seed,
        progress=progress,
    )
    writer = ResultWriter(replace(selection, output=target))
    writer.write("output", lambda known: write_ids(known, target))
    return writer.finish()


def _target(source: FittedSimulator, subject: InfluenceTarget, spec: SelectionSpec, output: str | Path | None) -> Path:
    name = f"{source.recording.stem}.{source.found.estimator}.{source.metric.name}.{safe_name(subject.name)}"
    own = source.recording.workspace.root / f"{name}.{spec.size}.ids.txt"
    path = own if output is None else user_path(output)
    if path.suffix.lower() != ".txt":
        raise UsageError(f"--output {path} is not a .txt file", "end it in .txt")
    check_plain_target(path, "--output")
    return path
