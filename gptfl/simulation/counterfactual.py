"""What a simulator is asked: a subset of the pool, batches as given, or the held-out runs."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import Query
from gptfl.core.queries import query_for, same_steps
from gptfl.core.splits import stored_split, usable_runs
from gptfl.core.texts import counted
from gptfl.errors import DataError, UsageError
from gptfl.options.common import Ids
from gptfl.options.simulation import CounterfactualOptions, SimulatedRunOptions
from gptfl.simulation.caveats import caveats
from gptfl.simulation.schedule import Overrides, RunSchedule, adjusted, recorded_schedule
from gptfl.simulation.simulator import FittedSimulator
from gptfl.store.id_files import ExampleIndex


@dataclass(frozen=True, slots=True)
class SimulationRequest:
    """The curricula to roll out and what to call them; ``recorded`` is what did happen, for held-out runs."""

    query: Query
    labels: tuple[str, ...]
    what: str
    recipe: RunSchedule
    recorded: Float[np.ndarray, "run recorded test"] | None = None
    notes: tuple[str, ...] = ()
    orders: int = 1
    """In how many random orders what it is held against is laid out, too."""


AS_RECORDED = Overrides()
DROP_ORDERS = 8
"""In so many random orders a drop is asked about where nothing else is said: one order's luck is larger than a few rows."""


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """What to train on, by the options of the same names: at most one of the first three, ids or a file of them."""

    subset: Ids | None = None
    drop: Ids | None = None
    curriculum: str | Path | None = None
    orders: int | None = None
    overrides: Overrides = AS_RECORDED
    every_order: bool = False

    def given(self) -> list[str]:
        """Which options say what to train on."""
        chosen = {"--subset": self.subset, "--drop": self.drop, "--curriculum": self.curriculum}
        return [flag for flag, value in chosen.items() if value is not None]

    def check(self) -> None:
        """Raise ``UsageError`` for options that don't go together."""
        given = self.given()
        if len(given) > 1:
            raise UsageError(f"{' and '.join(given)} each say what to train on", "give one of them")
        orders = 1 if self.orders is None else self.orders
        if orders < 1:
            raise UsageError(f"is {self.orders}", "give 1 or more", option="orders")
        if self.every_order and orders > 1:
            raise UsageError("--orders and --every-order both say which orders count", "give one of them")
        self.overrides.check()
        flags = {flag: value is not None for flag, value in self.overrides.flags().items()}
        options = {"--orders": orders > 1, "--every-order": self.every_order, **flags}
        if given == ["--curriculum"]:
            options.pop("--lr")
        used = [flag for flag, is_given in options.items() if is_given]
        if used and given not in (["--subset"], ["--drop"]):
            why = "the file's batches are taken as they are" if given else "the held-out runs are simulated as recorded"
            raise UsageError(f"{used[0]} needs --subset or --drop: {why}", f"leave out {used[0]}, or name a subset")

    def request(self, source: FittedSimulator, seed: int) -> SimulationRequest:
        """The question: a subset in random orders, batches as given, or the held-out runs. Raises ``DataError``."""
        if self.subset is not None or self.drop is not None:
            members = members_of(source.pool, self.subset, self.drop)
            return subset_request(source, members, self.drop is not None, self._orders(source), seed, self.overrides)
        if self.curriculum is not None:
            return curriculum_request(source, self.curriculum, self.overrides.learning_rate)
        return held_out_request(source)

    def _orders(self, source: FittedSimulator) -> int | None:
        """How many random orders; None is the mean over every one."""
        if self.every_order:
            return None
        if self.orders is not None or self.drop is None:
            return self.orders or 1
        plain = recorded_schedule(source.recording.dynamics, source.metric).allows_every_order
        return None if source.named.estimator.tags.every_order and plain else DROP_ORDERS


def overrides_of(run: CounterfactualOptions) -> Overrides:
    """What options say otherwise than the recorded recipe."""
    return Overrides(run.epochs, run.steps, run.batch_size, run.lr)


def counterfactual_of(run: CounterfactualOptions) -> Counterfactual:
    """What options say to train on. Raises ``UsageError`` for several subsets."""
    subset = run.subset
    if isinstance(run, SimulatedRunOptions):
        if len(run.subset) > 1:
            raise UsageError(
                f"{len(run.subset)} subsets are given", "ask about one, or many by Simulator.simulate_many"
            )
        subset = run.subset[0] if run.subset else None
    every = isinstance(run, SimulatedRunOptions) and run.every_order
    return Counterfactual(subset, run.drop, run.curriculum, run.orders, overrides_of(run), every)


def members_of(pool: ExampleIndex, subset: Ids | None, drop: Ids | None) -> Int[np.ndarray, " subset"]:
    """The examples to train on: a subset, or all but those dropped. Raises ``DataError``."""
    if subset is not None:
        return pool.select(subset, "--subset")
    dropped = pool.select(drop or (), "--drop")
    rest = np.setdiff1d(np.arange(len(pool.places)), dropped)
    if len(rest) == 0:
        raise DataError("--drop names the whole pool", "leave at least one example to train on")
    return rest


