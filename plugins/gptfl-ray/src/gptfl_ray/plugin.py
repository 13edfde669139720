"""Registers the executor ``ray``; Ray is loaded when it is used."""

from collections.abc import Callable, Mapping

from gptfl.plugins import Executor, hookimpl
from gptfl_ray.executor import Ray


@hookimpl
def gptfl_executors() -> Mapping[str, Callable[..., Executor]]:
    """Runs as tasks of a Ray cluster."""
    return {"ray": Ray}
