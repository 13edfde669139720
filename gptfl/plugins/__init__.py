"""What a plugin author imports: hooks, interfaces, the values that flow between them, and checks of settings.

Everything is loaded when first used, so that a command line that needs one name doesn't load the others.
"""

import importlib

# As typing has it, which takes longer to load than all of this.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from gptfl.core.curriculum import presentation_weights
    from gptfl.core.examples import Example, TaskData, relative_weights
    from gptfl.core.free_memory import check_memory, free_memory, gigabytes
    from gptfl.core.gradients import GradientProducts, GradientSketches, SketchPoint
    from gptfl.core.queries import Features, FeatureSet, FitData, Prediction, Query, Unseen
    from gptfl.core.runs import Curriculum, Dynamics, MetricInfo, Run
    from gptfl.core.values import Progress, silent
    from gptfl.errors import DataError, PluginError, ResourceError, UsageError
    from gptfl.plugins.hooks import hookimpl
    from gptfl.plugins.interfaces import (
        Encoder,
        EncoderTags,
        Estimator,
        EstimatorTags,
        Executor,
        Metric,
        Observation,
        Plan,
        Task,
        Trainer,
    )
    from gptfl.plugins.optional import (
        CountsOperations,
        EncodesNew,
        HasFitNotes,
        HasLinearForm,
        HasNotes,
        InfluencesItself,
        InfluencesTests,
        KnowsSeconds,
        KnowsSizes,
        KnowsWorkers,
        MayMakeUpExamples,
        PerformsUnits,
        ReportsProgress,
        TellsInfluence,
        UsesRecording,
    )
    from gptfl.plugins.settings import flag, number, one_of, text, whole
    from gptfl.plugins.work import DescribesWork, Outcome, Unit, Work, carry_out, runs_by_units

_WHERE = {
    "CountsOperations": "plugins.optional",
    "Curriculum": "core.runs",
    "DataError": "errors",
    "DescribesWork": "plugins.work",
    "Dynamics": "core.runs",
    "Encoder": "plugins.interfaces",
    "EncoderTags": "plugins.interfaces",
    "EncodesNew": "plugins.optional",
    "Estimator": "plugins.interfaces",
    "EstimatorTags": "plugins.interfaces",
    "Example": "core.examples",
    "Executor": "plugins.interfaces",
    "FeatureSet": "core.queries",
    "Features": "core.queries",
    "FitData": "core.queries",
    "GradientProducts": "core.gradients",
    "GradientSketches": "core.gradients",
    "HasFitNotes": "plugins.optional",
    "HasLinearForm": "plugins.optional",
    "HasNotes": "plugins.optional",
    "InfluencesItself": "plugins.optional",
    "InfluencesTests": "plugins.optional",
    "KnowsSeconds": "plugins.optional",
    "KnowsSizes": "plugins.optional",
    "KnowsWorkers": "plugins.optional",
    "MayMakeUpExamples": "plugins.optional",
    "Metric": "plugins.interfaces",
    "MetricInfo": "core.runs",
    "Observation": "plugins.interfaces",
    "Outcome": "plugins.work",
    "PerformsUnits": "plugins.optional",
    "Plan": "plugins.interfaces",
    "PluginError": "errors",
    "Prediction": "core.queries",
    "Progress": "core.values",
    "Query": "core.queries",
    "ReportsProgress": "plugins.optional",
    "ResourceError": "errors",
    "Run": "core.runs",
    "SketchPoint": "core.gradients",
    "Task": "plugins.interfaces",
    "TaskData": "core.examples",
    "TellsInfluence": "plugins.optional",
    "Trainer": "plugins.interfaces",
    "Unit": "plugins.work",
    "Unseen": "core.queries",
    "UsageError": "errors",
    "UsesRecording": "plugins.optional",
    "Work": "plugins.work",
    "carry_out": "plugins.work",
    "flag": "plugins.settings",
    "check_memory": "core.free_memory",
    "free_memory": "core.free_memory",
    "gigabytes": "core.free_memory",
    "hookimpl": "plugins.hooks",
    "number": "plugins.settings",
    "one_of": "plugins.settings",
    "presentation_weights": "core.curriculum",
    "relative_weights": "core.examples",
    "runs_by_units": "plugins.work",
    "silent": "core.values",
    "text": "plugins.settings",
    "whole": "plugins.settings",
}
"""Where each of these is."""

__all__ = [
    "CountsOperations",
    "Curriculum",
    "DataError",
    "DescribesWork",
    "Dynamics",
    "Encoder",
    "EncoderTags",
    "EncodesNew",
    "Estimator",
    "EstimatorTags",
    "Example",
    "Executor",
    "FeatureSet",
    "Features",
    "FitData",
    "GradientProducts",
    "GradientSketches",
    "HasFitNotes",
    "HasLinearForm",
    "HasNotes",
    "InfluencesItself",
    "InfluencesTests",
    "KnowsSeconds",
    "KnowsSizes",
    "KnowsWorkers",
    "MayMakeUpExamples",
    "Metric",
    "MetricInfo",
    "Observation",
    "Outcome",
    "PerformsUnits",
    "Plan",
    "PluginError",
    "Prediction",
    "Progress",
    "Query",
    "ReportsProgress",
    "ResourceError",
    "Run",
    "SketchPoint",
    "Task",
    "TaskData",
    "TellsInfluence",
    "Trainer",
    "Unit",
    "Unseen",
    "UsageError",
    "UsesRecording",
    "Work",
    "carry_out",
    "check_memory",
    "flag",
    "free_memory",
    "gigabytes",
    "hookimpl",
    "number",
    "one_of",
    "presentation_weights",
    "relative_weights",
    "runs_by_units",
    "silent",
    "text",
    "whole",
]


def __getattr__(name: str) -> object:
    if name in _WHERE:
        return getattr(importlib.import_module(f"gptfl.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'gptfl.plugins' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
