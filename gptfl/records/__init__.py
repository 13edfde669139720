"""The values that flow between the stages: plain, frozen, free of files and frameworks."""

from gptfl.records.examples import WORDLESS, Example, TaskData, classes_of, examples_fingerprint, in_order, tasks_of
from gptfl.records.fitting import Features, FeatureSet, FitData, Prediction, Query, Unseen
from gptfl.records.gradients import GradientProducts, GradientSketches, SketchPoint
from gptfl.records.groups import groups_of, groups_of_batches, joined
from gptfl.records.runs import (
    FIT,
    REPEAT,
    TEST,
    VALIDATION,
    Curriculum,
    Dynamics,
    MetricInfo,
    Run,
    changes_between,
    role_of,
    run_fingerprint,
)
from gptfl.records.values import Blocks, Progress, fingerprint, silent

__all__ = [
    "FIT",
    "REPEAT",
    "TEST",
    "VALIDATION",
    "WORDLESS",
    "Blocks",
    "Curriculum",
    "Dynamics",
    "Example",
    "FeatureSet",
    "Features",
    "FitData",
    "GradientProducts",
    "GradientSketches",
    "MetricInfo",
    "Prediction",
    "Progress",
    "Query",
    "Run",
    "SketchPoint",
    "TaskData",
    "Unseen",
    "changes_between",
    "classes_of",
    "examples_fingerprint",
    "fingerprint",
    "groups_of",
    "groups_of_batches",
    "in_order",
    "joined",
    "role_of",
    "run_fingerprint",
    "silent",
    "tasks_of",
]
