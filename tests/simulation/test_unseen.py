import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptfl.api.compare import compare
from gptfl.core import Curriculum, Example, FitData, GradientProducts, Run, fingerprint, run_fingerprint
from gptfl.core.queries import query_for
from gptfl.core.splits import stored_split
from gptfl.errors import DataError, UsageError
from gptfl.estimators.baselines import MeanRun, Persistence
from gptfl.estimators.class_share import ClassShare
from gptfl.estimators.gptfluence.estimator import GPTfluence
from gptfl.plugins import EstimatorTags
from gptfl.scores import pointwise
from gptfl.simulation.fit import fit
from gptfl.simulation.holdout import pieces, without_held_out
from gptfl.simulation.requirements import refusal
from gptfl.simulation.unseen import hold_out_examples, holdout_from_json, scope_of
from gptfl.store.features import write_features
from gptfl.store.recordings import write_dynamics
from gptfl.store.simulators import read_simulator
from tests.lawful import lawful
from tests.synthetic import LOSS, synthetic


class Single:
    """Stands for an estimator that looks at single examples."""

    name = "single"
    tags = EstimatorTags(unseen={"train", "test"})


def data_of(dynamics, features=None, gradients=None):
    split = stored_split(dynamics.runs)
    return FitData(dynamics.pool, dynamics.test, LOSS, split.fit, split.validation, features, 7, gradients=gradients)


def digest(data: FitData) -> str:
    """Everything that an estimator can see."""
    runs = [run_fingerprint(run) for run in (*data.fit_runs, *data.validation_runs)]
    examples = [[e.id, e.digest, e.label] for e in (*data.pool, *data.test)]
    extras = [part.fingerprint if part else None for part in (data.features, data.gradients)]
    return fingerprint(runs, examples, *extras)


def products(pool: int, test: int, seed: int = 0) -> GradientProducts:
    random = np.random.default_rng(seed)
    both = random.normal(size=(2, 3, pool, test))
    own = random.normal(size=(2, 3, pool))
    return GradientProducts(1, np.arange(3), np.ones(3), both[0], both[1], own[0], own[1])


def test_what_is_set_aside_follows_from_seed_and_share_alone():
    dynamics, _ = synthetic(6)
    held_out = hold_out_examples(dynamics, "both", None, 3)
    assert (len(held_out.pool), len(held_out.test)) == (5, 2)
    assert held_out == hold_out_examples(synthetic(12)[0], "both", None, 3)
    assert (
        held_out.pool
        == hold_out_examples(dynamics, "train", None, 3).pool
        != hold_out_examples(dynamics, "train", None, 4).pool
    )
    assert held_out.test == hold_out_examples(dynamics, "test", None, 3).test
    assert set(held_out.test) < set(hold_out_examples(dynamics, "test", 0.6, 3).test)
    assert hold_out_examples(dynamics, None, None, 3) is None


def test_a_recording_may_say_itself_what_is_reserved():
    dynamics, _ = synthetic(6)
    marked = [replace(e, fields={"reserved": True}) if i in (2, 5) else e for i, e in enumerate(dynamics.pool)]
    own = replace(dynamics, pool=tuple(marked))
    assert hold_out_examples(own, "both", None, 3).pool == (2, 5)
    assert hold_out_examples(own, "train", 0.2, 3) == hold_out_examples(dynamics, "train", 0.2, 3)


