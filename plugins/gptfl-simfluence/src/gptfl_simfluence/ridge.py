"""The closed form: for each test example one ridge regression, shrunk towards "nothing changes"."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.linalg import lapack

from gptfl.plugins import DataError
from gptfl_simfluence.recurrence import Intervals


class Regression:
    """The normal equations of one test example, kept apart for each group of runs.

    The unknowns are alpha for each pool example where the form has it, in units of the test
    example's root mean square value, then beta where the form has it.
    """

    def __init__(self, groups: Sequence[Sequence[Intervals]], test: int, form: str) -> None:
        recorded = [run.values[:, test] for group in groups for run in group]
        everything = np.concatenate(recorded)
        usual = float(np.sqrt(np.nanmean(everything**2))) if np.isfinite(everything).any() else 0.0
        self.scale = usual or 1.0
        self.form = form
        equations = [self._equations(group, test) for group in groups]
        self.gram = np.stack([gram for gram, _ in equations])
        self.right = np.stack([right for _, right in equations])

    def _equations(
        self, group: Sequence[Intervals], test: int
    ) -> tuple[Float[np.ndarray, "unknown unknown"], Float[np.ndarray, " unknown"]]:
        counts = np.concatenate([run.counts for run in group])
        before = np.concatenate([run.values[:-1, test] for run in group])
        after = np.concatenate([run.values[1:, test] for run in group])
        known = np.isfinite(before) & np.isfinite(after)
        counts, before, change = counts[known], before[known], (after - before)[known]
        columns = []
        if self.form != "additive":
            columns.append(counts * (before / self.scale)[:, None])
        if self.form != "multiplicative":
            columns.append(counts)
        design = np.concatenate(columns, axis=1)
        return design.T @ design, design.T @ change

    def solve(
        self, weight: float, without: int | None = None
    ) -> tuple[Float[np.ndarray, " pool"], Float[np.ndarray, " pool"]]:
        """Alpha and beta for one ridge weight, fitted on every group, or on all but one."""
        gram, right = self.gram.sum(axis=0), self.right.sum(axis=0)
        if without is not None:
            gram, right = gram - self.gram[without], right - self.right[without]
        gram[np.diag_indices_from(gram)] += weight
        _, found, failed = lapack.dposv(gram, right, lower=True, overwrite_a=True)
        if failed:
            raise DataError(
                f"the ridge regression of a test example has no solution at weight {weight:.3g}",
                "take a larger strength, or leave it to be chosen",
            )
        nothing = np.zeros(len(found))
        if self.form == "additive":
            return nothing, found
        if self.form == "multiplicative":
            return found / self.scale, nothing
        pool = len(found) // 2
        return found[:pool] / self.scale, found[pool:]


def free_running_errors(
    runs: Sequence[Intervals],
    test: int,
    alpha: Float[np.ndarray, "candidate pool"],
    beta: Float[np.ndarray, "candidate pool"],
) -> Float[np.ndarray, " candidate"]:
    """Sum of squared errors of each candidate's roll-outs over all recorded values after the first.

    A roll-out that leaves all bounds counts as infinitely wrong.
    """
    total = np.zeros(len(alpha))
    for run in runs:
        truth = run.values[:, test]
        if not np.isfinite(truth[0]):
            continue
        factors, terms = 1.0 + run.counts @ alpha.T, run.counts @ beta.T
        value = np.full(len(alpha), truth[0])
        with np.errstate(over="ignore", invalid="ignore"):
            for factor, term, recorded in zip(factors, terms, truth[1:], strict=True):
                value = value * factor + term
                if np.isfinite(recorded):
                    total += (value - recorded) ** 2
    return np.where(np.isfinite(total), total, np.inf)
