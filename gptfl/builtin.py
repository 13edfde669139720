"""Registers gptfl's own parts through the hooks that every plugin uses.

Factories import what they need when called, so that ``gptfl --help`` loads no torch.
"""

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gptfl.plugins.hooks import hookimpl


@dataclass(frozen=True, slots=True)
class Lazy:
    """A factory that imports ``gptfl.<module>`` only when it is called, or asked what it takes."""

    module: str
    name: str

    def __call__(self, **settings: Any) -> Any:
        """Make the part."""
        return self._load()(**settings)

    @property
    def __signature__(self) -> inspect.Signature:
        """What ``inspect.signature`` finds: that of the part's class."""
        return inspect.signature(self._load())

    def _load(self) -> Callable[..., Any]:
        part: Callable[..., Any] = getattr(importlib.import_module(f"gptfl.{self.module}"), self.name)
        return part


@hookimpl
def gptfl_tasks() -> Mapping[str, Callable[..., Any]]:
    """The paper's six tasks, any JSON lines, and the generated one."""
    return {
        "rte": Lazy("tasks", "Rte"),
        "sst2": Lazy("tasks", "Sst2"),
        "boolq": Lazy("tasks", "BoolQ"),
        "webnlg": Lazy("tasks", "WebNlg"),
        "wmt16_de_en": Lazy("tasks", "Wmt16DeEn"),
        "cnn_dailymail": Lazy("tasks", "CnnDailyMail"),
        "jsonl": Lazy("tasks", "JsonLines"),
        "errands": Lazy("tasks.errands", "Errands"),
    }


@hookimpl
def gptfl_encoders() -> Mapping[str, Callable[..., Any]]:
    """Embeddings of texts, what a causal model makes of them, and recorded gradients."""
    return {
        "minilm": Lazy("encoders", "MiniLm"),
        "causal-lm": Lazy("encoders", "CausalLm"),
        "tfidf-svd": Lazy("encoders", "TfidfSvd"),
        "answer-state": Lazy("encoders", "AnswerState"),
        "gradients": Lazy("encoders", "Gradients"),
    }


@hookimpl
def gptfl_metrics() -> Mapping[str, Callable[..., Any]]:
    """Loss, accuracy, and what is measured of generated text."""
    return {
        "loss": Lazy("metrics", "Loss"),
        "accuracy": Lazy("metrics", "Accuracy"),
        "bleu": Lazy("metrics", "Bleu"),
        "rougeL": Lazy("metrics", "RougeL"),
    }


@hookimpl
def gptfl_estimators() -> Mapping[str, Callable[..., Any]]:
    """The paper's simulator, the Gaussian process on exposures, and the honest floor."""
    return {
        "gptfluence": Lazy("estimators.gptfluence.estimator", "GPTfluence"),
        "persistence": Lazy("estimators.baselines", "Persistence"),
        "mean-run": Lazy("estimators.baselines", "MeanRun"),
        "class-share": Lazy("estimators.class_share", "ClassShare"),
        "exposure-gp": Lazy("estimators.exposure_gp.estimator", "ExposureGp"),
        "through-loss": Lazy("estimators.through_loss.estimator", "ThroughLoss"),
    }


@hookimpl
def gptfl_executors() -> Mapping[str, Callable[..., Any]]:
    """Runs one after another, in this process."""
    return {"local": Lazy("executors", "Local")}
