"""Prints how many effects and other runs lie inside the intervals that a single run gives, on made-up runs of several laws.

Run by hand: OMP_NUM_THREADS=1 python benchmarks/single_run.py [--seeds 20]
"""

import argparse
from dataclasses import dataclass

import numpy as np

from gptfl.core.curriculum import draw_subset, fill_batches, generator, linear_decay, recorded_steps, run_seed
from gptfl.estimators.exposure_gp.accumulation import Vectors
from gptfl.estimators.exposure_gp.process import Curricula
from gptfl.estimators.exposure_gp.single_run import OneRun, SingleRun, UnitEffects

POOL, TEST, BATCH = 60, 12, 4
QUERIED = 8
LAWS: dict[str, dict[str, float]] = {
    "first order": {"own": 0.1},
    "half": {"own": 1.0},
    "own": {"own": 3.0},
    "drift": {"own": 1.0, "drift": 1.0},
    "fading": {"own": 0.5, "left": 0.4},
    "damped": {"own": 0.5, "scale": 0.3},
    "noisy": {"own": 0.5, "noise": 0.5},
}
"""Effects are those of first order; as much again is each example's own; three times as much; besides, all moves by
itself; an effect fades to a part of it; all effects are a third; little but noise."""
RATE = 0.2


@dataclass(frozen=True)
class Made:
    """A recorded run, what first order predicts, what examples do in truth at the end, and other runs with theirs."""

    run: OneRun
    unit_effects: UnitEffects
    truth: np.ndarray
    others: Curricula
    values: np.ndarray


def made(law: str, seed: int, steps: int, every: int, ordered: bool = True) -> Made:
    """Runs of a law whose noise adds up over the steps."""
    given = {"own": 0.0, "drift": 0.0, "left": 1.0, "scale": 1.0, "noise": 0.05} | LAWS[law]
    random = generator(seed, sorted(LAWS).index(law))
    train, tests = random.normal(size=(POOL, 6)) + 0.6, random.normal(size=(TEST, 6)) + 0.6
    products = -(train @ tests.T) / 6
    spread = products.std(axis=0)
    correlation = (tests @ tests.T) / np.outer(*[np.linalg.norm(tests, axis=1)] * 2)
    root = np.linalg.cholesky(0.7 * correlation + 0.3 * np.eye(TEST))
    effects = given["scale"] * products + given["own"] * given["scale"] * spread * (
        random.normal(size=(POOL, TEST)) @ root.T
    )
    grid, rates = recorded_steps(steps, every), linear_decay(RATE, steps)
    left = given["left"] + (1.0 - given["left"]) * np.exp(-np.arange(steps) / 4.0)
    begin = random.uniform(2.0, 4.0, size=TEST)
    drift = given["drift"] * (1.0 - np.exp(-3.0 * grid / steps))[:, None] * random.uniform(0.5, 1.5, size=TEST)
    batches, values = [], []
    for index in range(1 + QUERIED):
        key = run_seed(seed, index)
        drawn = fill_batches(draw_subset(POOL, POOL // 2 if index else POOL, key), BATCH, steps, key)
        each = np.zeros((steps, POOL))
        np.add.at(each, (np.arange(steps)[:, None], drawn), rates[:, None] / BATCH)
        moved = np.stack([(left[:end][::-1, None] * each[:end]).sum(axis=0) @ effects for end in grid])
        walk = random.normal(size=(len(grid), TEST)) @ root.T * np.sqrt(np.append(0.0, np.diff(grid)))[:, None]
        noise = given["noise"] * RATE * spread * np.cumsum(walk, axis=0)
        batches.append(drawn)
        values.append(begin - drift + moved + noise)
    weight = float(np.average(left[::-1], weights=rates))
    curricula = Curricula(np.stack(batches), np.tile(rates, (1 + QUERIED, 1)))
    recorded = curricula.of(np.array([0]))
    if not ordered:  # every example a little in each step
        recorded = Curricula(np.tile(np.arange(POOL), (1, steps, 1)), rates[None])
    one = OneRun(recorded, grid, values[0], POOL)
    vectors = Vectors(np.array([0]), products[None].astype(np.float32))
    return Made(
        one,
        UnitEffects(vectors, vectors, correlation),
        weight * effects,
        curricula.of(np.arange(1, 1 + QUERIED)),
        np.stack(values[1:]),
    )


def inside(found: Made) -> tuple[float, float, float, float]:
    """Shares inside 90 % intervals of effects and of other runs, the correlation of effects, and their relative width."""
    from scipy.special import stdtrit

    from gptfl.estimators.exposure_gp.single_run import FREEDOM

    single = SingleRun.of(found.run, found.unit_effects)
    mean, spread = single.influence(np.arange(POOL), np.eye(TEST))
    curricula = found.run.curricula
    filled = (curricula.batches >= 0).any(axis=2)
    truth = float(curricula.weights[filled].mean()) * (found.truth - found.truth.mean(axis=0))
    share = float((np.abs(truth - mean) <= 1.645 * spread).mean())
    apart, wide = single.departures(found.others.batches, found.others.learning_rates)
    error = np.abs(found.values - found.run.values - apart)[:, 1:]
    runs = float((error <= stdtrit(FREEDOM, 0.95) * wide[:, 1:]).mean())
    return (
        share,
        runs,
        float(np.corrcoef(truth.ravel(), mean.ravel())[0, 1]) if mean.any() else 0.0,
        float(np.median(spread) / truth.std()),
    )


def main() -> None:
    """Print a line a law and one of all, for runs of several lengths."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    seeds = parser.parse_args().seeds
    for title, steps, every, ordered in (
        ("60 steps, each recorded", 60, 1, True),
        ("60 steps, every 4th", 60, 4, True),
        ("12 steps, every 4th", 12, 4, True),
        ("60 steps, 4 checkpoints, order unknown", 60, 15, False),
    ):
        every_law = []
        for law in LAWS:
            rows = np.array([inside(made(law, seed, steps, every, ordered)) for seed in range(seeds)])
            every_law.append(rows)
            print(
                f"{title}: {law:11s} effects {rows[:, 0].mean():.3f} (least {rows[:, 0].min():.2f})  runs {rows[:, 1].mean():.3f} (least {rows[:, 1].min():.2f})  correlation {np.nanmean(rows[:, 2]):.2f}  width {np.median(rows[:, 3]):.2f}",
                flush=True,
            )
        rows = np.concatenate(every_law)
        print(f"{title}: all         effects {rows[:, 0].mean():.3f}  runs {rows[:, 1].mean():.3f}", flush=True)


if __name__ == "__main__":
    main()
