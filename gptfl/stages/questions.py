"""What a simulator is asked: a subset of the pool, batches as given, or the held-out runs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from gptfl.builtin.baselines import average_run
from gptfl.errors import DataError, UsageError
from gptfl.records import Query, Run
from gptfl.simulator import average
from gptfl.stages.asking import Source
from gptfl.stages.outcome import Reference, mean_over
from gptfl.stages.recipe import Overrides, Recipe, adjusted, caveats, recorded_recipe
from gptfl.stages.selection import Pool
from gptfl.stages.splits import query_for, same_steps, stored_split, usable_runs
from gptfl.store.predictions import AVERAGE_RUN

Ids = str | Path | Sequence[str]
"""A file of ids, or the ids."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The curricula to roll out and what to call them; ``recorded`` is what did happen, for held-out runs."""

    query: Query
    labels: tuple[str, ...]
    what: str
    recipe: Recipe
    recorded: Float[np.ndarray, "run recorded test"] | None = None
    notes: tuple[str, ...] = ()


AS_RECORDED = Overrides()


@dataclass(frozen=True, slots=True)
class Choice:
    """What to train on, by the options of the same names: at most one of the first three, ids or a file of them."""

    subset: Ids | None = None
    drop: Ids | None = None
    curriculum: str | Path | None = None
    orders: int = 1
    overrides: Overrides = AS_RECORDED

    def given(self) -> list[str]:
        """Which options say what to train on."""
        chosen = {"--subset": self.subset, "--drop": self.drop, "--curriculum": self.curriculum}
        return [flag for flag, value in chosen.items() if value is not None]

    def check(self) -> None:
        """Raise ``UsageError`` for options that don't go together."""
        given = self.given()
        if len(given) > 1:
            raise UsageError(f"{' and '.join(given)} each say what to train on", "give one of them")
        if self.orders < 1:
            raise UsageError(f"--orders is {self.orders}", "give 1 or more")
        self.overrides.check()
        flags = {flag: value is not None for flag, value in self.overrides.flags().items()}
        options = {"--orders": self.orders > 1, **flags}
        if given == ["--curriculum"]:
            options.pop("--lr")
        used = [flag for flag, is_given in options.items() if is_given]
        if used and given not in (["--subset"], ["--drop"]):
            why = "the file's batches are taken as they are" if given else "the held-out runs are simulated as recorded"
            raise UsageError(f"{used[0]} needs --subset or --drop: {why}", f"leave out {used[0]}, or name a subset")

    def ask(self, source: Source, seed: int) -> Asked:
        """The question: a subset in random orders, batches as given, or the held-out runs. Raises ``DataError``."""
        if self.subset is not None or self.drop is not None:
            members = members_of(source.pool, self.subset, self.drop)
            return ask_subset(source, members, self.drop is not None, self.orders, seed, self.overrides)
        if self.curriculum is not None:
            return ask_curriculum(source, self.curriculum, self.overrides.learning_rate)
        return ask_held_out(source)


def members_of(pool: Pool, subset: Ids | None, drop: Ids | None) -> Int[np.ndarray, " subset"]:
    """The examples to train on: a subset, or all but those dropped. Raises ``DataError``."""
    if subset is not None:
        return pool.select(subset, "--subset")
    dropped = pool.select(drop or (), "--drop")
    rest = np.setdiff1d(np.arange(len(pool.places)), dropped)
    if len(rest) == 0:
        raise DataError("--drop names the whole pool", "leave at least one example to train on")
    return rest


def ask_subset(
    source: Source, members: Int[np.ndarray, " subset"], is_rest: bool, orders: int, seed: int, overrides: Overrides
) -> Asked:
    """A subset in several random orders, by the recording's recipe; ``is_rest`` if it is what a drop leaves."""
    dynamics = source.recording.dynamics
    recorded = recorded_recipe(dynamics, source.metric)
    recipe = adjusted(recorded, source.world, len(members), overrides, orders)
    query = recipe.query(recipe.orders(members, orders, seed), source.first(int(recipe.grid[0])))
    dropped = f", all but {len(source.pool.places) - len(members)} of the pool" if is_rest else ""
    labels = tuple(f"order {number}" for number in range(1, orders + 1))
    notes = caveats(dynamics, recorded, query, len(members), is_rest)
    return Asked(
        query, labels, f"{len(members)} examples{dropped}", recipe, None, notes + _rates_note(source, overrides)
    )


