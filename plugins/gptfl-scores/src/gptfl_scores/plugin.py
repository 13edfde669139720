"""Registers the estimator of scores from elsewhere."""

from collections.abc import Callable, Mapping

from gptfl.plugins import Estimator, hookimpl


def scores(
    file: str | None = None,
    sign: str = "helps",
    scale: float | None = None,
    anchor: str = "mean-run",
    rows: str | None = None,
    ids: str | None = None,
    digest: str | None = None,
) -> Estimator:
    """Make the estimator; what it computes with is imported only now."""
    from gptfl_scores.estimator import Scores

    return Scores(file, sign, scale, anchor, rows, ids, digest)


@hookimpl
def gptfl_estimators() -> Mapping[str, Callable[..., Estimator]]:
    """What another tool's scores predict of any curriculum, to first order."""
    return {"scores": scores}
