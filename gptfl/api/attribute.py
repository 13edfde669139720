"""From one finished fine-tuning's checkpoints to a ranking of what it was trained on."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from gptfl.api.rank import rank_with
from gptfl.core import Dynamics, Progress, silent, user_path
from gptfl.features.featurize import featurize_with
from gptfl.influence.ranking import RankResult
from gptfl.influence.targets import influence_target
from gptfl.influence.tokens import check_token_request
from gptfl.options.attribute import AttributeOptions
from gptfl.options.base import make
from gptfl.options.common import InputOptions
from gptfl.options.defaults import FEW_RUNS, ON_GRADIENTS
from gptfl.options.influence import InfluenceOptions, RankOptions
from gptfl.options.signature import takes
from gptfl.options.simulation import FeaturizeOptions, FitOptions
from gptfl.plugins.registry import get_registry
from gptfl.recorder.attribute import FinishedTraining, record_training
from gptfl.report.ranking import check_table
from gptfl.simulation.fit import fit_with
from gptfl.store.outputs import check_plain_target


@takes(AttributeOptions)
def attribute(
    model: str, checkpoints: str | Path, *groups: object, progress: Progress = silent, **options: Any
) -> RankResult:
    """Tell which examples of a finished fine-tuning helped and which hurt, from its checkpoints.

    The test examples are measured at the model and at each checkpoint, gradients are sketched there, and what these
    predict is scaled by how the losses moved. That is a recording of one run, in the workspace, which the other
    commands take.

    Args:
        model: as it was before the training: a short name, a Hub id or a folder.
        checkpoints: the trainer's output folder, with its ``checkpoint-N``.
        groups: options in groups, such as ``gptfl.options.rows.RowOptions(train="train.jsonl", eval="eval.jsonl")``.
        progress: called along the way.
        options: those of ``gptfl attribute`` (docs/cli.md) by name; ``on`` may be a sequence of test ids.

    Raises ``TypeError`` for a name that is no option, ``UsageError`` for options that make no sense, and ``DataError``
    where rows, checkpoints and model don't fit together, or gradients can't be told apart by example.
    """
    return attribute_with(
        make(AttributeOptions, *groups, model=model, checkpoints=checkpoints, **options), progress=progress
    )


def attribute_with(options: AttributeOptions, *, progress: Progress = silent) -> RankResult:
    """``attribute`` with all options in one object."""
    if options.output is not None:
        check_table(Path(options.output))
        check_plain_target(user_path(options.output), "--output")
    training = FinishedTraining.read(options)
    subject = influence_target(options.on, Dynamics(training.examples.pool, training.examples.test, {}, ()))
    test = check_token_request(subject, 1) if options.tokens else None
    path, notes, sketched = record_training(training, get_registry(), progress, test)
    inputs = {"dynamics": path, "workspace": options.workspace}
    features = featurize_with(make(FeaturizeOptions, encoder=ON_GRADIENTS, **inputs), progress=progress)
    fit_options = make(FitOptions, estimator=FEW_RUNS, features=features.path, seed=options.seed, **inputs)
    fitted = fit_with(fit_options, progress=progress)
    ranked = rank_with(
        RankOptions(
            influence=InfluenceOptions(simulators=(fitted.path,), on=options.on),
            inputs=InputOptions(**inputs, features=features.path),
            top=options.top,
            reverse=options.reverse,
            tokens=options.tokens,
            output=options.output,
        ),
        progress=progress,
        sketched=sketched,
    )
    return replace(ranked, notes=tuple(dict.fromkeys((*notes, *fitted.notes, *ranked.notes))))
