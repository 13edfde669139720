"""What exposure-gp takes from recorded runs, and what it must leave out of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import FitData, GradientProducts, Run, Unseen, fingerprint
from gptfl.core.blocked_products import BlockedProducts, as_products
from gptfl.core.examples import weights_of
from gptfl.core.free_memory import check_memory, free_memory, gigabytes
from gptfl.errors import DataError
from gptfl.estimators.exposure_gp.accumulation import Vectors
from gptfl.estimators.exposure_gp.gradient_prior import PriorProducts
from gptfl.estimators.exposure_gp.prior_rows import NegatedRows
from gptfl.estimators.exposure_gp.process import Curricula
from gptfl.estimators.exposure_gp.requests import RecordedRuns
from gptfl.estimators.exposure_gp.state import padded
from gptfl.estimators.left_out import named, of_steps

WHO = "exposure-gp"
KNOWN = "exposure-gp: products"
"""Under which a memo keeps products that were looked through."""
CELLS = 1000
"""So many values may be missing at one step: solving for them takes their cube."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """A run at the steps at which it has a score, NaN where it isn't known of a test example."""

    run: Run
    steps: Int[np.ndarray, " recorded"]
    values: Float[np.ndarray, "recorded test"]


def recorded_of(runs: Sequence[Run], data: FitData) -> tuple[RecordedRuns, tuple[str, ...]]:
    """The runs on the steps that two or more of them recorded, and notes on what was left out.

    A value that wasn't recorded stays NaN: at each step the runs count that have one. Left out are copies of a run, runs
    of which it isn't known what led to their first score, steps that a single run recorded, and steps at either end at
    which a test example has no score. Raises ``DataError`` where fewer than 2 runs or no step is left.
    """
    kept = [one for one in (_scored(run, data) for run in runs) if len(one.steps)]
    if not kept:
        raise DataError(
            f"there is no step at which {data.metric.name} is known for every test example in the runs to fit",
            "record more runs, or another metric",
        )
    kept, notes = _with_known_start(kept, len(runs))
    kept, more = _different(kept)
    notes += more
    if len(kept) < 2:
        raise DataError(
            f"{WHO}: {len(kept)} of the {len(runs)} runs to fit can be told from their beginning and is no copy of "
            "another, fewer than 2",
            "record more runs, or set the examples aside while recording (gptfl collect --reserve-pool)",
        )
    grid, more = _grid(kept, data)
    notes += more
    values = np.full((len(kept), len(grid), len(data.test)), np.nan)
    for row, one in enumerate(kept):
        there = np.isin(one.steps, grid)
        values[row, np.searchsorted(grid, one.steps[there])] = one.values[there]
    notes += _sparse(values, [one.run.name for one in kept])
    used = np.isfinite(values).any(axis=(1, 2))
    idle = [one.run.name for one, is_used in zip(kept, used, strict=True) if not is_used]
    if idle:
        notes += (f"{WHO}: left out {named(idle)}, recorded at no step that another run was recorded at",)
    batches, rates = padded([one.run.curriculum for one, is_used in zip(kept, used, strict=True) if is_used])
    weights = weights_of(data.pool)
    counted = {} if weights is None else {"relative": weights / weights.mean(), "unit": float(weights.mean())}
    return RecordedRuns(Curricula(batches, rates, **counted), grid, values[used], len(data.pool)), notes


def _scored(run: Run, data: FitData) -> _Kept:
    values = data.recorded(run).astype(np.float64)
    values = np.where(np.isfinite(values), values, np.nan)
    rows = np.isfinite(values).any(axis=1)
    return _Kept(run, run.steps[rows], values[rows])


def _with_known_start(kept: list[_Kept], count: int) -> tuple[list[_Kept], tuple[str, ...]]:
    """The runs of which it is known what led to their first score."""
    begin = min(int(one.steps[0]) for one in kept)

    def is_known(one: _Kept) -> bool:
        before = one.run.curriculum.batches[begin : int(one.steps[0])]
        return not len(before) or bool((before >= 0).any())

    notes: tuple[str, ...] = ()
    if len(kept) < count:
        notes += (f"{WHO}: left out {count - len(kept)} of {count} runs, which have no score",)
    lost = [one.run.name for one in kept if not is_known(one)]
    kept = [one for one in kept if is_known(one)]
    if lost:
        notes += (
            f"{WHO}: left out {len(lost)} of {count} runs or pieces of runs: they begin after step {begin}, and it isn't "
            f"known on what was trained before ({named(lost)})",
        )
    late = [one.run.name for one in kept if int(one.steps[0]) > begin]
    if late:
        notes += (
            f"{WHO}: {len(late)} of {count} runs have no score at step {begin} and count from their first one on "
            f"({named(late)})",
        )
    return kept, notes


def _different(kept: list[_Kept]) -> tuple[list[_Kept], tuple[str, ...]]:
    """The runs less those that are another again to the last bit: they tell nothing of chance."""
    first: dict[tuple[object, ...], _Kept] = {}
    copies = []
    for one in kept:
        curriculum = one.run.curriculum
        batches = curriculum.batches.astype(np.int64)
        parts = (batches, curriculum.learning_rates.astype(np.float64), one.steps.astype(np.int64), one.values)
        key = tuple((part.shape, part.tobytes()) for part in parts)
        if first.setdefault(key, one) is not one:
            copies.append(one.run.name)
    if not copies:
        return kept, ()
    return list(first.values()), (
        f"{WHO}: {len(copies)} of {len(kept)} runs are another one again, with the same batches and scores, and count "
        f"once ({named(copies)})",
    )


