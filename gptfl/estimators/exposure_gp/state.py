"""The arrays that a fitted exposure-gp is kept as, and back."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import Curriculum
from gptfl.core.blocked_products import BlockedProducts, as_products
from gptfl.core.blocked_rows import BlockedRows, Elsewhere
from gptfl.core.links import Link
from gptfl.estimators.exposure_gp.accumulation import Vectors
from gptfl.estimators.exposure_gp.blocked_states import BlockedStates
from gptfl.estimators.exposure_gp.gradient_prior import KINDS, PriorProducts
from gptfl.estimators.exposure_gp.hyperparameters import MOST_POWER, Hyper
from gptfl.estimators.exposure_gp.inputs import Sides, Sources
from gptfl.estimators.exposure_gp.model import ExposureModel
from gptfl.estimators.exposure_gp.prior_rows import UnreadProducts
from gptfl.estimators.exposure_gp.process import Curricula
from gptfl.estimators.exposure_gp.read_once import ReadOnce
from gptfl.estimators.exposure_gp.requests import RecordedRuns

NAMES = ("identity", "log", "odds", "logit")
RULES = 2
"""By which rules a state predicts. By the first ones, of states that don't say, a step at which the runs fitted happen not
to differ has no spread, and a run's own first score isn't learned from."""


def padded(curricula: Sequence[Curriculum]) -> tuple[Int[np.ndarray, "run step batch"], Float[np.ndarray, "run step"]]:
    """Batches and step sizes of several runs, the shorter ones and the narrower batches filled up with -1 and 0."""
    steps = max(one.steps for one in curricula)
    width = max(one.batches.shape[1] for one in curricula)
    batches = np.full((len(curricula), steps, width), -1, dtype=np.int64)
    rates = np.zeros((len(curricula), steps))
    for run, one in enumerate(curricula):
        batches[run, : one.steps, : one.batches.shape[1]] = one.batches
        rates[run, : one.steps] = one.learning_rates
    return batches, rates


def state_of(model: ExposureModel) -> Mapping[str, np.ndarray]:
    """Runs, vectors and hyperparameters by name."""
    hyper, link = model.hyper, model.link
    arrays: dict[str, np.ndarray] = {
        "batches": model.recorded.curricula.batches,
        "learning_rates": model.recorded.curricula.learning_rates,
        "per": np.array(model.recorded.curricula.per or 0),
        **_counted(model.recorded.curricula),
        **_fading(model.recorded.curricula),
        "steps": model.recorded.steps,
        "values": model.recorded.values,
        "seen": np.bincount(
            model.recorded.curricula.batches[model.recorded.curricula.batches >= 0], minlength=model.pool
        ),
        "weights": hyper.weights,
        "scales": hyper.scales,
        "factors": hyper.factors,
        "shares": np.array([hyper.similarity_share, hyper.shared]),
        "powers": np.array([hyper.power, hyper.size_power]),
        "widening": np.array(model.interval_scale),
        **({"lack": np.array(hyper.lack)} if model.lack else {}),
        **({"rules": np.array(RULES)} if model.floor else {}),
        # Found anew they would be the same, after more time than an answer takes.
        "strengths": np.array([posterior.strength for _, posterior in model.solved]),
        "link": np.array([NAMES.index(link.name), link.low, link.high, float(model.higher)]),
    }
    states = model.states
    for name, one in model.sources.sets.items():
        if isinstance(one.train, BlockedRows):
            arrays[f"centre:{name}"] = model.sources.centres[name]
        else:
            arrays[f"train:{name}"] = np.asarray(one.train)
        arrays[f"test:{name}"], arrays[f"gradient:{name}"] = one.test, np.array(float(one.gradient))
    if isinstance(states, BlockedStates):
        arrays |= states.read.arrays()
    if model.products is not None:
        for name, products in model.products.kinds.items():
            arrays[f"points:{name}"] = products.points
            if not isinstance(products.rows, BlockedProducts):
                arrays[f"products:{name}"] = products.rows
        if model.products.in_blocks:
            arrays["origin"] = np.frombuffer(model.products.origin.encode(), np.uint8)
    return arrays


def _counted(runs: Curricula) -> dict[str, np.ndarray]:
    return {} if runs.relative is None else {"relative": runs.relative, "unit": np.array(runs.unit)}


def _fading(runs: Curricula) -> dict[str, np.ndarray]:
    return {} if runs.fading is None else {"fading": np.array(runs.fading)}


def model_of(state: Mapping[str, np.ndarray], prior: bool) -> ExposureModel:
    """The model that these arrays are of.

    Raises ``KeyError``, ``ValueError``, ``IndexError`` or ``TypeError`` where they are of none.
    """
    runs, steps, values = Curricula(state["batches"], state["learning_rates"]), state["steps"], state["values"]
    scales = state["scales"]
    name, low, high, higher = (float(one) for one in state["link"])
    pool, test = len(state["seen"]), values.shape[2]
    _check_runs(runs, steps, values, pool)
    if "per" in state:
        per = int(state["per"])
        if per < 0:
            raise ValueError("batches have fewer than no examples")
        runs = replace(runs, per=per or None)
    else:
        runs, scales = _of_presentations(runs, scales)
    runs = _counting(runs, state, pool)
    if "fading" in state:
        fading = float(state["fading"])
        if not 0.0 < fading < np.inf:
            raise ValueError("what effects fade in is out of range")
        runs = replace(runs, fading=fading)
    sources = _sources_of(state, pool, test)
    hyper = _hyper_of(state, scales, test)
    interval_scale = float(state["widening"])
    if not 0.0 < interval_scale < np.inf:
        raise ValueError("the widening is out of range")
    strengths = state.get("strengths")
    if strengths is not None and not (strengths.shape == steps.shape and (strengths > 0.0).all()):
        raise ValueError("strengths are not of the steps")
    link = Link(dict(enumerate(NAMES))[int(name)], low, high)
    recorded = RecordedRuns(runs, steps, values, pool)
    products = _products_of(state, pool, test)
    in_blocks = sources.in_blocks or (products is not None and products.in_blocks)
    read = ReadOnce.from_arrays(state, recorded, sources, products if prior else None) if in_blocks else None
    model = ExposureModel(
        recorded,
        sources,
        link,
        hyper,
        prior=prior,
        higher=bool(higher),
        products=products,
        interval_scale=interval_scale,
        floor=_rules_of(state) >= RULES,
        strengths=strengths,
        read=read,
    )
    if len(hyper.weights) != 1 + model.states.effects or len(hyper.scales) != model.states.ways:
        raise ValueError("hyperparameters are not of these feature sets")
    return model


def _sources_of(state: Mapping[str, np.ndarray], pool: int, test: int) -> Sources:
    """The feature sets in a state. Raises ``ValueError`` where they aren't finite numbers of the examples."""
    sets, centres = {}, {}
    for key in sorted(state):
        if not key.startswith("test:"):
            continue
        name = key.removeprefix("test:")
        kept, tests = state.get(f"train:{name}"), state[key]
        if tests.ndim != 2:
            raise ValueError(f"feature set {name!r} is not of the examples")
        train = Elsewhere((pool, tests.shape[1])) if kept is None else kept
        one = Sides(train, tests, bool(state[f"gradient:{name}"]))
        if len(one.train.shape) != 2 or (len(one.train), len(tests)) != (pool, test):
            raise ValueError(f"feature set {name!r} is not of the examples")
        if not (np.isfinite(tests).all() and (kept is None or np.isfinite(kept).all())):
            raise ValueError(f"feature set {name!r} is not finite")
        sets[name] = one
        if kept is None:
            centres[name] = state[f"centre:{name}"]
            if centres[name].shape != tests.shape[1:] or not np.isfinite(centres[name]).all():
                raise ValueError(f"the centre of feature set {name!r} is not of its vectors")
    return Sources(sets, centres) if centres else Sources.of(sets)


