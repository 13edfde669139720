"""Prints how many held-out points lie inside the intervals of exposure-gp, on made-up recordings of several laws.

Run by hand: OMP_NUM_THREADS=1 python benchmarks/coverage.py {runs,observe,pairs} [--seeds 8]
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from gptfl.core import Curriculum, Features, FeatureSet, FitData, MetricInfo, Query, Run, examples_fingerprint
from gptfl.core.curriculum import draw_subset, fill_batches, generator, linear_decay, recorded_steps, run_seed
from gptfl.estimators.exposure_gp.estimator import ExposureGp
from gptfl.estimators.exposures import exposures
from gptfl.testing.synthetic import make_examples

LOSS = MetricInfo("loss", higher_is_better=False, low=0.0)
POOL, TEST, SUBSET, BATCH, STEPS = 36, 12, 9, 4, 24
QUERIED = 12
LAWS = ("linear", "bent", "own", "classes", "noisy")
"""Effects add up; they saturate and hang together; mostly each example's own; by class; little but noise."""


def recording(law: str, runs: int, seed: int, *, every: int = 3, pairs: bool = False) -> FitData:
    """Runs of a law whose noise adds up over the steps, as that of orders does; with ``pairs`` every second one is the
    one before with an eighth of its examples replaced."""
    random = generator(seed, LAWS.index(law))
    train, tests = random.normal(size=(POOL, 5)), random.normal(size=(TEST, 5))
    kinds = np.arange(POOL) % 2
    own, share, noise = {"own": (1.0, 0.0, 0.05), "classes": (0.1, 1.0, 0.05), "noisy": (0.2, 0.0, 0.6)}.get(
        law, (0.3, 0.3, 0.05)
    )
    effects = own * random.normal(size=(POOL, TEST)) + share * random.normal(size=(2, TEST))[kinds]
    effects = effects - train @ tests.T / 3
    grid, rates = recorded_steps(STEPS, every), linear_decay(1.0, STEPS)
    begin, made, previous = random.uniform(0.6, 1.4, size=TEST), [], np.arange(SUBSET)
    for index in range(runs):
        key = run_seed(seed, index)
        subset = draw_subset(POOL, SUBSET, key)
        if pairs and index % 2:
            others = np.setdiff1d(subset, previous)[: max(1, SUBSET // 8)]
            subset = np.concatenate([previous[: SUBSET - len(others)], others])
        previous = subset
        batches = fill_batches(subset, BATCH, STEPS, key)
        seen = exposures(batches[None], rates[None], grid, POOL)[0] / rates.sum()
        moved = 3.0 * seen @ effects
        if law == "bent":
            moved = np.tanh(moved) + 0.5 * moved * np.tanh(moved.mean(axis=1, keepdims=True))
        paces = np.sqrt(np.append(0.0, np.diff(grid)) / STEPS)[:, None]
        # What the order of batches does moves test examples together.
        shared = random.normal(size=(len(grid), 2)) @ random.normal(size=(2, TEST))
        walk = np.cumsum(noise * paces * (0.7 * shared + 0.3 * random.normal(size=shared.shape)), axis=0)
        line = begin - 0.9 * (1.0 - np.exp(-3.0 * grid / STEPS))[:, None] + 0.6 * moved + walk
        made.append(Run(index, key, "fit", Curriculum(batches, rates), grid, {"loss": np.exp(line)}))
    named = make_examples(POOL, "pool"), make_examples(TEST, "test")
    kind = "embedding" if law in ("own", "classes") else "gradient"
    one = FeatureSet(train.astype(np.float32), tests.astype(np.float32), kind)
    features = Features("made-up", {}, examples_fingerprint(*named), {"raw-0": one})
    return FitData(*named, LOSS, tuple(made), features=features)


def query_of(runs: tuple[Run, ...], observed: int = 0) -> tuple[Query, np.ndarray]:
    """The question for these runs, given so many scores after the first, and what was recorded."""
    truth = np.stack([run.metrics["loss"] for run in runs])
    curricula = [run.curriculum for run in runs]
    query = Query(
        np.stack([one.batches for one in curricula]),
        np.stack([one.learning_rates for one in curricula]),
        runs[0].steps,
        truth[:, 0],
    )
    if not observed:
        return query, truth
    given = np.full(truth.shape, np.nan)
    given[:, 1 : observed + 1] = truth[:, 1 : observed + 1]
    return replace(query, observed=given), truth


def inside(data: FitData, queried: tuple[Run, ...], observed: int = 0) -> dict[float, tuple[float, float]]:
    """By level, the share of recorded points inside, those observed left out, and the mean width on the logarithm."""
    query, truth = query_of(queried, observed)
    found = ExposureGp().fit(data).predict(query)
    rest = slice(observed + 1, None)
    return {
        level: (
            float(((low <= truth) & (truth <= high))[:, rest].mean()),
            float(np.log(high / low)[:, rest].mean()),
        )
        for level, (low, high) in found.intervals.items()
    }


def cells(seeds: int, fit: int, *, every: int = 3, observed: int = 0) -> Iterator[tuple[str, dict[float, np.ndarray]]]:
    """By law, shares inside and widths over seeds."""
    for law in LAWS:
        rows = []
        for seed in range(seeds):
            whole = recording(law, fit + QUERIED, seed, every=every)
            rows.append(inside(replace(whole, fit_runs=whole.fit_runs[:fit]), whole.fit_runs[fit:], observed))
        yield law, {level: np.array([row[level] for row in rows]) for level in rows[0]}


def show(title: str, found: Iterator[tuple[str, dict[float, np.ndarray]]]) -> None:
    """Print a line a law and one of all."""
    rows = list(found)
    every = {level: np.concatenate([one[level] for _, one in rows]) for level in rows[0][1]}
    for law, one in [*rows, ("all", every)]:
        text = "  ".join(
            f"{level:.0%}: inside {values[:, 0].mean():.3f} (least {values[:, 0].min():.2f}), width {np.median(values[:, 1]):.3g}"
            for level, values in sorted(one.items())
        )
        print(f"{title} {law:8s} {text}", flush=True)


def pairs(seeds: int, runs: int = 16, folds: int = 4) -> None:
    """Leave-out pairs held out together, and pairs torn apart by the folds."""
    for together in (True, False):
        shares: dict[float, list[float]] = {}
        for law in LAWS:
            for seed in range(seeds):
                whole = recording(law, runs, seed, pairs=True)
                fold = (np.arange(runs) // 2 if together else np.arange(runs)) % folds
                for number in range(folds):
                    kept = tuple(run for run, own in zip(whole.fit_runs, fold, strict=True) if own != number)
                    queried = tuple(run for run, own in zip(whole.fit_runs, fold, strict=True) if own == number)
                    for level, (share, _) in inside(replace(whole, fit_runs=kept), queried).items():
                        shares.setdefault(level, []).append(share)
        text = "  ".join(f"{level:.0%}: inside {np.mean(one):.3f}" for level, one in sorted(shares.items()))
        print(f"pairs {'together' if together else 'apart'}: {text}", flush=True)


def main() -> None:
    """Print one of the studies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", choices=("runs", "observe", "pairs"))
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--runs", type=int, nargs="+", default=[2, 3, 4, 5, 6, 8, 12])
    parser.add_argument("--observed", type=int, nargs="+", default=[1, 3, 10, 20])
    given = parser.parse_args()
    if given.study == "runs":
        for count in given.runs:
            show(f"{count:2d} runs", cells(given.seeds, count))
    elif given.study == "observe":
        for observed in given.observed:
            show(f"{observed:2d} observed", cells(given.seeds, 12, every=1, observed=observed))
    else:
        pairs(given.seeds)


if __name__ == "__main__":
    main()
