"""What leaving a group of training examples out changes: recorded, with its noise, and predicted.

A removal is a training set less a group, run in several orders; beside it stands the whole set in the same orders, from
the same seeds. The difference of the two in one order is free of what all runs of that order share. How much it varies
between orders is its noise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from gptfl.scores.bootstrap import draw_weights, freedom_of, interval
from gptfl.scores.lds import lds
from gptfl.scores.pointwise import at_rows, counted, final_rows

CLEAR = 2.0
"""A recorded change of more than so many standard errors has a clear sign."""
FEWEST_REMOVALS = 3
"""With fewer groups left out, no scores of changes are told."""


@dataclass(frozen=True, slots=True)
class Removals:
    """Groups of examples that were left out, and the places among the held-out runs of the runs that show it.

    ``pairs`` has a row for each pair of runs of one order: the number of the group, the run without it and the run with
    it, both as places among the held-out runs. ``groups`` are the places in the pool of what each group holds.
    """

    groups: tuple[Int[np.ndarray, " group"], ...]
    pairs: Int[np.ndarray, "pair 3"]

    def __len__(self) -> int:
        return len(self.groups)

    def changes(
        self, values: Float[np.ndarray, "run recorded test"], recorded: Float[np.ndarray, "run recorded test"]
    ) -> Float[np.ndarray, "pair test"]:
        """``values`` without the group less with it at the last recorded step; NaN where either wasn't recorded."""
        rows = final_rows(recorded)
        final = np.where(at_rows(counted(recorded), rows), at_rows(values, rows), np.nan)
        return np.asarray(final[self.pairs[:, 1]] - final[self.pairs[:, 2]])

    def averaged(self, changes: Float[np.ndarray, "pair ..."]) -> Float[np.ndarray, "group ..."]:
        """The mean over the orders of each group."""
        return np.stack([changes[self.pairs[:, 0] == group].mean(axis=0) for group in range(len(self))])

    def variances(self, changes: Float[np.ndarray, "pair ..."]) -> Float[np.ndarray, "group ..."]:
        """The variance of ``averaged`` that orders make: that between the orders of a group, pooled over groups.

        NaN where no group has two orders.
        """
        spread, freedom = np.zeros(changes.shape[1:]), 0
        counts = np.bincount(self.pairs[:, 0], minlength=len(self))
        for group in range(len(self)):
            own = changes[self.pairs[:, 0] == group]
            spread = spread + ((own - own.mean(axis=0)) ** 2).sum(axis=0)
            freedom += len(own) - 1
        pooled = np.where(freedom > 0, spread / max(freedom, 1), np.nan)
        return np.stack([pooled / count for count in counts])


@dataclass(frozen=True, slots=True)
class ChangeSpreads:
    """How sure an estimator is of what leaving each group out changes at the last step.

    ``spreads`` are standard deviations in the metric's units, of each test example and last of their mean; ``reach`` has by
    level how many of them an interval reaches to each side.
    """

    spreads: Float[np.ndarray, "group column"]
    reach: Mapping[float, float]


@dataclass(frozen=True, slots=True)
class ChangesInside:
    """The shares of recorded changes that lie inside intervals of predicted ones: of the mean over test examples, of each.

    ``spread`` is the root mean square of the predicted standard deviations of the mean, in standard errors of the recorded
    changes: where it is far below 1, next to nothing but the recorded changes' own noise was tested.
    """

    mean: Mapping[float, float]
    each: Mapping[float, float]
    spread: float


@dataclass(frozen=True, slots=True)
class RemovalScores:
    """How far the predicted changes are right; those of the mean over test examples, unless said otherwise.

    ``slope`` is of recorded on predicted changes, through the origin: 1 where they have the right size, more where the
    prediction is too small; ``slope_interval`` its 95 % interval by a bootstrap over groups. ``error`` is the root mean
    squared error in units of the recorded change's standard error, 1 where nothing but noise is left; ``error_each`` is
    the same of single test examples. Of the ``clear`` changes ``signs`` are predicted with the recorded sign. ``lds``
    is Spearman's rho over the training sets, of each test example's final score averaged over the orders, in the mean
    over test examples (TRAK's linear datamodelling score: Park et al., 2023). NaN is what can't be told. ``inside`` is None
    where the estimator tells no intervals of changes, or one order no noise.
    """

    slope: float
    slope_interval: tuple[float, float]
    error: float
    error_each: float
    signs: int
    clear: int
    lds: float
    inside: ChangesInside | None = field(default=None)


def find_removals(
    batches: Sequence[Int[np.ndarray, "step batch"]], seeds: Sequence[int], folds: Int[np.ndarray, " run"]
) -> Removals | None:
    """The pairs among runs whose curricula are the same but for places of a group; None where there are few groups.

    Both runs of a pair have one seed and were held out by the same fold; that with it has the most different examples.
    """
    different = [len(np.unique(one)) for one in batches]
    wholes: dict[tuple[int, int], int] = {}
    for place in sorted(range(len(batches)), key=lambda place: -different[place]):
        wholes.setdefault((int(folds[place]), int(seeds[place])), place)
    numbers: dict[bytes, int] = {}
    groups: list[Int[np.ndarray, " group"]] = []
    pairs = []
    for place, one in enumerate(batches):
        whole = wholes.get((int(folds[place]), int(seeds[place])))
        if whole is None or whole == place or batches[whole].shape != one.shape:
            continue
        there = batches[whole]
        gone = np.setdiff1d(there, one)
        # In their places others may be, or none.
        if len(gone) == 0 or not ((one == there) | np.isin(there, gone)).all():
            continue
        key = gone.astype(np.int64).tobytes()
        if key not in numbers:
            numbers[key] = len(groups)
            groups.append(gone)
        pairs.append((numbers[key], place, whole))
    if len(groups) < FEWEST_REMOVALS:
        return None
    return Removals(tuple(groups), np.array(pairs, dtype=np.int64))