def _hyper_of(state: Mapping[str, np.ndarray], scales: Float[np.ndarray, " expected"], test: int) -> Hyper:
    """The hyperparameters in a state. Raises ``ValueError`` for those that no fit can come to."""
    similarity_share, shared = (float(one) for one in state["shares"])
    lack = float(state.get("lack", np.array(0.0)))
    # Simulators from before these were told have sizes in proportion and the likeness as it is.
    power, size_power = (float(one) for one in state.get("powers", np.ones(2)))
    hyper = Hyper(state["weights"], similarity_share, shared, scales, state["factors"], lack, power, size_power)
    if not all(np.isfinite(part).all() for part in (hyper.weights, hyper.scales, hyper.factors, state["shares"])):
        raise ValueError("hyperparameters are not finite")
    if hyper.factors.shape != (test,):
        raise ValueError("factors are not of the test examples")
    if not all(0.0 <= one <= 1.0 for one in (similarity_share, shared, lack)) or not (hyper.weights > 0).all():
        raise ValueError("hyperparameters are out of range")
    if not (1.0 / MOST_POWER - 1e-9 <= power <= MOST_POWER + 1e-9 and 0.0 <= size_power <= 1.0):
        raise ValueError("the powers of likeness and sizes are out of range")
    return hyper


def errors_of(state: Mapping[str, np.ndarray], model: ExposureModel) -> Float[np.ndarray, "run recorded test"] | None:
    """The errors on runs left out that a state keeps, None where it keeps none. Raises ``ValueError`` for others."""
    errors = state.get("errors")
    if errors is not None and (
        errors.dtype.kind != "f" or errors.shape != model.recorded.values.shape or np.isinf(errors).any()
    ):
        raise ValueError("errors are not of the runs")
    return errors


