"""Prints what runs by groups tell of groups and of single rows beside contrast runs, against trainings without each group.

Run by hand: OMP_NUM_THREADS=1 python benchmarks/groups.py FOLDER [--seeds 3] [--output FILE] [--worlds 6]

--worlds makes recordings of known worths instead of training. Without FOLDER nothing is trained: it prints what designs identify by themselves, as collect --dry-run does.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import gptfl
from gptfl.core import Curriculum, Dynamics, Example, Features, FeatureSet, MetricInfo, Run
from gptfl.core.curriculum import generator, linear_decay, recorded_steps
from gptfl.designs.draws import NONE, DesignLayout, draw_runs
from gptfl.designs.identification import contrast_subset, identification
from gptfl.estimators.exposures import exposures
from gptfl.influence.closed_form import WIDTH
from gptfl.store.features import write_features
from gptfl.store.recordings import write_dynamics
from gptfl.tasks.errands import Errands

SOURCES, ROWS, TEST, EPOCHS, BATCH = "abcdef", 12, 24, 3, 4
WRONG = {"f": 1.0, "e": 0.5}
"""The share of a source's answers that are wrong."""
DESIGNS: dict[str, dict[str, Any]] = {
    "groups": {"design": "groups", "by": "source"},
    "contrast": {"design": "contrast"},
}
RUNS = (6, 12)


def write_rows(folder: Path, seed: int) -> None:
    """Questions of the made-up task from several sources, one of which answers all wrong and another half of them."""
    drawn, random = Errands().load(len(SOURCES) * ROWS, TEST, seed), generator(seed, 1)
    folder.mkdir(parents=True, exist_ok=True)
    for side, examples in (("train", drawn.pool), ("test", drawn.test)):
        lines = []
        for place, example in enumerate(examples):
            row = {
                "id": example.id,
                "prompt": example.prompt,
                "choices": list(example.choices),
                "target": example.target,
            }
            if side == "train":
                row["source"] = SOURCES[place % len(SOURCES)]
                if random.random() < WRONG.get(row["source"], 0.0):
                    others = [one for one in example.choices if one != example.target]
                    row["target"] = others[int(random.integers(len(others)))]
            lines.append(json.dumps(row))
        (folder / f"{side}.jsonl").write_text("\n".join(lines) + "\n")


def record(data: Path, space: Path, design: str, runs: int, seed: int) -> Any:
    """A recording with gradient sketches, of as many steps a run as the passes over the pool take, and what its fit tells.

    More runs are added to those that are there.
    """
    options: dict[str, Any] = {"task": "jsonl", "data": str(data), "workspace": space, "name": design}
    steps = len(SOURCES) * ROWS * EPOCHS // BATCH
    pool = len(SOURCES) * ROWS
    path = gptfl.collect(
        "tiny",
        **options,
        **DESIGNS[design],
        runs=runs,
        pool=pool,
        test=TEST,
        steps=steps,
        batch_size=BATCH,
        lr=1e-3,
        record_every=steps // 2,
        sketches=True,
        sketch_dimensions=512,
        seed=seed,
    ).path
    gptfl.featurize(dynamics=path, workspace=space)
    gptfl.fit("exposure-gp", dynamics=path, workspace=space)
    return path, gptfl.rank(dynamics=path, workspace=space, by="source").rankings[0]


def truths(path: Path, space: Path, orders: int) -> tuple[dict[str, float], dict[str, float]]:
    """How much worse the loss ends without each source, and the standard error of that; and of the average order."""
    rows = [(one.id, one.fields["source"]) for one in gptfl.open_recording(path).dynamics.pool]

    def ends(without: str) -> np.ndarray:
        ids = [name for name, source in rows if source != without]
        done = gptfl.verify(subset=ids, epochs=EPOCHS, orders=orders, dynamics=path, workspace=space, figure=False)
        return done.recorded[:, done.last].mean(axis=1)

    whole = ends("")
    found, errors = {}, {}
    for source in SOURCES:
        lacking = ends(source)
        found[source] = float(lacking.mean() - whole.mean())
        errors[source] = float(np.hypot(lacking.std(ddof=1), whole.std(ddof=1)) / np.sqrt(orders))
    return found, errors


def measured(folder: Path, seed: int, orders: int) -> list[dict[str, Any]]:
    """A row for each design and number of runs."""
    data, space = folder / f"rows-{seed}", folder / f"space-{seed}"
    write_rows(data, seed)
    found, known = [], None
    for design in DESIGNS:
        for runs in RUNS:
            path, ranking = record(data, space, design, runs, seed)
            if known is None:
                known = truths(path, space, orders)
            truth, error = (np.array([side[name] for name in SOURCES]) for side in known)
            groups = ranking.groups
            place = [groups.grouping.names.index(name) for name in SOURCES]
            mean, low, high = (side[place] for side in (groups.influence, groups.low, groups.high))
            rows = ranking.influence
            found.append(
                {
                    "seed": seed,
                    "design": design,
                    "runs": runs,
                    "truth": truth.tolist(),
                    "truth_error": error.tolist(),
                    "influence": mean.tolist(),
                    "low": low.tolist(),
                    "high": high.tolist(),
                    "width": float((high - low).mean()),
                    "held": int(((low <= truth) & (truth <= high)).sum()),
                    "held_to_error": int((np.abs(mean - truth) <= np.hypot((high - low) / 2, WIDTH * error)).sum()),
                    "error": float(np.sqrt(((mean - truth) ** 2).mean())),
                    "rho": rank_correlation(mean, truth),
                    "worst_found": bool(mean.argmin() == truth.argmin()),
                    "decided": int(((low > 0) | (high < 0)).sum()),
                    "row_width": float((ranking.high - ranking.low).mean()),
                    "row_spread": float(rows.std()),
                    "rows_decided": int(((ranking.low > 0) | (ranking.high < 0)).sum()),
                }
            )
            print(json.dumps({key: found[-1][key] for key in SHOWN}), flush=True)
    return found


