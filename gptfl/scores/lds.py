"""Per-test-example agreement across runs: does the simulator rank curricula as training does?

This linear datamodelling score correlates single runs. TRAK's averages the recorded outcome over
several seeds a subset first, which raises it; the two aren't to be compared.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

from gptfl.scores.pointwise import at_rows, counted, final_rows
from gptfl.scores.ranks import weighted_spearman

FEWEST_RUNS = 8
"""Below this many held-out runs no LDS is shown."""
RELIABLE_RUNS = 20
"""Below this many held-out runs an LDS is marked unreliable."""
RESOLUTION = float(np.finfo(np.float32).eps)
"""Predictions that differ by less than this share of their size are taken as the same."""


def final_deviations(
    values: Float[np.ndarray, "run recorded test"],
    recorded: Float[np.ndarray, "run recorded test"],
    reference: Float[np.ndarray, "run recorded test"],
) -> Float[np.ndarray, "run test"]:
    """``values - reference`` at each run's last recorded step, NaN where nothing is recorded there."""
    rows = final_rows(recorded)
    known = at_rows(counted(recorded), rows)
    return np.where(known, at_rows(values, rows) - at_rows(reference, rows), np.nan)


def is_constant(predicted: Float[np.ndarray, "run test"], folds: Int[np.ndarray, " run"]) -> Bool[np.ndarray, " test"]:
    """For which test examples a prediction is the same for every held-out run of each fold.

    Judged within folds: each fold has its own reference, so that a prediction which ignores the
    curriculum altogether still deviates from it differently in different folds.
    """
    constant = np.ones(predicted.shape[1], dtype=bool)
    size = np.nan_to_num(np.abs(predicted)).max(axis=0, initial=0.0)
    for fold in np.unique(folds):
        inside = predicted[folds == fold]
        high = np.where(np.isnan(inside), -np.inf, inside).max(axis=0)
        low = np.where(np.isnan(inside), np.inf, inside).min(axis=0)
        constant &= high - low <= RESOLUTION * size
    return constant


def lds_draws(
    predicted: Float[np.ndarray, "run recorded test"],
    recorded: Float[np.ndarray, "run recorded test"],
    reference: Float[np.ndarray, "run recorded test"],
    folds: Int[np.ndarray, " run"],
    weights: Float[np.ndarray, "draw run"],
) -> Float[np.ndarray, " draw"]:
    """LDS when run r counts ``weights[draw, r]`` times.

    A test example whose recorded deviation doesn't vary has no ranking to predict and is left out;
    one for which the prediction doesn't vary counts 0. NaN where no test example is left.
    """
    truth = final_deviations(recorded, recorded, reference)
    ours = final_deviations(predicted, recorded, reference)
    level = at_rows(predicted, final_rows(recorded))
    ignorant = is_constant(np.where(np.isnan(truth), np.nan, level), folds)
    total = np.zeros(len(weights))
    count = np.zeros(len(weights))
    for test in range(truth.shape[1]):
        known = np.isfinite(truth[:, test])
        chosen = np.ascontiguousarray(weights[:, known].T)
        varies = np.isfinite(weighted_spearman(truth[known, test], truth[known, test], chosen))
        count += varies
        if not ignorant[test]:
            rho = weighted_spearman(ours[known, test], truth[known, test], chosen)
            total += np.where(varies, np.nan_to_num(rho), 0.0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def lds(
    predicted: Float[np.ndarray, "run recorded test"],
    recorded: Float[np.ndarray, "run recorded test"],
    reference: Float[np.ndarray, "run recorded test"],
    folds: Int[np.ndarray, " run"] | None = None,
) -> float:
    """Mean over test examples of Spearman's rho across held-out runs at the final step.

    What is correlated are the predicted and the recorded deviation from ``reference``: for each
    held-out run the mean trajectory of its fold's training runs. ``folds`` names each run's fold
    (default: one). A constant prediction counts 0. Shown only from ``FEWEST_RUNS`` runs on.
    """
    folds = np.zeros(len(recorded), dtype=np.int64) if folds is None else folds
    return float(lds_draws(predicted, recorded, reference, folds, np.ones((1, len(recorded))))[0])
