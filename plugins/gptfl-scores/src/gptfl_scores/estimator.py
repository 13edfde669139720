"""What scores computed elsewhere predict of a run, to first order."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from jaxtyping import Float, Int

from gptfl.core.blocked_rows import row_blocks
from gptfl.estimators import average
from gptfl.estimators.baselines import MeanRun, begun, timed, training_runs
from gptfl.plugins import (
    DataError,
    EstimatorTags,
    FitData,
    Prediction,
    Query,
    UsageError,
    number,
    one_of,
    presentation_weights,
    relative_weights,
    text,
)
from gptfl_scores.matching import matched
from gptfl_scores.readers import digest_of, read_ids, read_matrix

HELPS, HURTS = "helps", "hurts"
MEAN_RUN, FIRST = "mean-run", "first"
ENTRIES = 8_000_000
"""How many scores are gathered at once (64 MB), unless a single batch takes more."""


class Scores:
    """The average run, or the first value, plus what the scores of the examples seen add up to.

    Seeing example i at a step of size η in a batch of n adds ± scale · η / n · score of i: the first order of what each
    tool's score stands for, spread over the run by its step sizes. Anchored at ``mean-run``, it is what a run saw beyond
    the average training run that counts; at ``first``, all that it saw.

    Args:
        file: the scores (see ``readers.read_matrix``), as a file or folder.
        sign: ``helps`` where a positive score makes the test example's metric better, as influence functions and TRAK
            have it, ``hurts`` where it makes it worse.
        scale: what scores are multiplied by; None fits it to the training runs by least squares.
        anchor: ``mean-run`` or ``first``.
        rows: ``train`` or ``test``, what the rows of a matrix without ids are, where its shape doesn't tell.
        ids: JSON file of the ids of its rows and columns; without ids, a matrix is in the recording's order.
        digest: the hash of what the files held; None takes it when settings are asked for.
    """

    name = "scores"
    tags = EstimatorTags()

    scores_: Float[np.ndarray, "pool test"]
    average_: MeanRun
    usual_: Float[np.ndarray, "grid test"]
    direction_: int
    """1 where a positive score raises the metric, else -1."""
    better_: int
    scale_: float
    relative_: Float[np.ndarray, " pool"] | None = None
    """How much each training example counts in a batch, where the loss is a mean over tokens; None where all count alike."""
    notes_: tuple[str, ...] = ()

    def __init__(
        self,
        file: str | None,
        sign: str = HELPS,
        scale: float | None = None,
        anchor: str = MEAN_RUN,
        rows: str | None = None,
        ids: str | None = None,
        digest: str | None = None,
    ) -> None:
        who = f"estimator {self.name}"
        if file is None:
            raise UsageError(f"{who} has no scores to go by", "name a file: scores:file=scores.npz (see its README)")
        self.file = text(who, "file", file)
        self.sign = one_of(who, "sign", sign, (HELPS, HURTS))
        self.scale = None if scale is None else number(who, "scale", scale)
        self.anchor = one_of(who, "anchor", anchor, (MEAN_RUN, FIRST))
        self.rows = None if rows is None else one_of(who, "rows", rows, ("train", "test"))
        self.ids = None if ids is None else text(who, "ids", ids)
        self.digest = None if digest is None else text(who, "digest", digest)

    def settings(self) -> Mapping[str, Any]:
        """All of them; what the files hold is in ``digest``, so that a fit to other scores isn't taken for this one."""
        return {
            "file": self.file,
            "sign": self.sign,
            "scale": self.scale,
            "anchor": self.anchor,
            "rows": self.rows,
            "ids": self.ids,
            "digest": self.digest or self._digest(),
        }

    def _digest(self) -> str:
        parts = [self.file] if self.ids is None else [self.file, self.ids]
        return "-".join(digest_of(Path(part).expanduser()) for part in parts)

    def fit(self, data: FitData) -> Self:
        """Read the scores, and fit their scale to the runs to fit and to validate unless it is given.

        Raises ``DataError`` where the scores can't be read, have changed since ``digest``, or lack an example, and where
        their scale can't be fitted.
        """
        if self.digest is not None and self.digest != self._digest():
            raise DataError(f"{self.file} holds other scores than before", "leave the setting digest out")
        matrix = read_matrix(Path(self.file).expanduser())
        named = None if self.ids is None else read_ids(Path(self.ids).expanduser())
        self.scores_ = matched(self.file, matrix, named, self.rows, data.pool, data.test)
        self.relative_ = relative_weights(data.pool)
        self.better_ = 1 if data.metric.higher_is_better else -1
        self.direction_ = self.better_ * (1 if self.sign == HELPS else -1)
        runs = training_runs(data)
        self.average_ = MeanRun().fit(data)
        grid, last = self.average_.steps_, int(self.average_.steps_[-1])
        along = [self._sums(run.curriculum.batches[:last], run.curriculum.learning_rates[:last]) for run in runs]
        reached = [sums[np.minimum(grid, len(sums) - 1)] for sums in along]
        self.usual_ = np.mean(reached, axis=0)
        self.scale_, self.notes_ = (1.0 if self.scale is None else self.scale), ()
        if self.scale is None:
            recorded = [average.resample(run.steps, data.recorded(run), grid) for run in runs]
            self._fit_scale(np.stack(reached), np.stack(recorded))
        return self

    def _fit_scale(
        self, sums: Float[np.ndarray, "run grid test"], recorded: Float[np.ndarray, "run grid test"]
    ) -> None:
        """Least squares over all runs, steps after the first and test examples that were recorded."""
        if self.anchor == MEAN_RUN:
            moved, truth = sums - self.usual_, recorded - self.average_.mean_
        else:
            moved, truth = sums - sums[:, :1], recorded - recorded[:, :1]
        moved = self.direction_ * moved[:, 1:]
        known = np.isfinite(truth[:, 1:])
        square = float((moved[known] ** 2).sum())
        if square == 0.0:
            raise DataError(
                f"{self.name} foretells no difference between the runs to fit, so that no scale can be fitted",
                "give scale=1, or look at the scores",
            )
        self.scale_ = float((moved[known] * truth[:, 1:][known]).sum()) / square
        wrong = "; it is negative: on these runs scores point the wrong way (sign=...)" if self.scale_ < 0 else ""
        self.notes_ = (f"{self.name}: scores are multiplied by {self.scale_:.2g}, fitted to the training runs{wrong}",)

    def predict(self, query: Query) -> Prediction:
        """At the asked steps. Raises ``DataError`` for other examples, and beyond the recorded steps."""
        self._check(query)
        sums = np.stack(
            [self._sums(*one)[query.steps] for one in zip(query.batches, query.learning_rates, strict=True)]
        )
        if self.anchor == FIRST:
            values = query.first[:, None, :] + self.scale_ * self.direction_ * (sums - sums[:, :1])
            return Prediction(values)
        values = self.average_.predict(query).values.astype(np.float64)
        grid = self.average_.steps_
        for runs, steps in timed(self.average_.clock_, query, grid):
            usual = average.interpolate(grid, self.usual_, steps[1:])
            values[runs, 1:] += self.scale_ * self.direction_ * (sums[runs, 1:] - usual)
        return Prediction(begun(values, self.average_.clock_, query, grid))

    def flops(self, query: Query) -> float:
        """A product and a sum for each example seen and test example, and the average run."""
        seen = float((query.batches[:, : int(query.steps[-1])] >= 0).sum())
        tests = float(query.first.shape[1])
        return 2.0 * seen * tests + average.FLOPS * float(query.first.size * len(query.steps))

    def influence(self) -> Float[np.ndarray, "pool test"]:
        """What a unit of step size on an example alone adds to the metric, positive where it makes it better."""
        return np.asarray(self.better_ * self.direction_ * self.scale_ * self.scores_)

    def mean_influence(self, tests: Int[np.ndarray, " chosen"]) -> Float[np.ndarray, " pool"]:
        """``influence`` on the mean of some test examples, without another array of all pairs."""
        factor, found = self.better_ * self.direction_ * self.scale_, np.empty(len(self.scores_))
        for start, rows in row_blocks(self.scores_):
            found[start : start + len(rows)] = factor * rows[:, tests].mean(axis=1)
        return found

    def _sums(
        self, batches: Int[np.ndarray, "step batch"], rates: Float[np.ndarray, " step"]
    ) -> Float[np.ndarray, "step_and_end test"]:
        """What step sizes times mean scores of the batches add up to before each step, from 0 on."""
        there = batches >= 0
        members = np.where(there, batches, 0)
        weights = presentation_weights(batches, rates, self.relative_)[:, None] * there
        if self.relative_ is not None:
            weights = weights * self.relative_[members]
        result = np.zeros((len(batches) + 1, self.scores_.shape[1]))
        size = max(1, ENTRIES // max(1, batches.shape[1] * self.scores_.shape[1]))
        for start in range(0, len(batches), size):
            part = slice(start, start + size)
            result[1:][part] = np.einsum("sb,sbt->st", weights[part], self.scores_[members[part]])
        return np.asarray(np.cumsum(result, axis=0))

    def _check(self, query: Query) -> None:
        if not hasattr(self, "scores_"):
            raise DataError(f"{self.name} isn't fitted", "call fit or restore first")
        pool, tests = self.scores_.shape
        if query.first.shape[1] != tests or int(query.batches.max(initial=-1)) >= pool:
            raise DataError(
                f"{self.name} has scores of {pool} training and {tests} test examples, and is asked about others",
                "ask about the recording it was fitted on",
            )

    def state(self) -> Mapping[str, np.ndarray]:
        """``scores`` [pool, test], ``usual`` [grid, test], ``scale``, ``direction``, ``better``, and those of mean-run."""
        return {
            **self.average_.state(),
            "scores": self.scores_,
            "usual": self.usual_,
            "scale": np.array(self.scale_),
            "direction": np.array(self.direction_),
            "better": np.array(self.better_),
            **({} if self.relative_ is None else {"relative": self.relative_}),
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> Self:
        """Take back what ``state`` gave. Raises ``DataError`` on missing or ill-shaped arrays."""
        self.average_ = MeanRun().restore(state)
        axes = {"scores": 2, "usual": 2, "scale": 0, "direction": 0, "better": 0}
        missing = [name for name, count in axes.items() if name not in state or np.ndim(state[name]) != count]
        if missing or state["usual"].shape != self.average_.mean_.shape:
            name = missing[0] if missing else "usual"
            raise DataError(f"{self.name}: its array {name!r} is missing or ill-shaped", "fit it again (gptfl fit)")
        if state["scores"].shape[1] != state["usual"].shape[1] or not np.isfinite(state["scale"]):
            raise DataError(f"{self.name}: its arrays don't agree", "fit it again (gptfl fit)")
        self.relative_ = state.get("relative")
        if self.relative_ is not None and self.relative_.shape != state["scores"].shape[:1]:
            raise DataError(f"{self.name}: its array 'relative' is not of the pool", "fit it again (gptfl fit)")
        self.scores_, self.usual_ = state["scores"], state["usual"]
        self.scale_, self.notes_ = float(state["scale"]), ()
        self.direction_, self.better_ = int(state["direction"]), int(state["better"])
        return self
