"""The arrays that a fitted exposure-gp is kept as, and back."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from gptfl.records import Curriculum
from gptfl.simulator.deviations import Curricula, Hyper
from gptfl.simulator.exposure_model import ExposureModel, Recorded
from gptfl.simulator.links import Link
from gptfl.simulator.sources import Sides, Sources

NAMES = ("identity", "log", "odds", "logit")


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


def state_of(model: ExposureModel, higher: bool) -> Mapping[str, np.ndarray]:
    """Runs, vectors and hyperparameters by name."""
    hyper, link = model.hyper, model.link
    arrays: dict[str, np.ndarray] = {
        "batches": model.recorded.curricula.batches,
        "learning_rates": model.recorded.curricula.learning_rates,
        "steps": model.recorded.steps,
        "values": model.recorded.values,
        "weights": hyper.weights,
        "scales": hyper.scales,
        "shares": np.array([hyper.alike, hyper.shared]),
        "link": np.array([NAMES.index(link.name), link.low, link.high, float(higher)]),
    }
    for name, one in model.sources.sets.items():
        arrays[f"train:{name}"], arrays[f"test:{name}"] = one.train, one.test
        arrays[f"gradient:{name}"] = np.array(float(one.gradient))
    return arrays


def model_of(state: Mapping[str, np.ndarray], prior: bool) -> tuple[ExposureModel, bool]:
    """The model that these arrays are of, and whether higher values of its metric are better.

    Raises ``KeyError``, ``ValueError``, ``IndexError`` or ``TypeError`` where they are of none.
    """
    sets = {
        key.removeprefix("train:"): Sides(
            state[key],
            state[key.replace("train:", "test:", 1)],
            bool(state[key.replace("train:", "gradient:", 1)]),
        )
        for key in sorted(state)
        if key.startswith("train:")
    }
    runs, steps, values = Curricula(state["batches"], state["learning_rates"]), state["steps"], state["values"]
    name, low, high, higher = (float(one) for one in state["link"])
    alike, shared = (float(one) for one in state["shares"])
    if runs.batches.ndim != 3 or values.ndim != 3 or values.shape[:2] != (len(runs.batches), len(steps)):
        raise ValueError("batches and values are not of the same runs")
    if runs.learning_rates.shape != runs.batches.shape[:2]:
        raise ValueError("learning rates are not of the batches")
    for key, one in sets.items():
        if one.train.ndim != 2 or one.test.ndim != 2 or len(one.test) != values.shape[2]:
            raise ValueError(f"feature set {key!r} is not of the test examples")
    sources = Sources.of(sets)
    hyper = Hyper(state["weights"], alike, shared, state["scales"])
    model = ExposureModel(Recorded(runs, steps, values), sources, Link(NAMES[int(name)], low, high), hyper, prior)
    if len(hyper.weights) != 1 + len(model.examples.shared) or len(hyper.scales) != len(model.examples.expected):
        raise ValueError("hyperparameters are not of these feature sets")
    return model, bool(higher)
