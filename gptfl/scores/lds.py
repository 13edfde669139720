"""Per-test-example agreement across runs: does the simulator rank curricula as training does?

This linear datamodelling score correlates single runs. TRAK's averages the recorded outcome over
several seeds a subset first, which raises it; the two aren't to be compared.
"""

import numpy as np
from jaxtyping import Float, Int

from gptfl.scores.pointwise import at_rows, counted, final_rows
from gptfl.scores.ranks import weighted_spearman

FEWEST_RUNS = 8
"""Below this many held-out runs no LDS is shown."""
RELIABLE_RUNS = 20
"""Below this many held-out runs an LDS is marked unreliable."""
RESOLUTION = float(np.finfo(np.float32).eps)
"""Values that differ by less than this share of their size are taken as the same."""


def final_deviations(
    values: Float[np.ndarray, "run recorded test"],
    recorded: Float[np.ndarray, "run recorded test"],
    reference: Float[np.ndarray, "run recorded test"],
) -> Float[np.ndarray, "run test"]:
    """``values - reference`` at each run's last recorded step, NaN where nothing is recorded there."""
    rows = final_rows(recorded)
    known = at_rows(counted(recorded), rows)
    return np.where(known, at_rows(values, rows) - at_rows(reference, rows), np.nan)


def centred(values: Float[np.ndarray, "run test"], groups: Int[np.ndarray, " run"]) -> Float[np.ndarray, "run test"]:
    """``values`` less their own mean over the runs of each group; NaN (not known) stays out.

    Where a group holds a single known value there is nothing to compare it with: NaN. Where all are
    the same but for rounding, they are exactly 0.
    """
    result = np.full(values.shape, np.nan)
    for group in np.unique(groups):
        members = groups == group
        inside = values[members]
        known = np.isfinite(inside)
        count = known.sum(axis=0)
        mean = np.where(known, inside, 0.0).sum(axis=0) / np.maximum(count, 1)
        high = np.where(known, inside, -np.inf).max(axis=0)
        low = np.where(known, inside, np.inf).min(axis=0)
        same = high - low <= RESOLUTION * np.where(known, np.abs(inside), 0.0).max(axis=0)
        result[members] = np.where(known & (count > 1), np.where(same, 0.0, inside - mean), np.nan)
    return result


def comparable(groups: Int[np.ndarray, " run"]) -> int:
    """How many runs share their group with another one."""
    sizes = np.unique(groups, return_counts=True)[1]
    return int(sizes[sizes > 1].sum())


def lds_draws(
    predicted: Float[np.ndarray, "run recorded test"],
    recorded: Float[np.ndarray, "run recorded test"],
    groups: Int[np.ndarray, " run"],
    weights: Float[np.ndarray, "draw run"],
) -> Float[np.ndarray, " draw"]:
    """LDS in each bootstrap draw; NaN where no test example is left.

    Values are centred once, on all runs of a group, and the centred ones are drawn. With m runs a
    group their spread is that of 1 - 1 / m as many runs, so that draws are somewhat too alike for
    small groups. A test example whose recorded value doesn't vary within any group has no ranking to
    predict and is left out; one for which the prediction doesn't vary counts 0.

    Args:
        predicted: trajectories, of which the last recorded values count.
        recorded: the same of the held-out runs.
        groups: the group of each run; runs are ranked within theirs.
        weights: how often each run counts in each draw.
    """
    rows = final_rows(recorded)
    known = at_rows(counted(recorded), rows)
    truth, ours = (centred(np.where(known, at_rows(values, rows), np.nan), groups) for values in (recorded, predicted))
    total = np.zeros(len(weights))
    count = np.zeros(len(weights))
    for test in range(truth.shape[1]):
        there = np.isfinite(truth[:, test])
        chosen = np.ascontiguousarray(weights[:, there].T)
        varies = np.isfinite(weighted_spearman(truth[there, test], truth[there, test], chosen))
        count += varies
        if ours[there, test].any():
            rho = weighted_spearman(ours[there, test], truth[there, test], chosen)
            total += np.where(varies, np.nan_to_num(rho), 0.0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def lds(
    predicted: Float[np.ndarray, "run recorded test"],
    recorded: Float[np.ndarray, "run recorded test"],
    groups: Int[np.ndarray, " run"] | None = None,
) -> float:
    """Mean over test examples of Spearman's rho across held-out runs at the final step.

    ``groups`` numbers the runs that are compared with each other, such as those of one fold (default:
    all with all). Predicted and recorded values are each centred on their own mean over the group,
    which changes no rank within it, and pooled over groups; a run alone in its group is left out. A
    constant prediction counts 0. NaN where nothing can be compared.
    """
    groups = np.zeros(len(recorded), dtype=np.int64) if groups is None else groups
    return float(lds_draws(predicted, recorded, groups, np.ones((1, len(recorded))))[0])
