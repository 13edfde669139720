"""Registers gptfl's own parts through the hooks that every plugin uses.

Factories import what they need when called, so that ``gptfl --help`` loads no torch.
"""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from gptfl.hookspecs import hookimpl


def lazy(module: str, name: str, /, **fixed: Any) -> Callable[..., Any]:
    """A factory that imports ``gptfl.builtin.<module>`` only when it is called."""

    def factory(**settings: Any) -> Any:
        return getattr(importlib.import_module(f"gptfl.builtin.{module}"), name)(**fixed, **settings)

    return factory


@hookimpl
def gptfl_tasks() -> Mapping[str, Callable[..., Any]]:
    """The paper's five tasks, any JSON lines, and the generated one."""
    return {
        "rte": lazy("tasks", "Rte"),
        "sst2": lazy("tasks", "Sst2"),
        "boolq": lazy("tasks", "BoolQ"),
        "webnlg": lazy("tasks", "WebNlg"),
        "wmt16_de_en": lazy("tasks", "Wmt16DeEn"),
        "jsonl": lazy("tasks", "JsonLines"),
        "errands": lazy("errands", "Errands"),
    }


@hookimpl
def gptfl_encoders() -> Mapping[str, Callable[..., Any]]:
    """Sentence embeddings, hidden states of a causal model, and TF-IDF."""
    return {
        "minilm": lazy("encoders", "MiniLm"),
        "causal-lm": lazy("encoders", "CausalLm"),
        "tfidf-svd": lazy("encoders", "TfidfSvd"),
    }


@hookimpl
def gptfl_metrics() -> Mapping[str, Callable[..., Any]]:
    """Loss and accuracy."""
    return {"loss": lazy("metrics", "Loss"), "accuracy": lazy("metrics", "Accuracy")}


@hookimpl
def gptfl_estimators() -> Mapping[str, Callable[..., Any]]:
    """The paper's simulator and the honest floor."""
    return {
        "gptfluence": lazy("gptfluence", "GPTfluence"),
        "persistence": lazy("baselines", "Persistence"),
        "mean-run": lazy("baselines", "MeanRun"),
        "class-share": lazy("baselines", "ClassShare"),
    }


@hookimpl
def gptfl_executors() -> Mapping[str, Callable[..., Any]]:
    """Runs one after another, in this process."""
    return {"local": lazy("executors", "Local")}
