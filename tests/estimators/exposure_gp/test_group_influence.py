"""Influence on one weighted sum, of single examples and of groups, against the process written out densely."""

import numpy as np
import pytest

from gptfl.core import Curriculum, FitData, Run
from gptfl.core.curriculum import fill_batches, linear_decay, run_seed
from gptfl.errors import DataError
from gptfl.estimators.exposure_gp.estimator import ExposureGp
from gptfl.estimators.exposure_gp.influence import presentations
from gptfl.estimators.exposure_gp.target import TargetPosterior
from gptfl.estimators.exposures import exposures
from tests.estimators.exposure_gp.worlds import BATCH, LOSS, POOL, RECORDED, STEPS, TEST, world
from tests.synthetic import examples

WEIGHTS = np.linspace(0.5, 1.5, TEST) / TEST
GROUPS = np.arange(POOL) % 4 - 1  # a quarter is in none


def dense(fitted, members, grouped=None):
    """The mean and the variance of the summed effect of some examples, each combination of factors by itself.

    Where examples are ``grouped`` [example, group], those of a group have an effect in common.
    """
    model, vectors = fitted.model_, vectors_of(fitted)
    asked = presentations(model, np.arange(POOL), vectors, WEIGHTS[None])
    unit = np.eye(POOL) - 1 / POOL  # each example less the average one
    prior = [asked.own.scale * unit @ unit.T]
    if asked.shared:
        prior.append(sum(one * rows @ rows.T for one, rows in asked.shared))
    cross, between = list(asked.cross), None
    if grouped is not None:
        # In units of the variance of an example's effect of one unit of exposure.
        effect = sum(one.diagonal() for one in prior).mean() / asked.rate**2
        moved, came = unit @ grouped, exposures_of(model) @ grouped
        prior.append(effect * asked.rate**2 * moved @ moved.T)
        cross.append(effect * asked.rate * moved @ came.T)
        between = effect * came @ came.T
    posterior = TargetPosterior.of(model, WEIGHTS, between)
    means, variances, shares = [], [], []
    for one in posterior.candidates:
        basis = one.rows.vectors
        factors = np.ones(len(prior))
        factors[0] = one.own
        if grouped is not None:
            factors[-1] = one.common
        kernel = one.factor * np.tensordot(factors, np.array(prior), 1)
        turned = one.factor * np.tensordot(factors, np.array(cross), 1) @ basis
        data = one.factor * np.diag(one.rows.values) + np.eye(basis.shape[1])
        gain = turned @ np.linalg.inv(data)
        means.append(members @ (gain @ one.deviations))
        variances.append(one.variance * members @ (kernel - gain @ turned.T) @ members)
        shares.append(one.share)
    shares = np.array(shares) / np.sum(shares)
    mean = shares @ means
    total = shares @ np.array(variances) + shares @ (np.array(means) - mean) ** 2
    return mean + members @ asked.expected[:, 0], total


def exposures_of(model):
    """What is left at the last recorded step of what each run fitted has seen, less the mean over runs, by a plain loop."""
    runs, last = model.recorded.curricula, model.recorded.steps[-1]
    found = np.zeros((len(runs.batches), POOL))
    for run, (batches, rates) in enumerate(zip(runs.batches, runs.learning_rates, strict=True)):
        for step in range(last):
            left = np.exp(-rates[step + 1 : last].sum() / runs.fading)
            for example in batches[step]:
                if example >= 0:
                    found[run, example] += left * rates[step] / (batches[step] >= 0).sum()
    return found - found.mean(axis=0)