SHOWN = (
    "seed",
    "design",
    "runs",
    "width",
    "error",
    "held",
    "held_to_error",
    "rho",
    "decided",
    "row_width",
    "rows_decided",
)


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's, of values without ties."""
    return float(np.corrcoef(np.argsort(np.argsort(one)), np.argsort(np.argsort(other)))[0, 1])


def print_identified(pool: int = 200, steps: int = 75, seeds: int = 3) -> None:
    """Which shares of the effect of a group, and of a row, the runs to fit tell; means over groups and seeds."""
    for groups in (4, 6, 10):
        of = np.arange(pool) % groups
        members = {str(group): np.flatnonzero(of == group) for group in range(groups)}
        for runs in (6, 12, 24):
            for design, subset in (("groups", 100), ("groups", 60), ("contrast", 32), ("uniform", 128)):
                told = []
                for seed in range(seeds):
                    made = draw_runs(DesignLayout(design, pool, subset, seed, NONE, groups=of), runs)
                    batches = [run.batches(BATCH, steps) for run in made if run.role == "fit"]
                    found = identification(batches, np.full(steps, 1e-3), pool, groups=members)
                    if found is not None:
                        told.append((1 - np.mean(list(found.groups.values())), 1 - found.example))
                print(groups, runs, design, subset, *np.mean(told, axis=0).round(3))


WORLD = ("group_held", "group_width", "group_error", "row_held", "row_width", "row_error")


def in_world(folder: Path, seed: int, pool: int = 60, test: int = 12, steps: int = 45) -> Iterator[dict[str, Any]]:
    """What is told of groups and rows whose worths are known: parts of vectors, of rows, and of their sources."""
    random = np.random.default_rng([seed, 9])
    of = np.arange(pool) % len(SOURCES)
    rows, tests = random.normal(size=(pool, 5)), random.normal(size=(test, 5)) + 0.7
    own, source = random.normal(size=(pool, 1)), random.normal(size=(len(SOURCES), 1))
    worths = 0.8 + 0.7 * (rows @ tests.T) / 4 + 0.35 * own + 0.5 * source[of]
    first, rates = random.uniform(3, 4, size=test), linear_decay(1.0, steps)
    named = [Example(f"train-{row}", "", "a", fields={"source": SOURCES[of[row]]}) for row in range(pool)]
    tested = [Example(f"test-{row}", "", "b") for row in range(test)]
    truth = worths.mean(axis=1) / pool
    for design, subset in (("groups", pool // 2), ("contrast", contrast_subset(pool))):
        for runs in RUNS:
            made = []
            for draw in draw_runs(DesignLayout(design, pool, subset, seed, NONE, groups=of), runs):
                batches, points = draw.batches(BATCH, steps), recorded_steps(steps, 5)
                seen = exposures(batches[None], rates[None], points, pool)[0] / rates.sum()
                values = first - seen @ worths
                values[1:] += 0.02 * random.normal(size=values[1:].shape)
                made.append(Run(draw.index, draw.seed, draw.role, Curriculum(batches, rates), points, {"loss": values}))
            loss = MetricInfo("loss", False, 0.0)
            dynamics = Dynamics(tuple(named), tuple(tested), {"loss": loss}, tuple(made), {"task": "worlds"})
            space = folder / f"{seed}-{design}-{runs}"
            space.mkdir(parents=True, exist_ok=True)
            write_dynamics(space / "w.dynamics.h5", dynamics)
            vectors = {"vectors": FeatureSet(rows.astype(np.float32), tests.astype(np.float32))}
            write_features(space / "w.worlds.features.h5", Features("worlds", {}, dynamics.examples, vectors))
            gptfl.fit("exposure-gp", workspace=space)
            ranking = gptfl.rank(workspace=space, by="source").rankings[0]
            groups = ranking.groups
            told = {
                "group": (groups.influence, groups.low, groups.high, np.bincount(of, truth)),
                "row": (ranking.influence, ranking.low, ranking.high, truth),
            }
            found: dict[str, Any] = {"seed": seed, "design": design, "runs": runs}
            for kind, (mean, low, high, true) in told.items():
                found[f"{kind}_held"] = float(((low <= true) & (true <= high)).mean())
                found[f"{kind}_width"] = float((high - low).mean())
                found[f"{kind}_error"] = float(np.sqrt(((mean - true) ** 2).mean()))
            yield found


def summed(rows: Sequence[dict[str, Any]], keys: Sequence[str]) -> None:
    """Print means over seeds."""
    for design in DESIGNS:
        for runs in RUNS:
            own = [row for row in rows if (row["design"], row["runs"]) == (design, runs)]
            print(design, runs, json.dumps({key: round(float(np.mean([row[key] for row in own])), 4) for key in keys}))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--orders", type=int, default=4)
    parser.add_argument("--worlds", type=int, default=0)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    if given.folder is None:
        print_identified()
        return
    if given.worlds:
        rows = [row for seed in range(given.worlds) for row in in_world(given.folder, seed)]
        summed(rows, WORLD)
        if given.output:
            given.output.write_text(json.dumps(rows, indent=1) + "\n")
        return
    rows: list[dict[str, Any]] = []
    for seed in range(given.seeds):
        rows += measured(given.folder, seed, given.orders)
        if given.output:
            given.output.write_text(json.dumps(rows, indent=1) + "\n")
    summed(rows, SHOWN[3:])


if __name__ == "__main__":
    main()
