"""Holds an estimator against its interface."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gptfl.core import (
    FIT,
    TEST,
    VALIDATION,
    Dynamics,
    Features,
    FitData,
    Prediction,
    Query,
    changes_between,
    fingerprint,
)
from gptfl.plugins.interfaces import LOSS, NEEDS, Estimator, EstimatorTags
from gptfl.testing import promises
from gptfl.testing.promises import require
from gptfl.testing.sureness import check_observed, check_sureness
from gptfl.testing.synthetic import make_dynamics, make_features, make_query
from gptfl.testing.unseen import check_unseen

Factory = Callable[..., Estimator]


def check_estimator(
    factory: Factory,
    *,
    dynamics: Dynamics | None = None,
    features: Callable[[Dynamics], Features] | None = None,
    **settings: Any,
) -> None:
    """Check that ``factory(**settings)`` makes an estimator that keeps every promise of its interface.

    What it says that it answers about ``unseen`` is asked of it, and where it ``conditions``, it is told a part of the
    asked runs. Intervals and novelty are checked where offered.

    Args:
        factory: makes the estimator.
        dynamics: the recording that it is fitted to; by default a small synthetic one of a loss, with gradients and
            derivatives where it requires those, and of a score where it requires the loss beside it.
        features: makes the features of the recording, where it requires some; random embeddings by default.
        settings: those of the factory. Ones that make the fit quick are welcome: it is fitted six times.

    Raises ``AssertionError`` that names the broken promise.
    """
    made = factory(**settings)
    promises.require_members(made, Estimator, ("name", "tags", "settings", "fit", "predict", "state", "restore"))
    name = f"estimator {promises.require_name(made)!r}"
    require(isinstance(made.tags, EstimatorTags), f"{name}: its tags are {made.tags!r}, not EstimatorTags")
    for tag in ("requires", "takes"):
        named = getattr(made.tags, tag)
        require(named <= NEEDS, f"{name} {tag} {sorted(named)}, not some of {sorted(NEEDS)}")
    dynamics = dynamics or make_dynamics(
        gradients=bool(made.tags.uses & {"gradients", "derivatives"}), score=LOSS in made.tags.requires
    )
    _check_settings(factory, made, name)
    data = _fit_data(
        dynamics, made, (features or make_features)(dynamics) if "features" in made.tags.requires else None
    )
    held_out = dynamics.with_role(TEST)
    query = make_query(held_out, data.metric.name)
    fitted = _check_fit(made, data, name)
    values = _check_prediction(fitted, query, name)
    again = factory(**settings).fit(data).predict(query)
    promises.require_equal(values, again.values, f"{name} fitted twice with the same seed predicts differently")
    _check_restore(factory, fitted, query, values, name)
    _check_curricula(fitted, query, values, name)
    check_observed(fitted, query, held_out, data.metric.name, name)
    _check_sparse(factory, settings, data, query, name)
    check_unseen(lambda: factory(**settings), data, query, name)
    if "gradients" in made.tags.requires:
        without = dataclasses.replace(data, gradients=None)
        promises.refuses(lambda: factory(**settings).fit(without), f"{name}: fit() without the gradients it requires")
    elif "gradients" in made.tags.uses:
        bare_fit = factory(**settings).fit(dataclasses.replace(data, gradients=None))
        _check_prediction(bare_fit, query, f"{name} without the gradients it takes")
    if "derivatives" in made.tags.requires:
        bare = dataclasses.replace(query, derivatives={})
        promises.refuses(lambda: fitted.predict(bare), f"{name}: predict() without the derivatives it requires")


def _fit_data(dynamics: Dynamics, made: Estimator, features: Features | None) -> FitData:
    metrics, predicted = dynamics.metrics, made.tags.metrics
    known = [metrics[name] for name in metrics if predicted is None or name in predicted]
    if LOSS in made.tags.requires:
        known = [metric for metric in known if metric.name != LOSS]
    require(bool(known), f"{made.name} predicts {predicted}, none of which the recording has")
    runs = dynamics.with_role(FIT), dynamics.with_role(VALIDATION)
    gradients = dynamics.gradients if "gradients" in made.tags.uses else None
    return FitData(dynamics.pool, dynamics.test, known[0], *runs, features=features, seed=7, gradients=gradients)


def _check_settings(factory: Factory, made: Estimator, name: str) -> None:
    settings = promises.through_json(made.settings(), f"settings() of {name}")
    try:
        back = factory(**settings)
    except TypeError as error:
        raise AssertionError(f"{name}: its factory does not take what settings() gives: {error}") from error
    require(
        dict(back.settings()) == settings,
        f"{name}: settings() changes on its way through the factory: {settings!r} became {dict(back.settings())!r}",
    )


def _data_fingerprint(data: FitData) -> str:
    recorded = [
        item for run in data.fit_runs + data.validation_runs for item in (run.curriculum.batches, data.recorded(run))
    ]
    derived = [changes for run in data.fit_runs for _, changes in sorted(run.derivatives.items())]
    extras = [part.fingerprint if part else None for part in (data.features, data.gradients)]
    return fingerprint(*recorded, *derived, *extras)


def _query_fingerprint(query: Query) -> str:
    derived = [changes for _, changes in sorted(query.derivatives.items())]
    return fingerprint(query.batches, query.learning_rates, query.steps, query.first, *derived)


def _check_fit(made: Estimator, data: FitData, name: str) -> Estimator:
    before = _data_fingerprint(data)
    fitted = made.fit(data)
    require(fitted is made, f"{name}: fit() returns {type(fitted).__name__}, not self")
    require(_data_fingerprint(data) == before, f"{name}: fit() changes the data that it was given")
    promises.through_json(fitted.settings(), f"settings() of {name} after fit()")
    return fitted


def _check_prediction(fitted: Estimator, query: Query, name: str) -> np.ndarray:
    before = _query_fingerprint(query)
    prediction = fitted.predict(query)
    require(_query_fingerprint(query) == before, f"{name}: predict() changes the query that it was given")
    require(
        isinstance(prediction, Prediction), f"{name}: predict() returns {type(prediction).__name__}, not a Prediction"
    )
    values = prediction.values
    promises.require_finite(values, f"what {name} predicts")
    shape = (len(query.batches), len(query.steps), query.first.shape[1])
    require(values.shape == shape, f"{name} predicts shape {values.shape}, not (run, recorded, test) = {shape}")
    promises.require_close(values[:, 0], query.first, f"{name}: values[:, 0] is not the given first value")
    check_sureness(prediction, query, name)
    promises.require_equal(values, fitted.predict(query).values, f"{name} predicts differently when asked twice")
    return values


def _check_restore(factory: Factory, fitted: Estimator, query: Query, values: np.ndarray, name: str) -> None:
    state = fitted.state()
    require(isinstance(state, Mapping), f"{name}: state() returns {type(state).__name__}, not a mapping of arrays")
    for key, array in state.items():
        require(
            isinstance(key, str) and bool(key) and "/" not in key and key.strip(".") != "",
            f"{name}: state() names an array {key!r}; use letters, digits, '-' and '_'",
        )
        require(
            isinstance(array, np.ndarray), f"{name}: state array {key!r} is {type(array).__name__}, not a numpy array"
        )
        require(array.dtype.kind in "fiub", f"{name}: state array {key!r} has dtype {array.dtype}, not a numeric one")
    copied = {key: np.array(array) for key, array in state.items()}
    settings = promises.through_json(fitted.settings(), f"settings() of {name}")
    restored = factory(**settings).restore(copied)
    require(restored is not None, f"{name}: restore() returns None, not self")
    promises.require_equal(
        values, restored.predict(query).values, f"{name} predicts differently after factory(**settings).restore(state)"
    )
    if state:
        promises.refuses(lambda: factory(**settings).restore({}), f"{name}: restore() without its arrays")


def _check_curricula(fitted: Estimator, query: Query, values: np.ndarray, name: str) -> None:
    """Padding, company and the future change nothing; another grid and smaller batches are answered."""
    runs, steps, width = query.batches.shape

    def values_of(**changed: Any) -> np.ndarray:
        return fitted.predict(dataclasses.replace(query, **changed)).values

    wider = np.concatenate([query.batches, np.full((runs, steps, 2), -1)], axis=2)
    promises.require_close(
        values, values_of(batches=wider), f"{name} predicts differently when batches are padded with -1"
    )
    longer = {
        "batches": np.concatenate([query.batches, np.full((runs, 3, width), -1)], axis=1),
        "learning_rates": np.concatenate([query.learning_rates, np.zeros((runs, 3))], axis=1),
    }
    promises.require_close(
        values, values_of(**longer), f"{name} predicts differently when a run is padded with empty steps"
    )
    one = {"batches": query.batches[:1], "learning_rates": query.learning_rates[:1], "first": query.first[:1]}
    alone = values_of(**one, derivatives={key: changes[:1] for key, changes in query.derivatives.items()})
    promises.require_close(values[:1], alone, f"{name} predicts a curriculum differently when it is asked alone")
    middle = len(query.steps) // 2
    future = query.batches.copy()
    future[:, query.steps[middle] :] = np.roll(future[:, query.steps[middle] :], 1, axis=0)
    early = values_of(batches=future)[:, : middle + 1]
    promises.require_close(values[:, : middle + 1], early, f"{name} lets later batches change earlier predictions")
    rows = np.unique([0, middle, len(query.steps) - 1])
    summed = {key: changes_between(changes, rows) for key, changes in query.derivatives.items()}
    coarse = query.steps[rows]
    promises.require_finite(
        values_of(steps=coarse, derivatives=summed), f"what {name} predicts at steps {coarse.tolist()}"
    )
    smaller = query.batches.copy()
    smaller[:, :, width // 2 + 1 :] = -1
    promises.require_finite(values_of(batches=smaller), f"what {name} predicts for smaller batches")


def _check_sparse(factory: Factory, settings: dict[str, Any], data: FitData, query: Query, name: str) -> None:
    """A fit without validation runs, and one on recordings with gaps."""
    lone = factory(**settings).fit(dataclasses.replace(data, validation_runs=()))
    promises.require_finite(lone.predict(query).values, f"what {name} predicts when fitted without validation runs")
    random = np.random.default_rng(0)

    def gaps(values: np.ndarray) -> np.ndarray:
        holes = random.random(values.shape) < 0.1
        holes[0] = False
        return np.where(holes, np.nan, values)

    runs = tuple(
        dataclasses.replace(run, metrics={**run.metrics, data.metric.name: gaps(data.recorded(run))})
        for run in data.fit_runs
    )
    patchy = factory(**settings).fit(dataclasses.replace(data, fit_runs=runs))
    promises.require_finite(
        patchy.predict(query).values, f"what {name} predicts when recorded values are missing (NaN)"
    )
