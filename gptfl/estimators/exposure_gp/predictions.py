"""What a Gaussian process of recorded runs expects of asked ones at the steps asked about, by their own clock."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import Query
from gptfl.estimators import average
from gptfl.estimators.clock import Places
from gptfl.estimators.exposure_gp.between_steps import Between
from gptfl.estimators.exposure_gp.model import ExposureModel
from gptfl.estimators.exposure_gp.process import Curricula
from gptfl.estimators.exposure_gp.requests import RequestedRuns


@dataclass(frozen=True, slots=True)
class View:
    """Mean and standard deviation on the even scale.

    ``left`` is the variance of what the examples do at the last step, summed over the test examples, and ``before`` what it was
    before anything was recorded.
    """

    mean: Float[np.ndarray, "run asked test"]
    spread: Float[np.ndarray, "run asked test"]
    left: Float[np.ndarray, " run"]
    before: Float[np.ndarray, " run"]


def view(
    model: ExposureModel,
    query: Query,
    places: Places,
    requested: RequestedRuns,
    own: Int[np.ndarray, " example"],
    train: Mapping[str, Float[np.ndarray, "example d"]] | None,
) -> View:
    """What is expected of the requested runs: those of recorded step sizes at their steps, others by where they come to.

    Args:
        model: fitted.
        query: curricula, first scores and steps.
        places: where each run is on the clock of step sizes.
        requested: what the model keeps of these runs.
        own: each example's place among those fitted; the last stands for any that wasn't.
        train: vectors of the examples, where they aren't those fitted; by the set's name.
    """
    if places.plain.all():
        return _plain(model, query, requested, own, train)
    found: list[tuple[Int[np.ndarray, " run"], View]] = []
    plain, other = np.flatnonzero(places.plain), np.flatnonzero(~places.plain)
    if len(plain):
        found.append((plain, _plain(model, _some(query, plain), _of(requested, plain), own, train)))
    _, group = np.unique(places.at[other], axis=0, return_inverse=True)
    grid = model.recorded.steps
    for number in range(int(group.max()) + 1):
        runs = other[group.ravel() == number]
        between = Between.of(query.steps, places.at[runs[0]], grid)
        rows = min(int(between.rows.max()) + 2, len(grid))
        curricula = _curricula(model, _some(query, runs))
        look = model.look(curricula, rows, _of(requested, runs), own, train, between)
        spread = np.sqrt(look.signal + look.noise)
        found.append((runs, View(look.mean, spread, _last(look.open), _last(look.prior))))
    order = np.argsort(np.concatenate([runs for runs, _ in found]))
    parts = [
        np.concatenate([getattr(one, name) for _, one in found])[order] for name in ("mean", "spread", "left", "before")
    ]
    return View(*parts)


def _plain(
    model: ExposureModel,
    query: Query,
    requested: RequestedRuns,
    own: Int[np.ndarray, " example"],
    train: Mapping[str, Float[np.ndarray, "example d"]] | None,
) -> View:
    grid = model.recorded.steps
    rows = min(int(np.searchsorted(grid, query.steps[-1])) + 1 if len(query.steps) > 1 else 1, len(grid))
    look = model.look(_curricula(model, query), rows, requested, own, train)
    mean, spread = (at_steps(grid[:rows], one, query.steps) for one in (look.mean, np.sqrt(look.signal + look.noise)))
    return View(mean, spread, _last(look.open), _last(look.prior))


def _curricula(model: ExposureModel, query: Query) -> Curricula:
    """The asked runs, their examples counted as those fitted."""
    recorded = model.recorded.curricula
    relative = None
    if recorded.relative is not None and query.unseen is not None:
        # What isn't known to count otherwise counts as the mean of the pool fitted.
        given = [example.weight for example in query.unseen.pool]
        relative = np.array([1.0 if one is None else one / recorded.unit for one in given])
    return recorded.like(query.batches, query.learning_rates, relative)


def at_steps(
    grid: Int[np.ndarray, " grid"], values: Float[np.ndarray, "run grid test"], steps: Int[np.ndarray, " recorded"]
) -> Float[np.ndarray, "run recorded test"]:
    """Values brought from the recorded steps to those asked; what is asked before the first is the first."""
    turned = average.interpolate(grid, np.moveaxis(values, 1, 0), np.clip(steps, grid[0], grid[-1]))
    return np.moveaxis(turned, 0, 1)


def _last(variance: Float[np.ndarray, "run recorded test"]) -> Float[np.ndarray, " run"]:
    return np.asarray(variance[:, -1].sum(axis=1))


def _some(query: Query, runs: Int[np.ndarray, " some"]) -> Query:
    """The batches and step sizes of some of the asked runs."""
    return replace(query, batches=query.batches[runs], learning_rates=query.learning_rates[runs])


def _of(requested: RequestedRuns, runs: Int[np.ndarray, " some"]) -> RequestedRuns:
    """The same test examples asked about of some runs."""
    return replace(
        requested, centre=requested.centre[runs], doubt=None if requested.doubt is None else requested.doubt[runs]
    )


def novelty(viewed: View, beside: Float[np.ndarray, "run recorded test"] | None) -> Float[np.ndarray, " run"]:
    """The variance left of what the examples do, as a share of what it was, at the last step over the test.

    What step sizes and batch sizes that weren't recorded do besides was open before, and is.
    """
    left, before = viewed.left, viewed.before
    if beside is not None:
        more = (beside[:, -1] ** 2).sum(axis=1)
        left, before = left + more, before + more
    return np.asarray(np.clip(np.where(before > 0, left / np.where(before > 0, before, 1.0), 0.0), 0.0, 1.0))
