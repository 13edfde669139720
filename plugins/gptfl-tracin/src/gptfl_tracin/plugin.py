"""Registers the two predictive estimators and the oracle."""

from collections.abc import Callable, Mapping

from gptfl.plugins import Estimator, hookimpl
from gptfl_tracin.own_run import OwnRun
from gptfl_tracin.predictive import GradDot, TracInCP


@hookimpl
def gptfl_estimators() -> Mapping[str, Callable[..., Estimator]]:
    """TracIn over the points of a reference run, Grad-Dot at its end, and TracIn along the asked run itself."""
    return {"tracin-cp": TracInCP, "grad-dot": GradDot, "tracin-own-run": OwnRun}
