"""What a reader must know to read a comparison right."""

import math

import numpy as np

from gptfl.report.calibration import percent
from gptfl.report.cells import NOTHING, number, spread
from gptfl.report.notes import spanned
from gptfl.scores.ceiling import Ceiling
from gptfl.scores.comparison import FEWEST_CLEAR, Comparison, ScoreRow, Value
from gptfl.scores.lds import FEWEST_RUNS, RELIABLE_RUNS, comparable

ORACLE = "†"
"""Marks the rows of estimators that looked along the runs that they predict."""
UNCONDITIONED = "‡"
"""Marks the rows of estimators that don't look at what was observed of a run."""

STEPS_SHOWN = 4
"""At so many steps skill stands under the table; files have it at all."""
KNOWN_BY_STEP = ("persistence", "mean-run")
"""Whose skill at a step says nothing new: far below 0, and 0."""


def setting(comparison: Comparison) -> str:
    """What was compared on what, in one line."""
    name = f"{comparison.metric.name} of {comparison.recording}"
    if comparison.folds is None:
        runs = f"fitted on {comparison.fit_runs} runs (validated on {comparison.validation_runs})"
        return f"{name}: {runs}, tested on {comparison.runs}{_unseen(comparison)}"
    return f"{name}: {comparison.folds} folds over {comparison.runs} runs{_unseen(comparison)}"


def _unseen(comparison: Comparison) -> str:
    counts = {"training": "train", "test": "test"}
    unseen = [(noun, len((comparison.unseen or {}).get(side, ()))) for noun, side in counts.items()]
    parts = [f"{count} unseen {noun} examples" for noun, count in unseen if count]
    return f", {' and '.join(parts)}" if parts else ""


def footnotes(comparison: Comparison, best: str = "Bold") -> list[str]:
    """What a reader must know to read the table right; ``best`` says how the table marks the clear best."""
    within = "" if comparison.folds is None else ", each less its mean over the runs that the same fold held out"
    notes = [
        "MSE, MAE: over all steps after the first, ± standard deviation over runs. "
        "Final ρ: Spearman across test examples within a run, which knowing the test examples is enough to win.",
        "Skill: 1 - SSE / SSE of mean-run, the average training run. LDS: for each test example, Spearman across "
        f"held-out runs between predicted and recorded value at the final step{within}. It takes single runs, where "
        "TRAK's averages over seeds; the two aren't comparable.",
        f"Brackets: 95 % bootstrap intervals over {_drawn(comparison)}.",
    ]
    if (comparison.unseen or {}).get("test"):
        notes.append(
            "Only the unseen test examples are scored. Mean-run gives them the average change of the others, "
            "regressed on the first score."
        )
    compared = comparable(comparison.held_out.peers)
    if comparison.runs < FEWEST_RUNS:
        noun = "run" if comparison.runs == 1 else "runs"
        notes.append(f"LDS is not shown for {comparison.runs} held-out {noun}; it takes {FEWEST_RUNS}.")
    elif compared < FEWEST_RUNS:
        fewer = "" if comparison.folds is None else "; fewer folds would do"
        notes.append(
            f"LDS is not shown: it compares runs held out together that end at the same step, and only {compared} of "
            f"{comparison.runs} have another to be compared with, where it takes {FEWEST_RUNS}{fewer}."
        )
    elif compared < RELIABLE_RUNS:
        notes.append(f"? LDS of fewer than {RELIABLE_RUNS} held-out runs is unreliable.")
    if comparison.held_out.independent < FEWEST_CLEAR:
        what = "runs" if comparison.runs < FEWEST_CLEAR else "groups of runs"
        notes.append(f"No best is marked with fewer than {FEWEST_CLEAR} held-out {what}; more runs or folds would.")
    else:
        notes.append(f"{best}: best, by paired differences to all others whose intervals exclude 0.")
    if any(row.by_task for row in comparison.rows):
        notes.append(
            "Below each estimator, its scores on each task of the mixture. Above them, MSE, MAE and final ρ are the means "
            "of the tasks' own, as in the paper; LDS and skill take all test examples together."
        )
    notes += _by_step(comparison) + _observed(comparison) + _ceilings(comparison) + _excesses(comparison)
    if any(row.oracle for row in comparison.rows):
        notes.append(
            f"{ORACLE} Oracle: it looked along the very runs that it predicts, which no prediction of a run that was "
            "not made can do. It is never marked best."
        )
    kept = [row.estimator for row in comparison.rows if row.reused]
    if kept:
        notes.append(f"Taken from earlier fits: {', '.join(kept)}.")
    notes += [f"{row.estimator} failed: {row.error}" for row in comparison.rows if row.error]
    same_reason: dict[str, list[str]] = {}
    for name, reason in comparison.left_out.items():
        same_reason.setdefault(reason.removeprefix(f"{name} "), []).append(name)
    notes += [f"{', '.join(names)} left out: {reason}" for reason, names in same_reason.items()]
    for row in comparison.rows:
        name = row.name or row.estimator
        texts = (note.removeprefix(name) if note.startswith(name) else f": {note}" for note in spanned(row.notes))
        notes += [f"{row.estimator}{rest}" for rest in texts]
    return [*notes, *comparison.notes]