@pytest.mark.parametrize(
    ("unseen", "share", "error", "message"),
    [
        ("foo", None, UsageError, "--unseen 'foo' is none of the sides: give one of train, test, both"),
        ("test", 0.0, UsageError, "unseen_share is 0: give a share between 0 and 1, such as 0.25"),
        ("test", 1.0, UsageError, "unseen_share is 1: give a share between 0 and 1, such as 0.25"),
        ("train", float("nan"), UsageError, "unseen_share is nan: give a share between 0 and 1, such as 0.25"),
        (None, 0.5, UsageError, "--unseen-share 0.5 says how much, but not of what: add --unseen train|test|both"),
        ("test", 0.9, DataError, "--unseen-share 0.9 sets aside 7 of 8 test examples and leaves 1"),
        ("train", 0.97, DataError, "--unseen-share 0.97 sets aside 23 of 24 training examples and leaves 1"),
    ],
)
def test_what_makes_no_sense_is_refused(unseen, share, error, message):
    with pytest.raises(error) as caught:
        hold_out_examples(synthetic(6)[0], unseen, share, 3)
    assert message in str(caught.value)


def test_what_was_set_aside_comes_back_from_a_file():
    dynamics, _ = synthetic(6)
    for unseen, share in (("train", None), ("test", 0.5), ("both", 0.3)):
        held_out = hold_out_examples(dynamics, unseen, share, 3)
        assert holdout_from_json(held_out.to_json(dynamics), dynamics, "x.h5") == held_out
    assert holdout_from_json(None, dynamics, "x.h5") is None
    kept = held_out.to_json(dynamics)
    for broken in (
        {},
        [],
        {**kept, "test": ["strange"]},
        {**kept, "test": 3},
        {**kept, "side": []},
        {**kept, "seed": "1"},
    ):
        with pytest.raises(DataError, match=r"^x\.h5 is damaged: .*: run gptfl fit again$"):
            holdout_from_json(broken, dynamics, "x.h5")


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
    fit_runs, held = made._split(cut)
    last = [run for run in cut.fit_runs if run.index == cut.fit_runs[-1].index]
    assert len(held) == len(last) > 1
    assert len(fit_runs) + len(held) == len(cut.fit_runs)
    assert np.isfinite(made.fit(cut).checks_[-1][1])


def test_a_scope_tells_places_among_those_fitted():
    dynamics, features = synthetic(8)
    held_out = hold_out_examples(dynamics, "both", None, 3)
    scope = scope_of(dynamics, held_out, Single(), features)
    assert scope.sides == ("train", "test")
    seen = [i for i in range(24) if i not in held_out.pool]
    assert [int(np.flatnonzero(scope.pool_seen == k)[0]) for k in range(len(seen))] == seen
    assert [i for i in range(8) if scope.test_seen[i] < 0] == list(held_out.test)
    assert scope.features.fingerprint == features.fingerprint
    query = query_for(dynamics.with_role("test"), LOSS)
    assert scope.about(query).unseen.pool == dynamics.pool
    blind = scope_of(dynamics, hold_out_examples(dynamics, "train", None, 3), ClassShare(), None)
    assert blind.sides == ()
    assert blind.about(query) is query
    only = scope_of(dynamics, held_out, Single(), features, np.array(held_out.test))
    assert [e.id for e in only.test] == [dynamics.test[i].id for i in held_out.test]
    assert len(only.features.sets["vectors"].test) == len(held_out.test)


def test_a_scope_has_gradient_products_for_who_takes_them():
    dynamics, features = synthetic(8)
    random = np.random.default_rng(0)
    raw, own = random.normal(size=(1, 24, 8)), random.normal(size=(1, 24))
    products = GradientProducts(0, np.array([0]), np.ones(3), raw, raw, own, own)
    dynamics = replace(dynamics, gradients=products)
    held_out = hold_out_examples(dynamics, "both", None, 3)
    taking = Single()
    taking.tags = EstimatorTags(unseen={"train", "test"}, takes={"gradients"})
    tests = np.array(held_out.test)
    scope = scope_of(dynamics, held_out, taking, features, tests)
    np.testing.assert_array_equal(scope.gradients.raw, raw[:, :, tests])
    assert scope.about(query_for(dynamics.with_role("test"), LOSS)).unseen.gradients is scope.gradients
    assert scope_of(dynamics, held_out, Single(), features).gradients is None
    assert scope_of(dynamics, None, taking, features).gradients is None