def subset_request(
    source: FittedSimulator,
    members: Int[np.ndarray, " subset"],
    is_rest: bool,
    orders: int | None,
    seed: int,
    overrides: Overrides,
) -> SimulationRequest:
    """A subset by the recording's recipe, in several random orders or in the mean over all of them.

    Args:
        source: the simulator that is to answer.
        members: places in its pool.
        is_rest: whether they are what a drop leaves.
        orders: how many random orders, each a curriculum; None is the mean over every order.
        seed: draws the orders.
        overrides: what differs from the recording's recipe.

    Raises as ``adjusted`` does, and ``UsageError`` where the estimator can't tell the mean over every order.
    """
    dynamics = source.recording.dynamics
    recorded = recorded_schedule(dynamics, source.metric)
    recipe = adjusted(recorded, source.world, len(members), overrides, orders or 1, members)
    first = source.first(int(recipe.grid[0]))
    labels: tuple[str, ...] = ("every order",)
    if orders is None:
        _check_every_order(source)
        query = recipe.every_order(members, first)
    else:
        query = recipe.query(recipe.orders(members, orders, seed), first)
        labels = tuple(f"order {number}" for number in range(1, orders + 1))
    dropped = f", all but {len(source.pool.places) - len(members)} of the pool" if is_rest else ""
    notes = caveats(dynamics, recorded, query, len(members), is_rest)
    return SimulationRequest(
        query,
        labels,
        f"{counted(len(members), 'example')}{dropped}",
        recipe,
        None,
        notes + _rates_note(source, overrides),
        orders or 1,
    )


def _check_every_order(source: FittedSimulator) -> None:
    if not source.named.estimator.tags.every_order:
        raise UsageError(
            f"--every-order: {source.found.estimator} takes one order after the other",
            "give --orders K for the mean over K random orders",
        )


def curriculum_request(source: FittedSimulator, path: str | Path, lr: float | None) -> SimulationRequest:
    """The batches of a file, as they are."""
    dynamics = source.recording.dynamics
    batches = source.pool.batches(path)
    overrides = Overrides(steps=len(batches), learning_rate=lr)
    recorded = recorded_schedule(dynamics, source.metric)
    recipe = adjusted(recorded, source.world, len(batches), overrides)
    query = recipe.query(batches[None], source.first(int(recipe.grid[0])))
    name = Path(path).name
    notes = caveats(dynamics, recorded, query, len(np.setdiff1d(batches, [-1])), False)
    return SimulationRequest(
        query, (name,), f"the {len(batches)} batches of {name}", recipe, None, notes + _rates_note(source, overrides)
    )


def _rates_note(source: FittedSimulator, overrides: Overrides) -> tuple[str, ...]:
    ignored = source.named.estimator.tags.ignores
    if overrides.learning_rate is None or "learning rates" not in ignored:
        return ()
    return (f"{source.found.estimator} doesn't look at learning rates: --lr changes nothing",)


def held_out_request(source: FittedSimulator) -> SimulationRequest:
    """The test runs as recorded; of runs recorded at different steps, the largest group."""
    runs, notes = usable_runs(stored_split(source.recording.dynamics.runs).test, source.metric)
    if not runs:
        raise DataError("the recording has no held-out run to simulate", "name a --subset, or record more runs")
    groups = sorted(same_steps(runs), key=len, reverse=True)
    shown = [runs[place] for place in groups[0]]
    if len(groups) > 1:
        others = ", ".join(runs[place].name for group in groups[1:] for place in group)
        notes += (f"left out, for being recorded at other steps than most: {others}",)
    recorded = np.stack([run.metrics[source.metric.name] for run in shown])
    query = add_new_examples(source, query_for(shown, source.metric))
    if source.new is not None:
        recorded = _widened(recorded, np.full(len(source.new.test), np.nan))
    longest = max((run.curriculum for run in shown), key=lambda curriculum: curriculum.steps)
    # What they are held against must be asked at their steps, which needn't be those of most runs.
    recipe = replace(
        recorded_schedule(source.recording.dynamics, source.metric),
        learning_rates=longest.learning_rates,
        grid=query.steps,
    )
    labels = tuple(run.name for run in shown)
    return SimulationRequest(query, labels, f"{len(shown)} held-out runs", recipe, recorded, notes)


def add_new_examples(source: FittedSimulator, query: Query) -> Query:
    """A query about recorded runs, with the new test examples after the recorded ones."""
    return query if source.new is None else replace(query, first=_widened(query.first, source.new.first))


def _widened(values: Float[np.ndarray, "*any test"], more: Float[np.ndarray, " new"]) -> Float[np.ndarray, "*any both"]:
    return np.concatenate([values, np.broadcast_to(more, (*values.shape[:-1], len(more)))], axis=-1)
