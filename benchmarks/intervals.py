"""Prints how often 95 % intervals of scores hold the true value, where it is known.

Run by hand: OMP_NUM_THREADS=1 python benchmarks/intervals.py [--times 200]
"""

import argparse
import itertools
from collections.abc import Callable, Iterator

import numpy as np

from gptfl.scores import bootstrap
from gptfl.scores.ceiling import doubt, noise_draws, noise_shares, order_noise, quantiles, rank_correlation
from gptfl.scores.lds import lds_draws
from gptfl.scores.sampling import Sampling

Trial = tuple[float, float, np.ndarray, int, bootstrap.Scale]
"""The true value, the score, its draws, their degrees of freedom and its scale."""


def related(random: np.random.Generator, runs: int, tests: int, correlation: float) -> np.ndarray:
    """Normal values [run, test] whose test examples correlate by ``correlation``."""
    common = random.normal(size=(runs, 1))
    return np.asarray(np.sqrt(correlation) * common + np.sqrt(1 - correlation) * random.normal(size=(runs, tests)))


def lds_trial(
    random: np.random.Generator,
    pearson: float,
    *,
    runs: int = 24,
    folds: int = 1,
    tests: int = 12,
    correlation: float = 0.5,
    together: int = 1,
    draws: int = 500,
) -> Trial:
    """Predictions that correlate with the truth by ``pearson``; so many runs at a time are much alike."""
    units, peers = np.arange(runs) // together, np.arange(runs) // together % folds

    def values() -> np.ndarray:
        if together == 1:
            return related(random, runs, tests, correlation)
        shared = related(random, runs // together, tests, correlation)[units]
        return np.asarray(np.sqrt(0.8) * shared + np.sqrt(0.2) * related(random, runs, tests, correlation))

    ours = values()
    truth = pearson * ours + np.sqrt(1 - pearson**2) * values()
    # Each fold's fit has a level of its own, which LDS takes out.
    ours = ours + 3.0 * random.normal(size=(folds, 1))[peers]
    given = np.zeros((runs, 1, tests))
    arrays = [np.concatenate([given, one[:, None]], axis=1) for one in (ours, truth)]
    sampling = Sampling(units, peers, tests)
    weights = bootstrap.draw_weights(runs, int(random.integers(2**31)), draws, units)
    score = float(lds_draws(arrays[0], arrays[1], peers, np.ones((1, runs)))[0])
    drawn = lds_draws(arrays[0], arrays[1], peers, weights)
    true = 6 / np.pi * np.arcsin(pearson / 2)
    return true, score, drawn, sampling.freedom("lds"), bootstrap.scale_of("lds", runs, tests)


def skill_trial(
    random: np.random.Generator, left: float, *, runs: int = 24, factors: int = 3, draws: int = 500
) -> Trial:
    """Squared errors of runs that vary in so many ways; ``left`` is the share that a prediction leaves."""
    deviations = random.normal(size=(runs, factors))
    errors = 0.6 * random.normal(size=(runs, factors)) + 0.8 * deviations
    mine, reference = left * (errors**2).sum(axis=1), (deviations**2).sum(axis=1)
    weights = bootstrap.draw_weights(runs, int(random.integers(2**31)), draws)
    drawn = bootstrap.skill_draws(mine, reference, weights)
    return 1 - left, 1 - float(mine.sum() / reference.sum()), drawn, runs - 1, bootstrap.SHARE


def inside_trial(
    random: np.random.Generator, share: float, *, runs: int = 24, spread: float = 0.07, draws: int = 500
) -> Trial:
    """The share of points inside predictive intervals, where runs have shares of their own with such a spread."""
    size = share * (1 - share) / spread**2 - 1
    each = random.beta(share * size, (1 - share) * size, size=runs)
    weights = bootstrap.draw_weights(runs, int(random.integers(2**31)), draws)
    return share, float(each.mean()), bootstrap.weighted_means(each, weights), runs - 1, bootstrap.PLAIN


def ceiling_trial(
    random: np.random.Generator,
    noise: float,
    *,
    runs: int = 24,
    subsets: int = 6,
    orders: int = 2,
    tests: int = 12,
    factors: int = 3,
    uneven: float = 0.0,
    draws: int = 500,
) -> tuple[tuple[float, tuple[float, float]], tuple[float, tuple[float, float]]]:
    """The true ceilings of skill and LDS and their intervals, where so much of the variance is noise.

    ``uneven`` is the standard deviation of the logarithm of a subset's noise (its own standard deviation).
    """
    ways = [one / np.sqrt((one**2).sum(axis=0)) for one in random.normal(size=(2, factors, tests))]

    def noises(count: int, sizes: int) -> np.ndarray:
        size = np.exp(uneven * random.normal(size=(sizes, 1)) - uneven**2)
        return np.asarray(np.sqrt(noise) * size * (random.normal(size=(count, factors)) @ ways[1]))

    recorded = np.zeros((runs, 2, tests))
    recorded[:, 1] = np.sqrt(1 - noise) * (random.normal(size=(runs, factors)) @ ways[0]) + noises(runs, runs)
    repeats = [np.zeros((orders, 2, tests)) for _ in range(subsets)]
    for one in repeats:
        one[:, 1] = noises(orders, 1)
    known = order_noise(repeats)
    at = np.broadcast_to(known, recorded.shape)
    weights = np.zeros((2, tests))
    weights[1] = runs
    sampling = Sampling(np.arange(runs), np.zeros(runs, dtype=int), tests)
    seed = int(random.integers(2**31))
    found = doubt(at, recorded, np.zeros_like(recorded), sampling, seed, noise_draws(repeats, weights, seed, draws))
    assert found is not None
    skill, lds = 1 - found.share, float(rank_correlation(noise_shares(at, recorded, sampling.peers)).mean())
    true = float(rank_correlation(np.array(noise)))
    return (1 - noise, quantiles(found.skill(), skill)), (true, quantiles(found.lds(), lds))


def holds(trial: Callable[[np.random.Generator], Trial], times: int, seed: int = 0) -> tuple[float, float]:
    """The share of intervals that hold the truth: those of ``bootstrap.interval``, and plain percentiles of draws."""
    random = np.random.default_rng(seed)
    ours = plain = 0
    for _ in range(times):
        true, score, drawn, freedom, scale = trial(random)
        low, high = bootstrap.interval(score, drawn, freedom, scale)
        ours += low <= true <= high
        low, high = np.quantile(drawn, [0.025, 0.975])
        plain += low <= true <= high
    return ours / times, plain / times


def lines(times: int) -> Iterator[str]:
    """The table, line by line."""
    yield "LDS: true value, runs, folds, correlation of test examples: percentiles -> as used"
    for runs, folds, together in ((10, 1, 1), (16, 4, 1), (24, 1, 1), (24, 4, 1), (24, 4, 2), (48, 4, 1)):
        for correlation, pearson in itertools.product((0.0, 0.5, 0.95), (0.0, 0.5, 0.9, 0.98)):
            shape = {"runs": runs, "folds": folds, "alike": correlation, "together": together}
            ours, plain = holds(lambda r, p=pearson, s=shape: lds_trial(r, p, **s), times)  # type: ignore[misc]
            pairs = " (pairs)" if together == 2 else ""
            true = 6 / np.pi * np.arcsin(pearson / 2)
            yield f"  {true:.2f} {runs:3}{pairs} {folds} {correlation:.2f}: {plain:.2f} -> {ours:.2f}"
    yield "skill: true value, runs, ways to vary: percentiles -> as used"
    for runs, factors, left in itertools.product((8, 16, 24, 48), (1, 3, 10), (0.07, 0.5, 1.2)):
        shape = {"runs": runs, "factors": factors}
        ours, plain = holds(lambda r, p=left, s=shape: skill_trial(r, p, **s), times)  # type: ignore[misc]
        yield f"  {1 - left:5.2f} {runs:3} {factors:2}: {plain:.2f} -> {ours:.2f}"
    yield "share inside predictive intervals: true share, runs, spread over runs: percentiles -> as used"
    for runs, share, spread in itertools.product((8, 16, 24, 48), (0.5, 0.9), (0.03, 0.07, 0.15)):
        shape = {"runs": runs, "spread": spread}
        ours, plain = holds(lambda r, p=share, s=shape: inside_trial(r, p, **s), times)  # type: ignore[misc]
        yield f"  {share:.2f} {runs:3} {spread:.2f}: {plain:.2f} -> {ours:.2f}"
    yield "ceilings: true skill, subsets x orders, ways to vary, uneven: skill, LDS (mean width of skill's)"
    for (subsets, orders), (factors, uneven), noise in itertools.product(
        ((6, 2), (1, 4), (4, 3)), ((1, 0.0), (3, 0.0), (12, 0.0), (3, 0.5)), (0.05, 0.15, 0.35, 0.7)
    ):
        random, inside, width = np.random.default_rng(0), np.zeros(2), 0.0
        for _ in range(times):
            trials = ceiling_trial(random, noise, subsets=subsets, orders=orders, factors=factors, uneven=uneven)
            inside += [low <= true <= high for true, (low, high) in trials]
            width += trials[0][1][1] - trials[0][1][0]
        skill, lds = inside / times
        yield f"  {1 - noise:.2f} {subsets}x{orders} {factors:2} {uneven:.1f}: {skill:.2f}, {lds:.2f} ({width / times:.2f})"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=200)
    for line in lines(parser.parse_args().times):
        print(line, flush=True)