def test_who_does_not_generalise_is_reported_why():
    class Narrow:
        name = "narrow"
        tags = EstimatorTags(unseen={"train"})

    assert refusal(Narrow(), ("train",)) is None
    assert str(refusal(Narrow(), ("train", "test"))) == (
        "narrow answers only about the test examples that it was fitted to: use an estimator that generalises, such as "
        "gptfluence"
    )


@pytest.fixture
def law(tmp_path):
    """A workspace with a recording whose law can be learned from the features."""
    dynamics, features = lawful()
    write_dynamics(tmp_path / "law.dynamics.h5", dynamics)
    write_features(tmp_path / "law.synthetic.features.h5", features)
    return tmp_path


EASY = {"gptfluence": {"projection": "linear", "width": 6, "weight_decay": 0, "epochs": 600}}


@pytest.mark.parametrize("unseen", ["train", "test", "both"])
def test_a_law_in_the_features_holds_for_unseen_examples(law, unseen):
    dynamics, _ = lawful()
    comparison = compare(workspace=law, estimators=["gptfluence"], unseen=unseen, settings=EASY, figure=False)
    scores = {row.name: row.scores for row in comparison.rows}
    assert scores["gptfluence"]["skill"].value > 0.95
    held_out = hold_out_examples(dynamics, unseen, None, 42)
    places = list(held_out.test) or list(range(20))
    assert comparison.held_out.tests == tuple(dynamics.test[i].id for i in places)
    runs = dynamics.with_role("test")
    np.testing.assert_array_equal(comparison.held_out.recorded, [run.metrics["loss"][:, places] for run in runs])
    predicted = next(iter(comparison.predicted[row.estimator] for row in comparison.rows if row.name == "gptfluence"))
    error = pointwise.all_steps_mse(predicted, comparison.held_out.recorded).mean()
    assert error == pytest.approx(scores["gptfluence"]["mse"].value)
    assert comparison.unseen["train"] == [dynamics.pool[i].id for i in held_out.pool]
    assert any(note.startswith("set aside as unseen: ") for note in comparison.notes)


def test_compare_has_rows_for_those_that_cannot_answer(space):
    comparison = compare(workspace=space, estimators=["recall"], unseen="test", figure=False)
    rows = {row.estimator: row for row in comparison.rows}
    assert rows["recall"].error.startswith("recall answers only about the test examples")
    assert all(rows[name].scores for name in ("persistence", "mean-run", "class-share"))
    assert rows["mean-run"].scores["skill"].value == 0.0


def test_compare_leaves_out_those_that_cannot_answer_unless_named(space):
    comparison = compare(workspace=space, unseen="test", settings={"gptfluence": {"epochs": 1}}, figure=False)
    assert comparison.left_out["recall"].startswith("recall answers only about the test examples")
    assert {"recall", "gptfluence"} & {row.name for row in comparison.rows} == {"gptfluence"}


def test_fit_keeps_what_was_set_aside_and_the_key_tells(space):
    keys = set()
    for unseen, share, seed in (
        (None, None, 42), ("test", None, 42), ("test", 0.5, 42), ("test", None, 1), ("train", None, 42), ("both", None, 42),
    ):  # fmt: skip
        result = fit("mean-run", workspace=space, unseen=unseen, unseen_share=share, seed=seed)
        keys.add(result.key)
        kept = read_simulator(result.path).info["unseen"]
        held_out = hold_out_examples(synthetic(24)[0], unseen, share, seed)
        assert kept == (None if held_out is None else held_out.to_json(synthetic(24)[0]))
        assert any("set aside" in note for note in result.notes) == (unseen is not None)
    assert len(keys) == 6


def test_fit_refuses_an_estimator_that_does_not_generalise(space):
    with pytest.raises(DataError, match="recall answers only about the training examples"):
        fit("recall", workspace=space, unseen="train")
    assert not list(space.glob("*.simulator.h5"))
