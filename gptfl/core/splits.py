"""Which runs teach and which test, and what is asked about the runs that test."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from gptfl.core.groups import groups_of, joined
from gptfl.core.runs import FIT, REPEAT, TEST, VALIDATION, MetricInfo, Run, cut_run
from gptfl.errors import DataError, UsageError

FEWEST_FIT_RUNS = 2
"""With fewer runs to fit there is no average run to speak of."""
RECOMMENDED_FOLDS = 4
MORE_RUNS = "record more runs (gptfl collect --runs)"


@dataclass(frozen=True, slots=True)
class Split:
    """One division of the runs; ``fold`` numbers it."""

    fold: int
    fit: tuple[Run, ...]
    validation: tuple[Run, ...]
    test: tuple[Run, ...]


def stored_split(runs: Sequence[Run]) -> Split:
    """The division by the roles that the recording holds."""
    return Split(0, *(tuple(run for run in runs if run.role == role) for role in (FIT, VALIDATION, TEST)))


def taught_by_all(runs: Sequence[Run], test: Sequence[Run]) -> Split:
    """All runs but repeats teach, those validate that do by their role, and other runs are tested."""
    validation = tuple(run for run in runs if run.role == VALIDATION)
    return Split(0, tuple(run for run in runs if run.role in (FIT, TEST)), validation, tuple(test))


def fold_splits(runs: Sequence[Run], folds: int, together: int = 1) -> list[Split]:
    """``folds`` divisions that test every run once: fold k tests the runs whose index is k modulo ``folds``.

    Of the others, every 12th validates, as in the paper's 25 to 2; which ones depends on index and
    fold alone. Runs that repeat others take no part. Runs that belong together (see ``units_of``) are in the same
    fold, and it is these groups that are counted.
    """
    if folds < 2:
        raise UsageError(f"is {folds}", "give at least 2", option="folds")
    runs = [run for run in runs if run.role != REPEAT]
    units = units_of(runs, together)
    if folds > len(set(units)):
        offer = most_folds(runs, together, len(set(units)))
        raise UsageError(
            f"--folds {folds} is more than {_counted(len(set(units)), len(runs), together)}",
            MORE_RUNS if offer is None else f"give at most --folds {offer}, or {MORE_RUNS}",
        )
    splits = []
    for fold in range(folds):
        rest = [(run, unit) for run, unit in zip(runs, units, strict=True) if unit % folds != fold]
        validation = tuple(run for run, unit in rest if _place(unit, fold, folds) % 12 == 5)
        fit = tuple(run for run, unit in rest if _place(unit, fold, folds) % 12 != 5)
        test = tuple(run for run, unit in zip(runs, units, strict=True) if unit % folds == fold)
        if test:
            splits.append(Split(fold, fit, validation, test))
    return splits


def _counted(units: int, runs: int, together: int) -> str:
    """How many runs, or groups of runs that belong together, there are to divide."""
    noun = "run" if runs == 1 else "runs"
    if units == runs:
        return f"the {runs} {noun}"
    return f"the {units} {'pairs' if together == 2 else 'groups that belong together'} of {runs} {noun}"


def units_of(runs: Sequence[Run], together: int = 1) -> list[int]:
    """A number for each run, the same for those that belong together: its index, where nothing joins it with others.

    So many consecutive indices are one unit as a design has ``together`` (see ``designs.draws.TOGETHER``), and so are
    runs whose curricula show it (``core.groups_of``), for imported runs tell of no design. A unit that is joined
    with an earlier one leaves no gap in the numbers, so that folds are of about the same size.
    """
    own = [run.index // together for run in runs]
    units = joined(own, groups_of(runs).tolist())
    gone = sorted(set(own) - set(units))
    return [unit - bisect_left(gone, unit) for unit in units]


def most_folds(runs: Sequence[Run], together: int = 1, most: int = RECOMMENDED_FOLDS) -> int | None:
    """The largest number of folds, at ``most`` as many as are recommended, that each leave enough runs to fit, or None."""
    units = len(set(units_of([run for run in runs if run.role != REPEAT], together)))
    for folds in range(min(most, units), 1, -1):
        if all(len(split.fit) >= FEWEST_FIT_RUNS for split in fold_splits(runs, folds, together)):
            return folds
    return None


def _place(index: int, fold: int, folds: int) -> int:
    """Which place an index has among all those that are not in the fold."""
    return index - (index - fold + folds - 1) // folds


def check_fit_runs(split: Split) -> None:
    """Raise ``DataError`` where there are too few runs to learn from."""
    if len(split.fit) < FEWEST_FIT_RUNS:
        count = f"is {len(split.fit)} run" if len(split.fit) == 1 else f"are {len(split.fit)} runs"
        raise DataError(f"there {count} to fit and at least {FEWEST_FIT_RUNS} are needed", MORE_RUNS)


def usable_runs(
    runs: Iterable[Run], metric: MetricInfo, tests: Int[np.ndarray, " chosen"] | None = None
) -> tuple[list[Run], tuple[str, ...]]:
    """The runs that can be rolled out, each cut to begin where every test example has a first value.

    Only those at ``tests`` are looked at, where given. The notes name the runs left out: those without such a
    step, or without a later one.
    """
    kept, lost = [], []
    for run in runs:
        values = run.metrics[metric.name]
        known = np.isfinite(values if tests is None else values[:, tests])
        complete = np.flatnonzero(known.all(axis=1))
        if len(complete) == 0 or not known[complete[0] + 1 :].any():
            lost.append(run.name)
            continue
        kept.append(cut_run(run, np.arange(complete[0], len(run.steps))))
    if not lost:
        return kept, ()
    return kept, (f"left out, for want of a first and a later {metric.name} of every test example: {', '.join(lost)}",)
