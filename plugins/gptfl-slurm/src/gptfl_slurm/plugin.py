"""Registers the executor ``slurm``; submitit is loaded when it is used."""

from collections.abc import Callable, Mapping

from gptfl.plugins import Executor, hookimpl
from gptfl_slurm.executor import Slurm


@hookimpl
def gptfl_executors() -> Mapping[str, Callable[..., Executor]]:
    """Runs as jobs of a Slurm cluster."""
    return {"slurm": Slurm}