def ask_curriculum(source: Source, path: str | Path, lr: float | None) -> Asked:
    """The batches of a file, as they are."""
    dynamics = source.recording.dynamics
    batches = source.pool.batches(path)
    overrides = Overrides(steps=len(batches), learning_rate=lr)
    recorded = recorded_recipe(dynamics, source.metric)
    recipe = adjusted(recorded, source.world, len(batches), overrides)
    query = recipe.query(batches[None], source.first(int(recipe.grid[0])))
    name = Path(path).name
    notes = caveats(dynamics, recorded, query, len(np.setdiff1d(batches, [-1])), False)
    return Asked(
        query, (name,), f"the {len(batches)} batches of {name}", recipe, None, notes + _rates_note(source, overrides)
    )


def _rates_note(source: Source, overrides: Overrides) -> tuple[str, ...]:
    ignored = getattr(source.contender.estimator, "ignores", ())
    if overrides.learning_rate is None or "learning rates" not in ignored:
        return ()
    return (f"{source.found.estimator} doesn't look at learning rates: --lr changes nothing",)


def ask_held_out(source: Source) -> Asked:
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
    query = _with_new(source, query_for(shown, source.metric))
    if source.new is not None:
        recorded = _widened(recorded, np.full(len(source.new.test), np.nan))
    longest = max((run.curriculum for run in shown), key=lambda curriculum: curriculum.steps)
    # What they are held against must be asked at their steps, which needn't be those of most runs.
    recipe = replace(
        recorded_recipe(source.recording.dynamics, source.metric),
        learning_rates=longest.learning_rates,
        grid=query.steps,
    )
    labels = tuple(run.name for run in shown)
    return Asked(query, labels, f"{len(shown)} held-out runs", recipe, recorded, notes)


def _with_new(source: Source, query: Query) -> Query:
    """A query about recorded runs, with the new test examples after the recorded ones."""
    return query if source.new is None else replace(query, first=_widened(query.first, source.new.first))


def _widened(values: Float[np.ndarray, "*any test"], more: Float[np.ndarray, " new"]) -> Float[np.ndarray, "*any both"]:
    return np.concatenate([values, np.broadcast_to(more, (*values.shape[:-1], len(more)))], axis=-1)


def against_average(source: Source, asked: Asked) -> Reference:
    """The average recorded run as mean-run knows it: of the runs to fit and to validate.

    New test examples were never recorded; for these it is the mean of what the simulator itself predicts for the
    same runs.
    """
    split = stored_split(source.recording.dynamics.runs)
    grid, mean = average_run(split.fit + split.validation, source.metric.name)
    steps = asked.query.steps
    known = (grid[0] <= steps) & (steps <= grid[-1])
    values = np.full((len(steps), mean.shape[1]), np.nan)
    # As mean-run interpolates, so that its own simulations change nothing.
    values[known] = average.interpolate(grid, mean, steps[known])
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


def _average_prediction(
    source: Source, runs: Sequence[Run]
) -> tuple[Int[np.ndarray, " grid"], Float[np.ndarray, "grid new"]]:
    """The mean of what the simulator predicts of new test examples for the runs that share most runs' steps."""
    usable, _ = usable_runs(runs, source.metric)
    if not usable:
        raise DataError("no recorded run is complete enough to compare new test examples with", "give --against")
    members = [usable[place] for place in max(same_steps(usable), key=len)]
    query = _with_new(source, query_for(members, source.metric))
    values = mean_over(source.ask(query).values[:, :, len(source.recording.dynamics.test) :])
    return query.steps, values


def other_subset(
    source: Source, against: Ids, members: Int[np.ndarray, " subset"], asked: Asked, orders: int, seed: int
) -> Reference:
    """What another subset, that ``against`` names, would give by the same recipe and the same seeds."""
    first = source.first(int(asked.recipe.grid[0]))
    values = mean_over(source.ask(asked.recipe.query(asked.recipe.orders(members, orders, seed), first)).values)
    name = Path(against).name if isinstance(against, str | Path) else "another subset"
    return Reference(f"{name} ({len(members)} examples)", int(asked.query.steps[-1]), values, values[-1])
