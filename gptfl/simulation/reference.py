"""What a simulation is held against: the average run, other subsets, and the skill on held-out runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import Run
from gptfl.core.display import Listed
from gptfl.core.queries import query_for, same_steps, stacked
from gptfl.core.splits import stored_split, usable_runs
from gptfl.core.texts import counted
from gptfl.errors import DataError, GptflError
from gptfl.estimators import average
from gptfl.estimators.baselines import average_run
from gptfl.options.common import Ids
from gptfl.scores.pointwise import skill
from gptfl.simulation.counterfactual import Counterfactual, SimulationRequest, add_new_examples
from gptfl.simulation.outcome import Reference, mean_over
from gptfl.simulation.simulator import FittedSimulator
from gptfl.store.predictions import AVERAGE_RUN

KEPT_TRUST = "trust"
"""Under which a simulator's file keeps its skill on the held-out runs."""


@dataclass(frozen=True, slots=True)
class Trust(Listed):
    """``skill`` on ``runs`` held-out runs, None where it can't be told; ``text`` says it."""

    skill: float | None
    runs: int
    text: str
    alone: bool = False
    """Whether there is one run, of which none can be held out."""

    @property
    def note(self) -> str:
        """The line that a simulation of anything but the held-out runs ends with."""
        return f"trust: {self.text}{'' if self.alone else '; gptfl compare --folds K holds out every run in turn'}"


def trust_of(source: FittedSimulator) -> Trust:
    """How far to trust a simulator: as its fit found it, else worked out once (``held_out_trust``)."""
    if "trust" not in source.memo:
        source.memo["trust"] = _kept_trust(source) or held_out_trust(source)
    trust: Trust = source.memo["trust"]
    return trust


def trust_to_keep(source: FittedSimulator) -> dict[str, Any]:
    """What a simulator's file keeps of its skill; nothing where it has none, or its estimator can't answer."""
    try:
        trust = held_out_trust(source)
    except GptflError:
        return {}  # whoever asks the simulator is told
    return {} if trust.skill is None else {KEPT_TRUST: {"skill": trust.skill, "runs": trust.runs}}


def _kept_trust(source: FittedSimulator) -> Trust | None:
    """The skill that the simulator's file keeps; None where it keeps none, or nothing that could be one."""
    kept = source.found.info.get(KEPT_TRUST)
    if source.new is not None or not isinstance(kept, dict):
        return None
    skill, runs = kept.get("skill"), kept.get("runs")
    if type(skill) is not float or not np.isfinite(skill) or type(runs) is not int or runs < 1:
        return None
    return _trust(skill, runs)


def held_out_trust(source: FittedSimulator) -> Trust:
    """Roll the simulator out on the held-out runs, which it wasn't fitted to, and score it against the average run.

    As in ``gptfl compare`` on the recorded roles: all steps but the given first ones of every usable run. Steps at
    which the average run isn't known don't count.
    """
    split = stored_split(source.recording.dynamics.runs)
    runs, _ = usable_runs(split.test, source.metric)
    if len(source.recording.dynamics.runs) == 1:
        return Trust(None, 0, "not known, since nothing of a single run can be held out", alone=True)
    if not runs:
        return Trust(None, 0, "not known, for the recording has no held-out run")
    grid, mean = _average(source)
    predicted, recorded, means = [], [], []
    for group in same_steps(runs):
        members = [runs[place] for place in group]
        try:
            answer = source.predict(query_for(members, source.metric)).values
        except DataError as error:
            # Such as runs that reach beyond what an estimator can answer; the question asked may not.
            return Trust(None, len(runs), f"not known, for {source.found.estimator} can't answer them: {error.problem}")
        known = average.resample(grid, mean, members[0].steps)
        for run, values in zip(members, answer, strict=True):
            predicted.append(values)
            recorded.append(np.where(np.isfinite(known), run.metrics[source.metric.name], np.nan))
            means.append(known)
    found = skill(stacked(predicted), stacked(recorded), stacked(means))
    if not np.isfinite(found):
        return Trust(None, len(runs), "not known, for the held-out runs leave the average run no error")
    return _trust(found, len(runs))


def _trust(skill: float, runs: int) -> Trust:
    of = "held-out run" if runs == 1 else f"{runs} held-out runs"
    meaning = "below 0: worse than the average run" if skill < 0 else "0: as good as the average run, 1: perfect"
    return Trust(skill, runs, f"on the {of} this simulator has skill {skill:.2f} ({meaning})")


