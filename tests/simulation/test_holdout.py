"""What is held out never reaches a fit: runs are cut into pieces without it."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptfl.core import Curriculum, Example, Run
from gptfl.errors import DataError
from gptfl.estimators.baselines import MeanRun, Persistence
from gptfl.estimators.class_share import ClassShare
from gptfl.estimators.gptfluence.estimator import GPTfluence
from gptfl.estimators.gptfluence.trajectory import divided_runs
from gptfl.simulation.holdout import pieces, without_held_out
from gptfl.simulation.unseen import hold_out_examples
from tests.simulation.singles import Single, data_of, digest, products
from tests.synthetic import synthetic


@given(
    steps=st.integers(1, 14),
    every=st.integers(1, 4),
    gone=st.sets(st.integers(0, 5)),
    seed=st.integers(0, 10),
)
def test_pieces_are_the_longest_stretches_without_what_is_set_aside(steps, every, gone, seed):
    random = np.random.default_rng(seed)
    batches = random.integers(-1, 6, size=(steps, 2))
    recorded = np.unique(np.append(np.arange(0, steps + 1, every), steps))
    values = random.normal(size=(len(recorded), 3))
    run = Run(4, 9, "fit", Curriculum(batches, np.arange(steps) / 7), recorded, {"loss": values}, {"gradient": values})
    flags = np.zeros(7, dtype=bool)
    flags[list(gone)] = True

    clean = []
    for begin, end in itertools.pairwise(recorded):
        clean.append(not any(int(one) in gone for step in range(begin, end) for one in batches[step]))
    found = list(pieces(run, flags))
    covered = []
    for piece in found:
        rows = [int(np.flatnonzero(recorded == step)[0]) for step in piece.steps]
        assert rows == list(range(rows[0], rows[-1] + 1))
        assert len(rows) >= 2
        np.testing.assert_array_equal(piece.metrics["loss"], values[rows])
        np.testing.assert_array_equal(piece.derivatives["gradient"][1:], values[rows][1:])
        first, last = piece.steps[0], piece.steps[-1]
        np.testing.assert_array_equal(piece.curriculum.batches[first:last], batches[first:last])
        if len(found) > 1 or not all(clean):
            assert (piece.curriculum.batches[:first] == -1).all()
            assert (piece.curriculum.batches[last:] == -1).all()
        # As long as can be: what lies before and behind isn't clean.
        assert rows[0] == 0 or not clean[rows[0] - 1]
        assert rows[-1] == len(clean) or not clean[rows[-1]]
        covered += rows[:-1]
    assert covered == [row for row, is_clean in enumerate(clean) if is_clean]


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 50), other=st.integers(0, 50))
def test_nothing_of_unseen_test_examples_reaches_a_fit(seed, other):
    dynamics, features = synthetic(7, steps=6)
    held_out = hold_out_examples(dynamics, "test", 0.4, seed)
    random = np.random.default_rng(other)
    hidden = list(held_out.test)

    def spoiled(values):
        values = np.array(values)
        values[..., hidden] = random.normal(size=values[..., hidden].shape)
        return values

    runs = tuple(replace(run, metrics={"loss": spoiled(run.metrics["loss"])}) for run in dynamics.runs)
    test = tuple(
        Example(f"other-{i}", "?", " !", label=0) if i in held_out.test else e for i, e in enumerate(dynamics.test)
    )
    changed = replace(dynamics, runs=runs, test=test)
    vectors = features.sets["vectors"]
    rows = replace(features, sets={"vectors": replace(vectors, test=spoiled(vectors.test.T).T.astype(np.float32))})
    dots = products(24, 8)
    others = replace(dots, raw=spoiled(dots.raw), preconditioned=spoiled(dots.preconditioned))
    for estimator in (Single(), MeanRun(), ClassShare()):
        one = without_held_out(data_of(dynamics, features, dots), held_out, estimator)
        two = without_held_out(data_of(changed, rows, others), held_out, estimator)
        assert digest(one) == digest(two)
        assert len(one.test) == 8 - len(hidden)
        assert digest(one) != digest(data_of(dynamics, features, dots))


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 50), every=st.integers(1, 3), other=st.integers(0, 50))
def test_nothing_of_steps_with_unseen_training_examples_reaches_a_fit(seed, every, other):
    dynamics, features = synthetic(7, steps=12, every=every, batch_size=2)
    held_out = hold_out_examples(dynamics, "train", 0.1, seed)
    random = np.random.default_rng(other)
    hidden = np.isin(np.arange(24), held_out.pool)

    def changed(run):
        batches, values = run.curriculum.batches.copy(), run.metrics["loss"].copy()
        touched = hidden[batches].any(axis=1)
        dirty = [touched[a:b].any() for a, b in zip(run.steps[:-1], run.steps[1:], strict=True)]
        for begin, end, is_dirty in zip(run.steps[:-1], run.steps[1:], dirty, strict=True):
            if is_dirty:
                # Other company, in another order; the unseen one stays.
                keep = batches[begin:end].copy()
                batches[begin:end] = random.integers(0, 24, size=keep.shape)
                batches[begin:end][hidden[keep]] = keep[hidden[keep]]
        inside = [row for row in range(1, len(dirty)) if dirty[row - 1] and dirty[row]]
        values[inside] = random.normal(size=values[inside].shape)
        return replace(run, curriculum=Curriculum(batches, run.curriculum.learning_rates), metrics={"loss": values})

    pool = tuple(Example(f"o-{i}", "?", " !", label=0) if hidden[i] else e for i, e in enumerate(dynamics.pool))
    vectors = features.sets["vectors"]
    train = np.where(hidden[:, None], random.normal(size=vectors.train.shape), vectors.train).astype(np.float32)
    rows = replace(features, sets={"vectors": replace(vectors, train=train)})
    other_runs = replace(dynamics, pool=pool, runs=tuple(changed(run) for run in dynamics.runs))
    one = without_held_out(data_of(dynamics, features), held_out, Single())
    two = without_held_out(data_of(other_runs, rows), held_out, Single())
    assert digest(one) == digest(two)
    for run in (*one.fit_runs, *one.validation_runs):
        assert run.curriculum.batches.max() < len(one.pool) == 24 - len(held_out.pool)
        assert len(run.steps) >= 2


def test_a_fit_is_the_same_to_the_last_bit_whatever_unseen_examples_did():
    dynamics, features = synthetic(8, steps=12, every=1, batch_size=2)
    held_out = hold_out_examples(dynamics, "both", 0.2, 5)
    vectors = features.sets["vectors"]
    hidden_pool, hidden_test = list(held_out.pool), list(held_out.test)
    train, test = vectors.train.copy(), vectors.test.copy()
    train[hidden_pool], test[hidden_test] = 9.0, -9.0
    runs = []
    for run in dynamics.runs:
        values = run.metrics["loss"].copy()
        values[:, hidden_test] = 77.0
        runs.append(replace(run, metrics={"loss": values}))
    other = replace(features, sets={"vectors": replace(vectors, train=train, test=test)})
    for order, projection in ((1, "linear"), (3, "mlp")):
        states = [
            made.fit(without_held_out(data_of(one, its), held_out, made)).state()
            for one, its in ((dynamics, features), (replace(dynamics, runs=tuple(runs)), other))
            for made in [GPTfluence(epochs=20, order=order, projection=projection)]
        ]
        assert all(np.array_equal(states[0][name], states[1][name]) for name in states[0])
        assert len(states[0]["vectors.train"]) == 24 - len(hidden_pool)


def test_blind_estimators_keep_whole_runs_and_others_fit_pieces():
    dynamics, features = synthetic(8, every=1)
    whole = data_of(dynamics, features)
    held_out = hold_out_examples(dynamics, "train", None, 3)
    for blind in (Persistence(), MeanRun(), ClassShare()):
        assert digest(without_held_out(whole, held_out, blind)) == digest(whole)
    cut = without_held_out(whole, held_out, Single())
    assert len(cut.fit_runs) > len(whole.fit_runs)
    assert any(run.steps[0] > 0 for run in cut.fit_runs)
    assert without_held_out(whole, None, Single()) is whole


def test_no_interval_left_is_reported():
    dynamics, _ = synthetic(8, every=9)
    with pytest.raises(DataError, match=r"one of the 20 training examples set aside was trained on: give a smaller"):
        without_held_out(data_of(dynamics), hold_out_examples(dynamics, "train", 0.85, 3), Single())


def test_without_validation_all_pieces_of_the_last_run_are_held_out():
    dynamics, features = synthetic(8, every=1)
    data = replace(data_of(dynamics, features), validation_runs=())
    made = GPTfluence(epochs=3)
    cut = without_held_out(data, hold_out_examples(dynamics, "train", 0.1, 5), made)
    fit_runs, held, _ = divided_runs(cut)
    last = [run for run in cut.fit_runs if run.index == cut.fit_runs[-1].index]
    assert len(held) == len(last) > 1
    assert len(fit_runs) + len(held) == len(cut.fit_runs)
    assert np.isfinite(made.fit(cut).checks_[-1][1])
