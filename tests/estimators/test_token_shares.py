"""Examples that count by their tokens: what a step of training does, and what estimators make of it."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gptfl.core import Curriculum, Example, Features, FeatureSet, FitData, Query, Run, examples_fingerprint
from gptfl.core.curriculum import draw_subset, fill_batches, linear_decay, presentation_weights, run_seed
from gptfl.core.examples import relative_weights
from gptfl.estimators.class_share import ClassShare
from gptfl.estimators.exposure_gp.estimator import ExposureGp
from gptfl.estimators.exposures import exposures
from gptfl.estimators.gptfluence.batches import interval_counts
from gptfl.estimators.gptfluence.update_rule import UpdateRule
from gptfl.recording.batching import weighed
from tests.synthetic import LOSS, examples
from tests.training.test_trainer import RATE, make

POOL, STEPS, BATCH = 24, 16, 3
RECORDED = np.arange(0, STEPS + 1, 4)


def test_a_step_of_training_counts_an_example_by_its_tokens(neox: Path) -> None:
    trainer = make(neox, optimiser="sgd", momentum=0.0, weight_decay=0.0, loss_mean="tokens")
    pool = weighed(trainer.pool, trainer)
    assert [one.weight for one in pool] == [len(row.tokens) for row in trainer.rows]
    assert len({one.weight for one in pool}) > 1
    members = np.array([0, 1, 2, 5, -1])
    relative = relative_weights(pool)
    share = float(presentation_weights(members[None], np.array([RATE]), relative)[0])
    trained = trainer.network.trainable
    trainer.network.switch(training=True)
    expected = [torch.zeros_like(weight) for weight in trained]
    for member in members[:4]:
        own = -trainer.network.log_probs(trainer.batch(members[members == member])).mean()
        for total, one in zip(expected, torch.autograd.grad(own, trained), strict=True):
            total -= share * relative[member] * one
    before = [weight.detach().clone() for weight in trained]
    trainer.step(trainer.optimiser(), trainer.pieces(members), RATE)
    for weight, was, one in zip(trained, before, expected, strict=True):
        torch.testing.assert_close(weight.detach() - was, one, atol=1e-7, rtol=1e-2)


def test_where_examples_count_alike_nothing_is_kept(neox: Path) -> None:
    trainer = make(neox)
    assert weighed(trainer.pool, trainer) == trainer.pool
    assert relative_weights(trainer.pool) is None
    assert relative_weights([Example("a", "b", "c", weight=3), Example("d", "e", "f")]) is None


def world(weights: np.ndarray, kind: str) -> tuple[FitData, list[Run], np.ndarray]:
    """Runs that move linearly with their exposures by tokens: data to fit, runs to ask about, their true ends."""
    random = np.random.default_rng(4)
    train, tests = random.normal(size=(POOL, 4)), random.normal(size=(5, 4))
    effects, rates, relative = -train @ tests.T / 2, linear_decay(1.0, STEPS), weights / weights.mean()
    made = []
    for index in range(20):
        key = run_seed(7, index)
        batches = fill_batches(draw_subset(POOL, 8, key), BATCH, STEPS, key)
        seen = exposures(batches[None], rates[None], RECORDED, POOL, counts=relative)[0] / rates.sum()
        values = 5.0 - 0.5 * (RECORDED / STEPS)[:, None] + seen @ effects
        made.append(Run(index, key, "fit", Curriculum(batches, rates), RECORDED, {"loss": values}))
    pool = tuple(replace(one, weight=int(w)) for one, w in zip(examples("train", POOL, 2), weights, strict=True))
    test = examples("test", 5, 2)
    # Recorded gradients count as they do in a step.
    vectors = train * relative[:, None] if kind == "gradient" else train
    one = FeatureSet(vectors.astype(np.float32), tests.astype(np.float32), kind)
    features = Features("x", {}, examples_fingerprint(pool, test), {"raw-0" if kind == "gradient" else "text": one})
    truth = np.stack([run.metrics["loss"] for run in made[14:]])
    return FitData(pool, test, LOSS, tuple(made[:14]), features=features), made[14:], truth


@pytest.mark.parametrize("kind", ["gradient", "embedding"])
def test_exposure_gp_goes_by_tokens_where_it_knows_them(kind: str) -> None:
    weights = np.random.default_rng(1).integers(1, 30, POOL)
    data, queried, truth = world(weights, kind)
    query = Query(
        np.stack([run.curriculum.batches for run in queried]),
        np.stack([run.curriculum.learning_rates for run in queried]),
        RECORDED,
        truth[:, 0],
    )

    def error(fitted: ExposureGp) -> float:
        return float(np.square(fitted.predict(query).values - truth).mean())

    knowing = ExposureGp(link="identity").fit(data)
    unweighted = replace(data, pool=tuple(replace(one, weight=None) for one in data.pool))
    assert error(knowing) < 0.1 * error(ExposureGp(link="identity").fit(unweighted))
    again = ExposureGp(link="identity").restore(knowing.state())
    np.testing.assert_allclose(again.predict(query).values, knowing.predict(query).values, rtol=1e-6)


def test_class_share_counts_tokens_where_it_knows_them() -> None:
    weights = np.random.default_rng(1).integers(1, 30, POOL)
    data, queried, truth = world(weights, "gradient")
    found = ClassShare(1.0).fit(data)
    run = queried[0]
    batches, rates = run.curriculum.batches[None], run.curriculum.learning_rates[None]
    seen = exposures(batches, rates, RECORDED, POOL, counts=weights)[0, -1]
    share = found.shares_of(run)[0, -1]
    expected = [seen[found.classes_ == one].sum() / seen.sum() for one in range(share.shape[0])]
    np.testing.assert_allclose(share, expected)
    query = Query(batches, rates, RECORDED, truth[:1, 0])
    again = ClassShare(1.0).restore(found.state())
    np.testing.assert_array_equal(again.predict(query).values, found.predict(query).values)


def test_gptfluence_counts_intervals_by_tokens() -> None:
    random = np.random.default_rng(3)
    batches, tokens = random.integers(-1, 6, (2, 7, 3)), np.array([1.0, 7.0, 2.0, 30.0, 4.0, 4.0])
    steps = np.array([1, 3, 7])
    found = interval_counts(batches, steps, 6, None, 3, tokens / tokens.mean())
    expected = np.zeros((4, 6))
    for run, (row, (begin, end)) in itertools.product(range(2), enumerate(itertools.pairwise(steps))):
        for batch in batches[run, begin:end]:
            there = batch[batch >= 0]
            for member in there:
                expected[2 * run + row, member] += 3 * tokens[member] / tokens[there].sum()
    np.testing.assert_allclose(found.dense(6).numpy(), expected)
    law = UpdateRule(6, batch=3, relative=tokens / tokens.mean())
    np.testing.assert_allclose(law.counts(batches, None, steps, 6).dense(6).numpy(), expected)


@pytest.mark.parametrize("kind", ["gradient", "embedding"])
def test_influence_takes_an_examples_tokens_from_those_of_the_others(kind: str) -> None:
    """A batch's step is as long with an example of many tokens as without: the others have less of it.

    In a world that is linear in exposures by tokens, an example in the place of the average one does what its tokens do, less
    what as many of the average example's do.
    """
    weights = np.random.default_rng(1).integers(1, 30, POOL)
    data, _, _ = world(weights, kind)
    random = np.random.default_rng(4)
    effects = -random.normal(size=(POOL, 4)) @ random.normal(size=(5, 4)).T / 2
    relative = weights / weights.mean()
    fitted = ExposureGp(link="identity").fit(data)
    rates = linear_decay(1.0, STEPS)
    average = (relative[:, None] * effects).mean(axis=0)
    truth = rates.mean() / BATCH / rates.sum() * relative[:, None] * (effects - average)
    vectors = {name: one.train for name, one in data.features.sets.items()}
    found, _ = fitted.influence_of(np.arange(POOL), vectors, np.eye(5))
    slope = (found * -truth).sum() / (truth**2).sum()
    assert np.corrcoef(found.ravel(), -truth.ravel())[0, 1] > 0.97
    assert 0.8 < slope < 1.2
    groups = np.arange(POOL) % 2
    mean, _, before = fitted.influence_of_groups([(np.arange(POOL), vectors, groups)], 2, np.full(5, 0.2))
    single, _, _ = fitted.influence_on_target(np.arange(POOL), vectors, np.full(5, 0.2))
    # Every run sees all examples, so that only their order tells what those of a group have in common: next to nothing.
    np.testing.assert_allclose(mean, [single[groups == one].sum() for one in range(2)], rtol=0.02)
    # All of them together are the average example, however many tokens each has.
    whole = fitted.influence_of_groups([(np.arange(POOL), vectors, np.zeros(POOL, dtype=int))], 1, np.full(5, 0.2))
    assert abs(whole[0][0]) < 1e-6 * np.abs(mean).max() + 1e-9
    assert whole[2][0] < 1e-5 * before.max()


@pytest.mark.parametrize("kind", ["gradient", "embedding"])
def test_what_a_new_example_does_grows_with_its_tokens(kind: str) -> None:
    """Twice the tokens take twice the share of a batch, from an average example of as many."""
    weights = np.random.default_rng(1).integers(1, 30, POOL)
    data, _, _ = world(weights, kind)
    fitted = ExposureGp(link="identity").fit(data)
    (name,) = data.features.sets
    rows, new, tests = data.features.sets[name].train[:6], np.full(6, -1), np.full(5, 0.2)
    # Gradients come as they count in a step, by their tokens.
    longer = {name: 2 * rows if kind == "gradient" else rows}
    tokens = weights[:6].astype(np.float64)
    once = fitted.influence_on_target(new, {name: rows}, tests, tokens=tokens)
    twice = fitted.influence_on_target(new, longer, tests, tokens=2 * tokens)
    for one, two in zip(once, twice, strict=True):
        np.testing.assert_allclose(two, 2 * one, rtol=1e-5, atol=1e-6 * np.abs(one).max())
    for one, two in zip(
        fitted.influence_of(new, {name: rows}, tests[None], tokens=tokens),
        fitted.influence_of(new, longer, tests[None], tokens=2 * tokens),
        strict=True,
    ):
        np.testing.assert_allclose(two, 2 * one, rtol=1e-5, atol=1e-6 * np.abs(one).max())
    # In groups of one, in two parts; those of the pool go by what they have there, whatever is said of them.
    groups = np.arange(6)
    parts = [(new[part], {name: rows[part]}, groups[part]) for part in (slice(0, 4), slice(4, 6))]
    np.testing.assert_allclose(
        fitted.influence_of_groups(parts, 6, tests, tokens=tokens)[0], once[0], rtol=1e-4, atol=1e-7
    )
    known = fitted.influence_on_target(groups, {name: rows}, tests)
    np.testing.assert_array_equal(
        fitted.influence_on_target(groups, {name: rows}, tests, tokens=9 * tokens)[0], known[0]
    )
    # Of unknown ones they have the pool's mean.
    usual = fitted.influence_on_target(new, {name: rows}, tests, tokens=np.full(6, weights.mean()))
    for unknown in (None, np.full(6, np.nan)):
        found = fitted.influence_on_target(new, {name: rows}, tests, tokens=unknown)
        np.testing.assert_allclose(found[0], usual[0], rtol=1e-12)
    assert np.abs(usual[0] - once[0]).max() > 1e-3 * np.abs(once[0]).max()
