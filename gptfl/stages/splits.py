"""Which runs teach and which test, and what is asked about the runs that test."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from gptfl.errors import DataError, UsageError
from gptfl.records import FIT, REPEAT, TEST, VALIDATION, MetricInfo, Query, Run, changes_between, groups_of, joined

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


def fold_splits(runs: Sequence[Run], folds: int, together: int = 1) -> list[Split]:
    """``folds`` divisions that test every run once: fold k tests the runs whose index is k modulo ``folds``.

    Of the others, every 12th validates, as in the paper's 25 to 2; which ones depends on index and
    fold alone. Runs that repeat others take no part. Runs that belong together (see ``units_of``) are in the same
    fold, and it is these groups that are counted.
    """
    if folds < 2:
        raise UsageError(f"--folds is {folds}", "give at least 2")
    runs = [run for run in runs if run.role != REPEAT]
    units = units_of(runs, together)
    if folds > len(set(units)):
        offer = most_folds(runs, together)
        raise UsageError(
            f"--folds {folds} is more than {_counted(len(set(units)), len(runs), together)}",
            MORE_RUNS if offer is None else f"give --folds {offer}, or {MORE_RUNS}",
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
    runs whose curricula show it (``records.groups_of``), for imported runs tell of no design. A unit that is joined
    with an earlier one leaves no gap in the numbers, so that folds are of about the same size.
    """
    own = [run.index // together for run in runs]
    units = joined(own, groups_of(runs).tolist())
    gone = sorted(set(own) - set(units))
    return [unit - bisect_left(gone, unit) for unit in units]


def most_folds(runs: Sequence[Run], together: int = 1) -> int | None:
    """How many folds to recommend: up to 4, such that each leaves enough runs to fit; None where no number does."""
    units = len(set(units_of([run for run in runs if run.role != REPEAT], together)))
    for folds in range(min(RECOMMENDED_FOLDS, units), 1, -1):
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


def cut_run(run: Run, rows: Int[np.ndarray, " kept"]) -> Run:
    """The same run with some of its recorded steps, in order; derivatives are summed over those left out."""
    if len(rows) == len(run.steps):
        return run
    return replace(
        run,
        steps=run.steps[rows],
        metrics={name: values[rows] for name, values in run.metrics.items()},
        derivatives={name: changes_between(changes, rows) for name, changes in run.derivatives.items()},
    )


def measured(run: Run, metric: MetricInfo) -> Run:
    """The run at the steps at which a test example has the metric: generated text is not measured at every one.

    A run that has it nowhere stays as it is.
    """
    rows = np.flatnonzero(np.isfinite(run.metrics[metric.name]).any(axis=1))
    return cut_run(run, rows) if len(rows) else run


def thinned(run: Run, every: int) -> Run:
    """The run with its first recorded step, each ``every``-th after it, and the last."""
    rows = np.arange(0, len(run.steps), every)
    return cut_run(run, np.unique(np.append(rows, max(len(run.steps) - 1, 0))) if len(run.steps) else rows)


def query_for(runs: Sequence[Run], metric: MetricInfo, observed: int = 0) -> Query:
    """What an estimator is asked about runs that were recorded at the same steps.

    It is told the first ``observed`` recorded scores after the start of each.
    """
    longest = max(run.curriculum.steps for run in runs)
    widest = max(run.curriculum.batches.shape[1] for run in runs)
    batches = np.full((len(runs), longest, widest), -1, dtype=np.int64)
    rates = np.zeros((len(runs), longest))
    for row, run in enumerate(runs):
        steps, width = run.curriculum.batches.shape
        batches[row, :steps, :width] = run.curriculum.batches
        rates[row, :steps] = run.curriculum.learning_rates
    first = np.stack([run.metrics[metric.name][0] for run in runs]).astype(np.float64)
    directions = sorted(set.intersection(*(set(run.derivatives) for run in runs)))
    derivatives = {name: np.stack([run.derivatives[name] for run in runs]) for name in directions}
    told = np.stack([given_part(run, metric, observed) for run in runs]) if observed else None
    return Query(batches, rates, runs[0].steps, first, derivatives=derivatives, observed=told)


def given_part(run: Run, metric: MetricInfo, observed: int) -> Float[np.ndarray, "recorded test"]:
    """The first ``observed`` recorded scores after a run's start, NaN elsewhere."""
    values = run.metrics[metric.name].astype(np.float64)
    given = np.full(values.shape, np.nan)
    given[1 : observed + 1] = values[1 : observed + 1]
    return given


def same_steps(runs: Sequence[Run]) -> list[list[int]]:
    """Places of runs, grouped by the steps they were recorded at."""
    groups: dict[bytes, list[int]] = {}
    for place, run in enumerate(runs):
        groups.setdefault(run.steps.astype(np.int64).tobytes(), []).append(place)
    return list(groups.values())


def stacked(arrays: Sequence[Float[np.ndarray, "recorded test"]]) -> Float[np.ndarray, "run recorded test"]:
    """Runs of different length in one array, padded with NaN at the end."""
    longest = max(len(array) for array in arrays)
    result = np.full((len(arrays), longest, arrays[0].shape[1]), np.nan)
    for row, array in enumerate(arrays):
        result[row, : len(array)] = array
    return result
