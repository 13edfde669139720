"""What a positive influence is, in a sentence: which two trainings it compares, and in which units."""

from gptfl.core import MetricInfo
from gptfl.influence.targets import ADD, CLOSED_FORM, DROP, REMOVE, REPLACE, InfluenceTarget

HALF = "the zero is the average row, so about half of any pool is below it"


def meaning(how: str, subject: InfluenceTarget, metric: MetricInfo, step: int | None) -> str:
    """The sentence over a table that says what a positive influence is.

    Args:
        how: the way in which influence was computed, such as ``REMOVE``.
        subject: what the influence is on.
        metric: whose name and direction it takes.
        step: the step at which the metric is compared; None for influence to first order, which is of none.

    For ``ADD``, ``REMOVE``, ``CLOSED_FORM``, ``REPLACE`` and ``DROP`` the number is in the metric's units; for others it has none.
    """
    whose = "a row's own" if subject.itself else f"{subject.text}:"
    better = "higher" if metric.higher_is_better else "lower"
    end = f"{metric.name} at step {step} is so much {better}"
    texts = {
        ADD: f"with a new row added to the pool {end} than without it, the whole pool trained on by the recorded recipe, the "
        "new row seen as often as each of its rows and every other row as often as before",
        REMOVE: f"with a row in the pool {end} than as if it were not there, the whole pool trained on by the recorded "
        "recipe and every other row seen as often as before",
        CLOSED_FORM: f"{end} when a row is seen once more in place of the average row; {HALF}",
        REPLACE: f"{end} with a row than, on average, with another in its places in the batches; {HALF}",
        DROP: f"{end} with a row than with its places in the batches left empty, where the others of the batch count for "
        f"it; {HALF}",
    }
    first_order = (
        f"seeing a row makes {metric.name} {better} than not seeing it, to first order; values have no unit, only their "
        "order and ratios count"
    )
    return f"Positive, for {whose} {texts.get(how, first_order)}."
