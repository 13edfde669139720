"""What an estimator may be fitted to when examples are set aside."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Int

from gptfl.core import Curriculum, FitData, Run
from gptfl.core.holdout import HeldOutExamples, kept_places
from gptfl.core.queries import features_at
from gptfl.core.runs import cut_run, of_tests
from gptfl.errors import DataError
from gptfl.plugins.interfaces import Estimator


def without_held_out(data: FitData, held_out: HeldOutExamples | None, estimator: Estimator) -> FitData:
    """What the estimator may be fitted to when these examples are set aside.

    Pool, batches, test examples, metrics, features and gradients are those of the others alone, renumbered; runs
    become pieces (see ``pieces``). An estimator that is ``blind`` keeps the pool and the runs whole. Raises
    ``DataError`` where no piece to fit is left.
    """
    if held_out is None:
        return data
    hidden = () if estimator.tags.blind else held_out.pool
    pool, tests = kept_places(len(data.pool), hidden), kept_places(len(data.test), held_out.test)
    place = np.full(len(data.pool) + 1, -1)  # the last entry is for padding
    place[pool] = np.arange(len(pool))
    gone = np.zeros(len(data.pool) + 1, dtype=bool)
    gone[list(hidden)] = True

    def reduced(runs: Sequence[Run]) -> tuple[Run, ...]:
        return tuple(_renumbered(of_tests(piece, tests), place) for run in runs for piece in pieces(run, gone))

    fit_runs = reduced(data.fit_runs)
    if not fit_runs:
        raise DataError(
            f"between any two recorded scores of the runs to fit, one of the {len(hidden)} training examples set "
            "aside was trained on",
            "give a smaller --unseen-share, or record more often (gptfl collect --record-every)",
        )
    seen_pool, seen_test = tuple(data.pool[i] for i in pool), tuple(data.test[i] for i in tests)
    return replace(
        data,
        pool=seen_pool,
        test=seen_test,
        fit_runs=fit_runs,
        validation_runs=reduced(data.validation_runs),
        features=None if data.features is None else features_at(data.features, seen_pool, seen_test, pool, tests),
        gradients=None if data.gradients is None else data.gradients.of_examples(pool, tests),
    )


def pieces(run: Run, gone: Bool[np.ndarray, " pool_and_padding"]) -> Iterator[Run]:
    """The stretches of a run, of two recorded scores or more, in which no example of ``gone`` was trained on.

    A piece begins at a recorded step, whatever led there; its batches outside the stretch are empty. A run
    without such examples is its own only piece.
    """
    batches = run.curriculum.batches
    touched = gone[batches].any(axis=1)
    if not touched.any():
        yield run
        return
    edges = run.steps
    dirty = np.array([touched[a:b].any() for a, b in itertools.pairwise(edges)], dtype=bool)
    begin = 0
    for interval in range(len(dirty) + 1):
        if interval < len(dirty) and not dirty[interval]:
            continue
        if interval > begin:
            cut = cut_run(run, np.arange(begin, interval + 1))
            inside = np.arange(len(batches))[:, None]
            within = (inside >= edges[begin]) & (inside < edges[interval])
            yield replace(cut, curriculum=Curriculum(np.where(within, batches, -1), run.curriculum.learning_rates))
        begin = interval + 1


def _renumbered(run: Run, place: Int[np.ndarray, " pool_and_padding"]) -> Run:
    return replace(run, curriculum=Curriculum(place[run.curriculum.batches], run.curriculum.learning_rates))


def left_note(whole: FitData, data: FitData, where: str = "") -> tuple[str, ...]:
    """How much of the runs to fit (``where``, as in `` of fold 2``) their pieces hold; nothing where all is left."""
    before, after = (sum(len(run.steps) - 1 for run in one.fit_runs) for one in (whole, data))
    if before == after:
        return ()
    return (
        f"{after} of the {before} intervals between recorded scores{where} are left to learn from; in the others a training "
        "example that was set aside was trained on",
    )