def average_at(source: FittedSimulator, steps: Int[np.ndarray, " asked"]) -> Float[np.ndarray, "asked test"]:
    """The average recorded run at some steps, as mean-run knows it; NaN outside of those at which it is known."""
    grid, mean = _average(source)
    known = (grid[0] <= steps) & (steps <= grid[-1])
    values = np.full((len(steps), mean.shape[1]), np.nan)
    # As mean-run interpolates, so that its own simulations change nothing.
    values[known] = average.interpolate(grid, mean, steps[known])
    return values


def against_average(source: FittedSimulator, request: SimulationRequest) -> Reference:
    """The average recorded run as mean-run knows it: of the runs to fit and to validate.

    New test examples were never recorded; for these it is the mean of what the simulator itself predicts for the
    same runs.
    """
    split = stored_split(source.recording.dynamics.runs)
    grid, mean = _average(source)
    steps = request.query.steps
    values = average_at(source, steps)
    last = int(steps[-1])
    step = int(np.clip(last, grid[0], grid[-1]))
    final = average.interpolate(grid, mean, np.array([step]))[0]
    notes: tuple[str, ...] = ()
    if step != last:
        notes = (
            f"the average recorded run is known from step {grid[0]} to {grid[-1]} and this one ends at step {last}: "
            f"compared with its step {step}, so the change is also that of the length",
        )
    elif last != grid[-1]:
        notes = (f"compared at step {last}; the average recorded run goes on to step {grid[-1]}",)
    if source.new is not None and source.new.test:
        own_grid, own = _average_prediction(source, split.fit + split.validation)
        values = np.concatenate([values, average.resample(own_grid, own, steps)], axis=1)
        final = np.append(final, average.resample(own_grid, own, np.array([step]))[0])
        notes += (
            f"new test examples are compared with the mean of what {source.found.estimator} predicts for the runs "
            "that the average is of",
        )
    return Reference(AVERAGE_RUN, step, values, final, notes)


def _average(source: FittedSimulator) -> tuple[Int[np.ndarray, " grid"], Float[np.ndarray, "grid test"]]:
    """The average of the runs to fit and to validate, worked out once."""
    if "average" not in source.memo:
        split = stored_split(source.recording.dynamics.runs)
        source.memo["average"] = average_run(split.fit + split.validation, source.metric.name)
    average_: tuple[np.ndarray, np.ndarray] = source.memo["average"]
    return average_


def _average_prediction(
    source: FittedSimulator, runs: Sequence[Run]
) -> tuple[Int[np.ndarray, " grid"], Float[np.ndarray, "grid new"]]:
    """The mean of what the simulator predicts of new test examples for the runs that share most runs' steps."""
    usable, _ = usable_runs(runs, source.metric)
    if not usable:
        raise DataError("no recorded run is complete enough to compare new test examples with", "give --against")
    members = [usable[place] for place in max(same_steps(usable), key=len)]
    query = add_new_examples(source, query_for(members, source.metric))
    values = mean_over(source.predict(query).values[:, :, len(source.recording.dynamics.test) :])
    return query.steps, values


@dataclass(frozen=True, slots=True)
class OtherSubset:
    """A subset to hold a simulation against: what it is called, and the places of its examples in the pool."""

    name: str
    members: Int[np.ndarray, " subset"]

    @classmethod
    def of(cls, source: FittedSimulator, against: Ids | None) -> "OtherSubset | None":
        """Read once, since a pipe gives its ids once; None where none is named."""
        if against is None:
            return None
        name = Path(against).name if isinstance(against, str | Path) else "another subset"
        return cls(name, source.pool.select(against, "--against"))

    @classmethod
    def compared(cls, source: FittedSimulator, choice: Counterfactual, against: Ids | None) -> "OtherSubset | None":
        """What a question is held against: what is named, else of a drop the whole pool, else no subset."""
        if against is None and choice.drop is not None:
            return cls("the whole pool", np.arange(len(source.pool.places)))
        return cls.of(source, against)


def against_subset(source: FittedSimulator, other: OtherSubset, request: SimulationRequest, seed: int) -> Reference:
    """What another subset would give by the same recipe and the same seeds.

    Args:
        source: the simulator.
        other: the subset.
        request: whose recipe it goes by, in the mean over as many orders.
        seed: draws the orders.
    """
    members, recipe = other.members, request.recipe
    first = source.first(int(recipe.grid[0]))
    if request.query.typical is None:
        query = recipe.query(recipe.orders(members, request.orders, seed), first)
    else:
        query = recipe.every_order(members, first)
    found = source.predict(query).values
    values, ends = mean_over(found), found[:, -1].mean(axis=1, dtype=np.float64)
    name = f"{other.name} ({counted(len(members), 'example')})"
    return Reference(name, int(request.query.steps[-1]), values, values[-1], ends=ends)
