"""Registers the linear datamodels."""

from collections.abc import Callable, Mapping

from gptfl.plugins import Estimator, hookimpl


def datamodels(steps: str = "final", weighted: bool = False, strength: float | None = None) -> Estimator:
    """Make the estimator; what it computes with is imported only now."""
    from gptfl_datamodels.estimator import Datamodels

    return Datamodels(steps, weighted, strength)


@hookimpl
def gptfl_estimators() -> Mapping[str, Callable[..., Estimator]]:
    """One regression a test example, on how often each training example was seen."""
    return {"datamodels": datamodels}