def _drawn(comparison: Comparison) -> str:
    """What the bootstrap draws."""
    units = comparison.held_out.independent
    if units == comparison.runs:
        return "runs"
    return f"the {units} groups of runs that train on the same examples or are pairs"


def _by_step(comparison: Comparison) -> list[str]:
    """Skill at some steps of those that learn: the whole may tell of the few steps at which losses collapse."""
    rows = [row for row in comparison.rows if row.skill_by_step and row.name not in KNOWN_BY_STEP]
    steps = sorted({step for row in rows for step in row.skill_by_step})
    if len(steps) < 2:
        return []
    places = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), STEPS_SHOWN)).round().astype(int))
    shown = [steps[place] for place in places]
    skills = [
        f"{row.estimator} "
        + ", ".join(
            number("skill", row.skill_by_step[step]) if step in row.skill_by_step else NOTHING for step in shown
        )
        for row in rows
    ]
    return [f"Skill at steps {', '.join(map(str, shown))}: {'; '.join(skills)}."]


def _observed(comparison: Comparison) -> list[str]:
    count = comparison.observed
    if not count:
        return []
    scores = "first recorded score" if count == 1 else f"first {count} recorded scores"
    notes = [f"Observed: the {scores} of each held-out run after its start, which no estimator is scored on."]
    if any(not row.conditions for row in comparison.rows):
        notes.append(f"{UNCONDITIONED} Predicts as if nothing had been observed.")
    return notes


def _ceilings(comparison: Comparison) -> list[str]:
    ceiling = comparison.ceiling
    if ceiling is None:
        return []
    subsets = "1 subset" if ceiling.subsets == 1 else f"{ceiling.subsets} subsets"
    notes = [
        f"Order-noise ceiling: {tops(ceiling)}. That is what one could reach who knew which examples a run sees but not "
        f"in which order, estimated from {ceiling.runs} runs on {subsets} in several orders. Brackets: 95 % intervals, "
        "which tell how much so few runs leave open."
    ]
    shares = []
    for row in comparison.rows:
        scores = [(title, row.shares.get(score)) for score, title in (("skill", "skill"), ("lds", "LDS"))]
        parts = [f"{_share(share)} of {title}" for title, share in scores if share is not None and share.value > 0]
        if parts:
            shares.append(f"{row.estimator} {' and '.join(parts)}")
    return [*notes, f"Share of the ceiling: {'; '.join(shares)}."] if shares else notes


def tops(ceiling: Ceiling) -> str:
    """The ceilings of skill and LDS with their intervals."""
    ceilings = [("skill", "skill", ceiling.skill, ceiling.skill_interval)]
    if ceiling.lds is not None:
        ceilings.append(("lds", "LDS", ceiling.lds, ceiling.lds_interval))
    return ", ".join(
        f"{title} {number(score, value)} {spread(score, Value(value, interval=bounds))}".rstrip()
        for score, title, value, bounds in ceilings
    )


def _share(share: Value) -> str:
    """A share of a ceiling with its interval, which is open where the ceiling may as well be nothing."""
    if share.interval is None:
        return percent(share.value)
    low, high = (f"{100 * bound:.3g}" if math.isfinite(bound) else None for bound in share.interval)
    if low is None:
        return f"{percent(share.value)} {'[anything]' if high is None else f'[{high} or less]'}"
    return f"{percent(share.value)} {f'[{low} or more]' if high is None else f'[{low}, {high}]'}"


def _excesses(comparison: Comparison) -> list[str]:
    if comparison.held_out.independent < FEWEST_CLEAR:
        return []
    clear: dict[str, list[str]] = {"more": [], "less": [], "no clear difference": []}
    over = ""
    for row in comparison.rows:
        if row.excess is None or row.excess.over == row.estimator:
            continue
        over = row.excess.over
        kind = "no clear difference" if not row.excess.clear else "more" if row.excess.more > 0 else "less"
        clear[kind].append(row.estimator)
    excesses = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in clear.items() if names)
    if not excesses:
        return []
    return [f"Squared error beside that of {over}, by paired differences whose intervals exclude 0: {excesses}."]


def label(row: ScoreRow, comparison: Comparison) -> str:
    """The row's name with its marks."""
    return " ".join([row.estimator, *marks(row, comparison)])


def marks(row: ScoreRow, comparison: Comparison) -> list[str]:
    """What sets a row apart from those that predict as they are asked to."""
    is_unconditioned = bool(comparison.observed) and not row.conditions and not row.error
    return [ORACLE] * row.oracle + [UNCONDITIONED] * is_unconditioned
