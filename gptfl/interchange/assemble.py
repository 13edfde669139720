"""Puts runs together from the files of another layout, and counts what repeats and what is missing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import Curriculum, Example, Progress, Run, role_of
from gptfl.core.recording_settings import UNKNOWN_RATE
from gptfl.core.texts import counted
from gptfl.errors import harmless
from gptfl.interchange.gptdynamics import Batches, Budget, Duplicates, RunFiles, longest, read_batches, read_scores

MOST_CLASSES = 10
"""Targets of up to so many different texts, each of them met again in the pool, are taken for classes."""
NAMED = 3
"""How many names a note lists."""


@dataclass
class ImportCounts:
    """How much of one metric there is: runs that have it, scores, and what repeats or is missing among them."""

    runs: int = 0
    scores: int = 0
    missing: int = 0
    duplicates: Duplicates = field(default_factory=Duplicates)


@dataclass
class Assembly:
    """The runs of a recording as they were found; ``rates`` are the learning rates that their files hold."""

    runs: list[Run] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    rates_known: bool = True
    rates_given: bool = False
    """Whether all steps have a learning rate, and whether any has."""
    counts: dict[str, ImportCounts] = field(default_factory=dict)
    batches: Duplicates = field(default_factory=Duplicates)
    scored: set[int] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)


def assemble(
    found: Sequence[RunFiles],
    metrics: Sequence[str],
    pool: Sequence[Example],
    test: Sequence[Example],
    progress: Progress,
) -> Assembly:
    """The runs, read one by one. A run's scores are NaN where nothing is recorded; runs without any are left out.

    Args:
        found: the files of each run.
        metrics: names of those to read.
        pool: the training examples, by whose ids batches are read.
        test: the test examples, by whose ids scores are read.
        progress: called after each run.

    Raises ``DataError`` as the readers of the files do.
    """
    pool_places = {example.id: place for place, example in enumerate(pool)}
    test_places = {example.id: place for place, example in enumerate(test)}
    made = Assembly(counts={name: ImportCounts() for name in metrics})
    budget = Budget()
    silent_runs, short, gaps, late = [], [], [], []
    for done, files in enumerate(found):
        progress("import", done, len(found), files.name)
        batches = read_batches(files.batches, pool_places, budget)
        scores = {
            name: read_scores(files.scores[name], test_places, name, budget) for name in metrics if name in files.scores
        }
        if not any(len(one.steps) for one in scores.values()):
            silent_runs.append(files.name)
            continue
        short += [f"{files.name} (no {name})" for name in metrics if name not in scores]
        steps = np.unique(np.concatenate([one.steps for one in scores.values()]))
        values = {name: np.full((len(steps), len(test)), np.nan, dtype=np.float32) for name in metrics}
        for name, one in scores.items():
            values[name][np.searchsorted(steps, one.steps)] = one.values
            made.scored.update(one.named.tolist())
            made.counts[name].runs += 1
            made.counts[name].duplicates += one.duplicates
        total = longest(batches, scores.values())
        if total > max(batches.rows):
            late.append(files.name)
        elif len(batches.rows) < total:
            gaps.append(files.name)
        made.batches += batches.duplicates
        made.rates_known &= batches.rates.keys() == batches.rows.keys()
        made.rates_given |= bool(batches.rates)
        curriculum = Curriculum(batches.array(total, budget, files.batches), _rates(batches, total))
        index = len(made.runs)
        made.runs.append(Run(index, _seed(files.name, index), role_of(index), curriculum, steps, values))
        made.names.append(files.name)
    progress("import", len(found), len(found))
    _count(made)
    for names, what in (
        (silent_runs, "left out, for having no scores"),
        (short, "without the file of a metric, which stays open there"),
        (gaps, "without a batch at some steps, which are taken as empty"),
        (late, "scored beyond the last batch; the steps after it are taken as empty"),
    ):
        if names:
            made.notes.append(f"{counted(len(names), 'run')} {what}: {listed(names)}")
    return made


def _rates(batches: Batches, steps: int) -> Float[np.ndarray, " step"]:
    rates = np.zeros(steps)
    for step, rate in batches.rates.items():
        rates[step - 1] = rate
    return rates


def _seed(name: str, index: int) -> int:
    """The number that ends a run's name, as in run_seed-7; its index where there is none that a file can hold."""
    digits = name[len(name.rstrip("0123456789")) :]
    return int(digits) if digits and int(digits) < 2**63 else index


def _count(made: Assembly) -> None:
    """Scores there are, and those missing of a run at the steps that some run was scored at, as far as it goes."""
    grid: Int[np.ndarray, " step"] = np.unique(np.concatenate([run.steps for run in made.runs] or [np.empty(0, int)]))
    tests = len(made.scored)
    for name, counts in made.counts.items():
        for run in made.runs:
            known = int(np.isfinite(run.metrics[name]).sum())
            counts.scores += known
            counts.missing += int((grid <= run.curriculum.steps).sum()) * tests - known


def with_rates(made: Assembly, rates: Mapping[int, Float[np.ndarray, " step"]] | None) -> list[Run]:
    """The runs with these learning rates, by their step counts; None where no rates are known."""
    runs = []
    for run in made.runs:
        steps = run.curriculum.steps
        own = np.full(steps, UNKNOWN_RATE) if rates is None else rates[steps]
        runs.append(replace(run, curriculum=Curriculum(run.curriculum.batches, own)))
    return runs


def only_scored(made: Assembly, test: Sequence[Example]) -> tuple[tuple[Example, ...], Int[np.ndarray, " kept"]]:
    """The test examples that some run names, and their places; the runs' scores are cut to them."""
    kept = np.array(sorted(made.scored), dtype=np.int64)
    if len(kept) == len(test):
        return tuple(test), kept
    lost = [example.id for place, example in enumerate(test) if place not in made.scored]
    made.notes.append(f"{counted(len(lost), 'test text')} left out, for having a score in no run: {listed(lost)}")
    made.runs = [replace(run, metrics={name: one[:, kept] for name, one in run.metrics.items()}) for run in made.runs]
    return tuple(test[place] for place in kept), kept


def with_classes(
    pool: Sequence[Example], test: Sequence[Example]
) -> tuple[tuple[Example, ...], tuple[Example, ...], str]:
    """The examples with classes read off their targets, and a note; as they are where targets are no classes.

    Targets are classes where every example has a prompt and a target, there are 2 to ``MOST_CLASSES`` different
    ones, and each occurs at least twice in the pool.
    """
    everyone = (*pool, *test)
    in_pool = [example.target for example in pool]
    choices = tuple(sorted({example.target for example in everyone}))
    if not all(example.prompt for example in everyone) or not 2 <= len(choices) <= MOST_CLASSES:
        return tuple(pool), tuple(test), ""
    if any(in_pool.count(choice) < 2 for choice in choices):
        return tuple(pool), tuple(test), ""
    label = {choice: place for place, choice in enumerate(choices)}
    pools, tests = (
        tuple(replace(one, choices=choices, label=label[one.target]) for one in part) for part in (pool, test)
    )
    return pools, tests, f"took the {len(choices)} different targets for classes: {listed(map(repr, choices))}"


def listed(names: "Sequence[str] | map[str]") -> str:
    """The first few of some names."""
    names = [harmless(name) for name in names]
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
