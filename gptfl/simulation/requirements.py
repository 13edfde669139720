"""What an estimator needs, why it cannot be used, and which one is the default."""

from collections.abc import Sequence
from dataclasses import dataclass

from gptfl.core import FIT, VALIDATION, Features, MetricInfo, classes_of, lack_of_classes
from gptfl.core.holdout import TEST, TRAIN
from gptfl.errors import DataError
from gptfl.features.lookup import FeatureLookup
from gptfl.options.defaults import FEW_RUNS, FEWEST_ON_TEXT, ON_GRADIENTS, ON_TEXT, PAPER
from gptfl.plugins.interfaces import LOSS, NEEDS, Estimator
from gptfl.plugins.parts import Part
from gptfl.recording.recording import OpenedRecording


@dataclass(frozen=True, slots=True)
class NamedEstimator:
    """An estimator that is ready to be fitted, and who provides it."""

    part: Part
    estimator: Estimator


def unmet_need(
    estimator: Estimator, recording: OpenedRecording, features: Features | None, metric: MetricInfo
) -> DataError | None:
    """Why an estimator can't be fitted to this metric of what there is; None where it can.

    Args:
        estimator: its tags say what it requires.
        recording: what there is of runs, classes and gradients.
        features: vectors of its examples, None where there are none.
        metric: to be predicted.
    """
    name, dynamics = estimator.name, recording.dynamics
    predicted = estimator.tags.metrics
    if predicted is not None and metric.name not in predicted:
        only = ", ".join(sorted(predicted))
        shared = sorted(predicted & dynamics.metrics.keys())
        remedy = f"give --metric {shared[0]}, or use another estimator" if shared else "use another estimator"
        return DataError(f"{name} predicts {only} only, not {metric.name}", remedy)
    for need in sorted(estimator.tags.requires):
        if need == "features" and features is None:
            return DataError(
                f"{name} needs features, and {recording.workspace.shown} holds none of {recording.stem}",
                "run gptfl featurize first",
            )
        if need == "classes" and classes_of(dynamics.pool) is None:
            return DataError(
                f"{name} needs classes, and the recording's task has none{lack_of_classes(dynamics.pool)}",
                "use another estimator",
            )
        if need == "gradients" and dynamics.gradients is None:
            return _not_recorded(recording, name, need, "reference")
        if need == LOSS and metric.name == LOSS:
            return DataError(f"{name} predicts what was recorded beside the loss, not the loss", "use exposure-gp")
        if need == LOSS and LOSS not in dynamics.metrics:
            return DataError(
                f"{name} needs the loss, which {recording.path.name} doesn't hold beside {metric.name}",
                "record both (gptfl collect --metric loss)",
            )
        if need == "derivatives" and not all(run.derivatives for run in dynamics.runs):
            return _not_recorded(recording, name, need, "own")
        if need not in NEEDS:
            return DataError(f"{name} needs {need}, which the recording doesn't hold", "use another estimator")
    return None


def _not_recorded(recording: OpenedRecording, name: str, need: str, option: str) -> DataError:
    return DataError(
        f"{name} needs {need}, which {recording.path.name} doesn't hold",
        f"record them with gptfl collect --gradients {option}",
    )


def refusal(estimator: Estimator, sides: Sequence[str]) -> DataError | None:
    """Why an estimator can't answer about unseen examples of these sides, if so."""
    lacking = [side for side in sides if side not in estimator.tags.unseen]
    if not lacking:
        return None
    noun = {TRAIN: "training", TEST: "test"}[lacking[0]]
    return DataError(
        f"{estimator.name} answers only about the {noun} examples that it was fitted to",
        f"use an estimator that generalises, such as {PAPER}",
    )


def default_estimator(
    lookup: FeatureLookup, metric: MetricInfo, unseen: str | None = None
) -> tuple[str, tuple[str, ...]]:
    """The estimator that suits the features and the metric, and what to tell of the choice.

    Args:
        lookup: the recording and its features.
        metric: to be predicted.
        unseen: the side on which it has to answer about examples that it isn't fitted to, as ``--unseen`` has it.
    """
    if not lookup.has(ON_GRADIENTS):
        return PAPER, ()
    if unseen in (None, TRAIN) and _is_generated(lookup, metric):
        return ON_TEXT, (
            f"fits {ON_TEXT}, since {metric.name} is of generated text and the loss was recorded beside it; "
            f"--estimator {FEW_RUNS} goes without the loss",
        )
    return FEW_RUNS, (f"fits {FEW_RUNS}, since there are gradient features; --estimator {PAPER} is the paper's",)


def by_default(problem: DataError, estimator: str) -> DataError:
    """A problem of the default estimator, with why it is taken, which nobody named."""
    if estimator != PAPER:
        return problem  # a note says why
    why = f"no --estimator is given, and without gradient features it is {PAPER}"
    return DataError(f"{why}: {problem.problem}", f"{problem.remedy}, or name another with --estimator")


def _is_generated(lookup: FeatureLookup, metric: MetricInfo) -> bool:
    """Whether a metric is of generated text, and the loss is there in enough runs to predict it by."""
    dynamics, registry = lookup.recording.dynamics, lookup.recording.registry
    if LOSS not in dynamics.metrics or metric.name not in registry.names("metric"):
        return False
    fitted = sum(run.role in (FIT, VALIDATION) for run in dynamics.runs)
    return "generated" in registry.make("metric", metric.name).needs and fitted >= FEWEST_ON_TEXT