def _grid(kept: list[_Kept], data: FitData) -> tuple[Int[np.ndarray, " grid"], tuple[str, ...]]:
    """The steps that two runs or more recorded, from the first to the last at which each test example has a score."""
    steps, counts = np.unique(np.concatenate([one.steps for one in kept]), return_counts=True)
    shared = steps[counts >= 2]
    notes: tuple[str, ...] = ()
    if len(shared) < len(steps):
        notes += (f"{WHO}: left out {of_steps(steps[counts < 2])}, which a single run recorded",)
    known = np.zeros((len(shared), len(data.test)), dtype=bool)
    for one in kept:
        there = np.isin(one.steps, shared)
        known[np.searchsorted(shared, one.steps[there])] |= np.isfinite(one.values[there])
    whole = np.flatnonzero(known.all(axis=1))
    if not len(shared) or not len(whole) or (len(shared) == 1 and len(steps) > 1):
        some = f"step {shared[0]}" if len(shared) else "no step"
        problem = (
            f"there is no step at which {data.metric.name} is known for every test example in the runs to fit"
            if len(shared) > 1
            else f"{WHO}: two runs to fit or more recorded {some} and no other"
        )
        raise DataError(problem, "record runs at the same steps (gptfl collect --record-every), or another metric")
    grid = shared[whole[0] : whole[-1] + 1]
    if len(grid) < len(shared):
        worst = int(known.sum(axis=0).argmin())
        notes += (
            f"{WHO}: left out {of_steps(np.setdiff1d(shared, grid))}, where no run has a {data.metric.name} of every test example "
            f"(such as {data.test[worst].id!r})",
        )
    return grid, notes


def _sparse(values: Float[np.ndarray, "run grid test"], names: Sequence[str]) -> tuple[str, ...]:
    """Make runs NaN at the steps where too much is missing to be solved for, those first that lack the most.

    The notes tell of that, and of single scores that are missing.
    """
    known = np.isfinite(values)
    there = known.any(axis=2)
    missing = np.where(there, (~known).sum(axis=2), 0)
    total, lost = int(missing.sum()), 0
    for row in np.flatnonzero(missing.sum(axis=0) > CELLS):
        for run in np.argsort(-missing[:, row], kind="stable"):
            if missing[:, row].sum() <= CELLS or there[:, row].sum() <= 2:
                break
            lost += int(known[run, row].sum())
            values[run, row], there[run, row], missing[run, row] = np.nan, False, 0
    if not total:
        return ()
    some = [name for name, count in zip(names, (there[:, :, None] & ~known).sum(axis=(1, 2)), strict=True) if count]
    notes: tuple[str, ...] = (
        f"{WHO}: {total} scores are missing at steps at which their runs have others; it goes by those that are there"
        + (f" ({named(some)})" if some else ""),
    )
    if lost:
        notes += (f"{WHO}: left out {lost} scores at steps at which more than {CELLS} are missing",)
    return notes


def products_of(gradients: GradientProducts | None) -> PriorProducts | None:
    """Gradient products as the model takes them, None where none were recorded; what is in blocks stays so."""
    if gradients is None:
        return None
    if gradients.memo is None:
        found = _products_of(gradients)
    else:
        # Looking for points that aren't finite and for means goes through all of them.
        if KNOWN not in gradients.memo:
            gradients.memo[KNOWN] = _products_of(gradients)
        found = gradients.memo[KNOWN]
    return found if found.kinds else None


def _products_of(gradients: GradientProducts) -> PriorProducts:
    found = PriorProducts.of(gradients.steps, raw=gradients.raw, preconditioned=gradients.preconditioned)
    return replace(found, origin=_origin(gradients), memo=gradients.memo) if gradients.in_blocks else found


def held(products: PriorProducts | None) -> PriorProducts | None:
    """The same in memory. Raises ``ResourceError`` where they don't fit."""
    if products is None or not products.in_blocks:
        return products
    needed = 4 * sum(one.rows.size for one in products.kinds.values())
    takes = f"{WHO}, fitted to one run, holds the recording's gradient products in memory, {gigabytes(needed)}"
    check_memory(takes, needed, free_memory(), "record a second run, or give it sketches alone (products=false)")
    return products.in_memory()


def products_again(gradients: GradientProducts, fitted: PriorProducts) -> PriorProducts:
    """The products that a simulator was fitted to and doesn't keep. Raises ``DataError`` where these are others."""
    if _origin(gradients) != fitted.origin:
        raise DataError(f"{WHO} was fitted to other gradient products than the recording holds", "fit it again")
    kinds = {}
    for name, one in fitted.kinds.items():
        products = getattr(gradients, name)
        places = np.searchsorted(gradients.steps, one.points).tolist()
        rows = BlockedProducts([NegatedRows(products[place]) for place in places])
        kinds[name] = Vectors(one.points, as_products(rows))
    return PriorProducts(kinds, fitted.origin)


def _origin(gradients: GradientProducts) -> str:
    """By what products are known, without reading those of pairs."""
    return fingerprint(gradients.steps, gradients.self_raw, gradients.self_preconditioned)


def products_of_requested(
    fitted: PriorProducts, unseen: Unseen, pool: int
) -> tuple[PriorProducts, PriorProducts] | None:
    """The products of the asked and of the fitted training examples with the asked test examples."""
    theirs = products_of(unseen.gradients)
    if theirs is None:
        return None
    theirs = theirs.of_kinds(fitted.kinds)
    if not theirs.matches(fitted):
        return None
    places = np.full(pool, -1, dtype=np.int64)
    there = np.flatnonzero(unseen.pool_seen >= 0)
    places[unseen.pool_seen[there]] = there
    return theirs, theirs.taken(places, np.arange(len(unseen.test)))