def removal_scores(
    removals: Removals,
    predicted: Float[np.ndarray, "run recorded test"],
    recorded: Float[np.ndarray, "run recorded test"],
    seed: int = 42,
    sure: ChangeSpreads | None = None,
) -> RemovalScores:
    """The scores of predicted changes against recorded ones, when small groups of examples are left out.

    Args:
        removals: which runs lack which groups, and what they are compared with.
        predicted: trajectories of the runs.
        recorded: the same as recorded; test examples that aren't recorded in all pairs are left out.
        seed: of the draws that intervals come from.
        sure: how sure the estimator is of these changes, None where it doesn't tell.
    """
    truth, ours = removals.changes(recorded, recorded), removals.changes(predicted, recorded)
    known = np.isfinite(truth).all(axis=0)
    truth, ours = truth[:, known], ours[:, known]
    each, each_ours, each_noise = removals.averaged(truth), removals.averaged(ours), removals.variances(truth)
    mean, mean_ours = each.mean(axis=1), each_ours.mean(axis=1)
    noise = removals.variances(truth.mean(axis=1))
    weights = draw_weights(len(removals), seed)
    clear = np.abs(mean) > CLEAR * np.sqrt(noise)
    slope = _slope(mean, mean_ours, np.ones((1, len(mean))))[0]
    inside = None
    if sure is not None and sure.reach and np.isfinite(noise).all():
        errors = np.column_stack([each_ours - each, mean_ours - mean])
        spreads = sure.spreads[:, np.append(known, True)]
        inside = changes_inside(errors, spreads, np.column_stack([each_noise, noise]), sure.reach)
    draws = _slope(mean, mean_ours, weights)
    return RemovalScores(
        slope=float(slope),
        slope_interval=interval(float(slope), draws, freedom_of(np.arange(len(removals)))),
        error=_in_noise(mean_ours - mean, noise),
        error_each=_in_noise(each_ours - each, each_noise),
        signs=int((clear & (np.sign(mean) == np.sign(mean_ours))).sum()),
        clear=int(clear.sum()),
        lds=_averaged_lds(removals, predicted, recorded),
        inside=inside,
    )


def changes_inside(
    errors: Float[np.ndarray, "group column"],
    spreads: Float[np.ndarray, "group column"],
    noise: Float[np.ndarray, "group column"],
    reach: Mapping[float, float],
) -> ChangesInside:
    """How many recorded changes lie inside the intervals of predicted ones, which the recorded changes' noise widens.

    What is predicted is the change in the mean over all orders, and recorded is one in the mean over a few.

    Args:
        errors: of predicted changes, of each test example and last of their mean.
        spreads: standard deviations of the predicted changes.
        noise: variances that orders make of the recorded ones.
        reach: by level, how many standard deviations an interval reaches to each side.
    """
    wide = np.sqrt(spreads**2 + noise)
    held = {level: np.abs(errors) <= far * wide for level, far in reach.items()}
    own = float(np.mean(noise[:, -1]))
    return ChangesInside(
        {level: float(one[:, -1].mean()) for level, one in held.items()},
        {level: float(one[:, :-1].mean()) for level, one in held.items()},
        float(np.sqrt(np.mean(spreads[:, -1] ** 2) / own)) if own > 0 else float("inf"),
    )


def _slope(
    recorded: Float[np.ndarray, " group"],
    predicted: Float[np.ndarray, " group"],
    weights: Float[np.ndarray, "draw group"],
) -> Float[np.ndarray, " draw"]:
    """Least squares through the origin; NaN where nothing is predicted to change."""
    below = weights @ predicted**2
    return np.where(below > 0, weights @ (recorded * predicted) / np.where(below > 0, below, 1.0), np.nan)


def _in_noise(errors: Float[np.ndarray, "..."], variances: Float[np.ndarray, "..."]) -> float:
    """The root of mean squared error over mean variance; NaN where there is no noise, or it isn't known."""
    noise = float(np.mean(variances)) if variances.size else float("nan")
    return float(np.sqrt(np.mean(errors**2) / noise)) if noise > 0 else float("nan")


def _averaged_lds(
    removals: Removals,
    predicted: Float[np.ndarray, "run recorded test"],
    recorded: Float[np.ndarray, "run recorded test"],
) -> float:
    """LDS of the training sets less a group, final scores averaged over orders first.

    The sets must have the same orders; else what is left of their orders' noise would count as their own, and the
    changes from the whole set are taken instead, which is the same where orders are shared.
    """
    truth, ours = (removals.averaged(removals.changes(one, recorded)) for one in (recorded, predicted))
    # A first row that no score counts.
    shape = (len(removals), 1, truth.shape[1])
    return lds(*(np.concatenate([np.zeros(shape), one[:, None]], axis=1) for one in (ours, truth)))
