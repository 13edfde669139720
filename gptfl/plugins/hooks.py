"""The hooks that a plugin implements. Each maps names to factories.

A factory is called with keyword settings only when its part is used, so it, and not the plugin
module, is the place to import heavy libraries.
"""

from collections.abc import Callable, Mapping

import pluggy

from gptfl.plugins.interfaces import Encoder, Estimator, Executor, Metric, Task

ENTRY_POINT_GROUP = "gptfl"

hookspec = pluggy.HookspecMarker("gptfl")
hookimpl = pluggy.HookimplMarker("gptfl")


@hookspec
def gptfl_tasks() -> Mapping[str, Callable[..., Task]]:  # type: ignore[empty-body]
    """Tasks by name; the factory takes ``data: Path | None``."""


@hookspec
def gptfl_encoders() -> Mapping[str, Callable[..., Encoder]]:  # type: ignore[empty-body]
    """Encoders by name; the factory takes the encoder's own settings."""


@hookspec
def gptfl_metrics() -> Mapping[str, Callable[..., Metric]]:  # type: ignore[empty-body]
    """Metrics by name; the factory takes nothing."""


@hookspec
def gptfl_estimators() -> Mapping[str, Callable[..., Estimator]]:  # type: ignore[empty-body]
    """Estimators by name; the factory takes the estimator's settings."""


@hookspec
def gptfl_executors() -> Mapping[str, Callable[..., Executor]]:  # type: ignore[empty-body]
    """Executors by name; the factory takes the executor's own settings."""
