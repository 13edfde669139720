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


def is_constant(
    predicted: Float[np.ndarray, "run test"], deviation: Float[np.ndarray, "run test"], folds: Int[np.ndarray, " run"]
) -> Bool[np.ndarray, " test"]:
    """For which test examples a prediction says the same of every held-out run (NaN: not asked).

    Either the prediction itself or its deviation from the reference is the same for all runs, or the
    prediction is the same for all runs of each fold: each fold has its own reference, so that a
    prediction which ignores the curriculum still deviates from it differently in different folds.
    Where every fold holds a single run, only the first two can be told.
    """
    size = np.nan_to_num(np.abs(predicted)).max(axis=0, initial=0.0)
    constant = (_spread(predicted) <= RESOLUTION * size) | (_spread(deviation) <= RESOLUTION * size)
    members = [predicted[folds == fold] for fold in np.unique(folds)]
    if any(len(inside) > 1 for inside in members):
        constant |= np.all([_spread(inside) <= RESOLUTION * size for inside in members], axis=0)
    return np.asarray(constant)


def _spread(values: Float[np.ndarray, "run test"]) -> Float[np.ndarray, " test"]:
    high = np.where(np.isnan(values), -np.inf, values).max(axis=0, initial=-np.inf)
    low = np.where(np.isnan(values), np.inf, values).min(axis=0, initial=np.inf)
    return np.asarray(high - low)


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
    ignorant = is_constant(np.where(np.isnan(truth), np.nan, level), ours, folds)
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