def by_groups(seed, mixed):
    """Six runs of rows from two of three groups, or ``mixed`` ones, each row with an effect of its own and one of its group's.

    The data to fit, the rows' effects of seeing them alone for a whole run, and their groups.
    """
    random = np.random.default_rng([seed, 5])
    groups = np.arange(POOL) % 3
    effects = -0.5 + 0.3 * random.normal(size=3)[groups] + 0.3 * random.normal(size=POOL)
    first, rates, made = random.uniform(3, 4, size=TEST), linear_decay(1.0, STEPS), []
    for index in range(6):
        lacking = np.full(POOL, False) if mixed else groups == index % 3
        subset = random.permutation(np.flatnonzero(~lacking))[: POOL // 2]
        batches = fill_batches(np.sort(subset), BATCH, STEPS, run_seed(seed, index))
        seen = exposures(batches[None], rates[None], RECORDED, POOL)[0] / rates.sum()
        values = first + (seen @ effects)[:, None]
        values[1:] += 0.01 * random.normal(size=values[1:].shape)
        made.append(Run(index, index, "fit", Curriculum(batches, rates), RECORDED, {"loss": values}))
    named = examples("train", POOL, 1), examples("test", TEST, 1)
    return FitData(*named, LOSS, tuple(made)), effects, groups


def vectors_of(fitted):
    return {name: one.train for name, one in fitted.model_.sources.sets.items()}


@pytest.fixture(scope="module", params=[{}, {"features": False}], ids=["features", "none"])
def fitted(request):
    data, _ = world(runs=9)
    return ExposureGp(**request.param).fit(data)


def test_single_examples_are_what_the_dense_process_says(fitted) -> None:
    mean, spread, before = fitted.influence_on_target(np.arange(POOL), vectors_of(fitted), WEIGHTS)
    for place in range(0, POOL, 5):
        expected, variance = dense(fitted, np.eye(POOL)[place])
        assert mean[place] == pytest.approx(-expected)
        assert spread[place] == pytest.approx(np.sqrt(variance), rel=1e-5)
    assert (before >= spread * (1 - 1e-6)).mean() > 0.9


@pytest.mark.parametrize("chunk", [3, 100])
def test_groups_are_what_the_dense_process_says_of_their_sums(fitted, chunk) -> None:
    vectors = vectors_of(fitted)
    parts = [
        (
            np.arange(start, min(start + chunk, POOL)),
            {name: one[start : start + chunk] for name, one in vectors.items()},
            GROUPS[start : start + chunk],
        )
        for start in range(0, POOL, chunk)
    ]
    mean, spread, _ = fitted.influence_of_groups(iter(parts), 3, WEIGHTS)
    grouped = (GROUPS[:, None] == np.arange(3)).astype(float)
    for group in range(3):
        expected, variance = dense(fitted, grouped[:, group], grouped)
        assert mean[group] == pytest.approx(-expected)
        assert spread[group] == pytest.approx(np.sqrt(variance), rel=1e-5)


def test_one_group_by_itself_has_nothing_in_common_but_what_its_examples_do(fitted) -> None:
    half = np.arange(POOL) % 2 - 1
    parts = [(np.arange(POOL), vectors_of(fitted), half)]
    mean, spread, _ = fitted.influence_of_groups(parts, 1, WEIGHTS)
    expected, variance = dense(fitted, (half == 0).astype(float))
    assert mean[0] == pytest.approx(-expected)
    assert spread[0] == pytest.approx(np.sqrt(variance), rel=1e-5)


def test_what_groups_have_in_common_is_told_where_runs_differ_by_them_and_left_open_where_not() -> None:
    held, wide, alone = {}, {}, {}
    for kind in ("by groups", "mixed"):
        told = []
        for seed in range(10):
            data, effects, groups = by_groups(seed, mixed=kind == "mixed")
            fitted = ExposureGp(features=False, link="identity").fit(data)
            mean, spread, _ = fitted.influence_of_groups([(np.arange(POOL), {}, groups)], 3, WEIGHTS)
            rate = presentations(fitted.model_, np.arange(POOL), {}, WEIGHTS[None]).rate
            # A run's effects are shared out by what is left of each step.
            left = fitted.model_.recorded.curricula.left_at(STEPS)[0].sum() * BATCH
            truth = -rate * np.bincount(groups, effects - effects.mean()) / left
            by_itself = [(groups == group) - 1 for group in range(3)]
            single = [fitted.influence_of_groups([(np.arange(POOL), {}, one)], 1, WEIGHTS) for one in by_itself]
            lone, narrow = (np.array([one[part][0] for one in single]) for part in (0, 1))
            told.append([np.abs(mean - truth) <= 1.645 * spread, spread, np.abs(lone - truth) <= 1.645 * narrow])
        held[kind], wide[kind], alone[kind] = np.mean(told, axis=(0, 2))
    assert held["by groups"] > 0.8
    assert held["mixed"] > 0.65 > 0.5 > alone["mixed"], (held, alone)
    assert wide["mixed"] > 1.5 * wide["by groups"]


def test_all_examples_together_are_the_average_one(fitted) -> None:
    parts = [(np.arange(POOL), vectors_of(fitted), np.zeros(POOL, dtype=int))]
    mean, spread, before = fitted.influence_of_groups(parts, 1, WEIGHTS)
    single = fitted.influence_on_target(np.arange(POOL), vectors_of(fitted), WEIGHTS)
    assert abs(mean[0]) < 1e-5 * np.abs(single[0]).sum()
    assert spread[0] < 1e-2 * single[1].sum()
    assert before[0] < 1e-2 * single[2].sum()


def test_vectors_of_another_kind_are_refused() -> None:
    data, _ = world(runs=6)
    estimator = ExposureGp().fit(data)
    wrong = {"raw-0": np.ones((POOL, 3))}
    with pytest.raises(DataError, match="take the encoder that the simulator was fitted with"):
        estimator.influence_on_target(np.arange(POOL), wrong, WEIGHTS)
    with pytest.raises(DataError, match="take the encoder that the simulator was fitted with"):
        estimator.influence_of_groups([(np.arange(POOL), wrong, GROUPS)], 3, WEIGHTS)
