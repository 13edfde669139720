"""Selects the training examples that are predicted to be best to train on."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from gptfl.api.writing import is_named, picture_at
from gptfl.core import Progress, silent, user_path
from gptfl.errors import UsageError
from gptfl.influence.choices import Choice, choose
from gptfl.influence.selection import Selection
from gptfl.options.base import make
from gptfl.options.influence import SelectOptions
from gptfl.options.signature import takes
from gptfl.report.choices import Chosen, draw_chosen, write_chosen_ids
from gptfl.simulation.simulator import FittedSimulator, open_fitted
from gptfl.store.outputs import ResultWriter, check_plain_target
from gptfl.store.workspace import safe_name


@takes(SelectOptions)
def select(
    size: int, simulator: str | Path | None = None, *groups: object, progress: Progress = silent, **options: Any
) -> Chosen:
    """Choose ``size`` training examples with the best predicted effect on the metric of some test examples.

    The examples of greatest influence are chosen first, as if effects added up (see ``select_greedily``). Then they are
    exchanged one by one for others as long as the simulator predicts a better outcome of the whole subset (see
    ``improve_by_swaps``). The ids are written, as ``simulate`` and ``verify`` take them for their ``subset``, and the
    result tells what the simulator predicts for training on all of them by the recording's recipe, the mean over
    ``orders`` random orders.

    With ``keep``, the test examples that must not get worse, the result is a ``Frontier``: subsets for several weights of
    both sides, of which none is better than another for both. With ``by`` it is a ``MixtureSelection``: how many rows of each group,
    drawn at random. The ids written are those of one point, or of one draw.

    Args:
        size: how many.
        simulator: its file, by default the one made last.
        groups: options in groups, such as ``gptfl.options.common.InputOptions(workspace="study")``.
        progress: called along the way.
        options: those of ``gptfl select`` (docs/cli.md) by name; ``on`` and ``keep`` may be sequences of
            test ids.

    Raises ``TypeError`` for a name that is no option, ``UsageError`` for options that make no sense, and ``DataError``
    where files are missing or don't belong together, or the estimator can't tell what is asked.
    """
    all_options = make(SelectOptions, *groups, size=size, simulator=simulator, **options)
    return select_with(all_options, progress=progress)


def select_with(options: SelectOptions, *, progress: Progress = silent) -> Chosen:
    """``select`` with all options in one object."""
    selection, inputs = options.selection, options.inputs
    source = open_fitted(
        selection.simulator,
        inputs.dynamics,
        inputs.workspace,
        selection.estimator,
        selection.metric,
        inputs.features,
    )
    choice = Choice.of(options, source)
    target, picture = _target(source, choice), _picture(source, choice)
    found = choose(source, choice, inputs.features, progress)
    if isinstance(found, Selection):
        writer: ResultWriter[Any] = ResultWriter(replace(found, output=target))
    else:
        writer = ResultWriter(replace(found, output=target, figure=picture))
        if picture is not None:
            writer.draw("figure", lambda known: draw_chosen(known, picture), required=is_named(options.figure))
    writer.write("output", lambda known: write_chosen_ids(known, target))
    result: Chosen = writer.finish()
    return result


def _name(source: FittedSimulator, choice: Choice) -> str:
    """How its files are called in the workspace."""
    about = f"{source.recording.stem}.{source.found.estimator}.{source.metric.name}.{safe_name(choice.subject.name)}"
    return f"{about}.{safe_name(choice.kind)}.{choice.spec.size}" if choice.kind else f"{about}.{choice.spec.size}"


def _target(source: FittedSimulator, choice: Choice) -> Path:
    output = choice.options.output
    own = source.recording.workspace.root / f"{_name(source, choice)}.ids.txt"
    path = own if output is None else user_path(output)
    if path.suffix.lower() != ".txt":
        raise UsageError(f"--output {path} is not a .txt file", "end it in .txt")
    check_plain_target(path, "--output")
    return path


def _picture(source: FittedSimulator, choice: Choice) -> Path | None:
    figure = choice.options.figure
    if not choice.kind:
        if is_named(figure):
            raise UsageError(
                f"--figure {figure}: a subset has no picture",
                "leave it out, or ask for two sides (--keep) or shares (--by)",
            )
        return None
    return picture_at(figure, source.recording.workspace.root / f"{_name(source, choice)}.png")