def _counting(runs: Curricula, state: Mapping[str, np.ndarray], pool: int) -> Curricula:
    """The runs, their examples counting as a state says. Raises ``ValueError`` where that isn't of the examples."""
    if "relative" not in state:
        return runs
    relative, unit = state["relative"], float(state["unit"])
    if relative.shape != (pool,) or not (np.isfinite(relative) & (relative > 0)).all() or not 0 < unit < np.inf:
        raise ValueError("how much examples count is not of the examples")
    return replace(runs, relative=relative, unit=unit)


def _of_presentations(
    runs: Curricula, scales: Float[np.ndarray, " expected"]
) -> tuple[Curricula, Float[np.ndarray, " expected"]]:
    """What was fitted before exposures were shares of a batch, when each place of a batch counted a whole step size.

    Where all batches are of one size, exposures were so many times as large, and the scales that much smaller. Where
    they aren't, places go on to count alike, so that the simulator answers as it did.
    """
    filled = (runs.batches >= 0).sum(axis=2)
    sizes = filled[filled > 0]
    if not len(sizes):
        return runs, scales
    usual = int(np.bincount(sizes).argmax())
    return (runs if (sizes == usual).all() else replace(runs, per=usual)), scales * usual


def _products_of(state: Mapping[str, np.ndarray], pool: int, test: int) -> PriorProducts | None:
    """The gradient products in a state, None where it has none. Raises ``ValueError``, ``TypeError`` or ``KeyError`` for others."""
    kinds = {}
    for name in KINDS:
        if f"products:{name}" in state or f"points:{name}" in state:
            points = state[f"points:{name}"]
            if points.dtype.kind != "i":
                raise TypeError(f"points of {name} products are not whole numbers")
            if points.ndim != 1 or not len(points) or (np.diff(points) <= 0).any():
                raise ValueError(f"points of {name} products don't ascend")
            if "origin" in state:
                kinds[name] = Vectors(
                    points, as_products(BlockedProducts([UnreadProducts((pool, test)) for _ in points]))
                )
                continue
            rows = state[f"products:{name}"]
            if rows.dtype.kind != "f":
                raise TypeError(f"{name} products are not numbers")
            if rows.shape != (len(points), pool, test) or not np.isfinite(rows).all():
                raise ValueError(f"{name} products are not of the examples")
            kinds[name] = Vectors(points, rows)
    origin = state["origin"].astype(np.uint8).tobytes().decode("ascii", "replace") if "origin" in state else ""
    return PriorProducts(kinds, origin) if kinds else None


def _rules_of(state: Mapping[str, np.ndarray]) -> int:
    """By which rules a state predicts. Raises ``ValueError`` for rules that aren't known."""
    rules = int(state.get("rules", np.array(1)))
    if rules not in (1, RULES):
        raise ValueError(f"it predicts by rules {rules}, which this version of gptfl doesn't know")
    return rules


def _check_runs(runs: Curricula, steps: np.ndarray, values: np.ndarray, pool: int) -> None:
    """Raise ``ValueError`` or ``TypeError`` unless these are runs that may have been fitted."""
    batches, rates = runs.batches, runs.learning_rates
    if batches.dtype.kind != "i" or steps.dtype.kind != "i":
        raise TypeError("batches and steps are not whole numbers")
    if batches.ndim != 3 or values.ndim != 3 or values.shape[:2] != (len(batches), *steps.shape):
        raise ValueError("batches and values are not of the same runs")
    if rates.shape != batches.shape[:2] or not np.isfinite(rates).all():
        raise ValueError("learning rates are not of the batches")
    if batches.max(initial=-1) >= pool or batches.min(initial=-1) < -1:
        raise ValueError("batches name examples that aren't there")
    if not len(steps) or steps[0] < 0 or (np.diff(steps) <= 0).any():
        raise ValueError("steps don't ascend")
    if not values.shape[2] or (np.isfinite(values).any(axis=2).sum(axis=0) < 2).any() or np.isinf(values).any():
        raise ValueError("fewer than two runs are known at a step")
