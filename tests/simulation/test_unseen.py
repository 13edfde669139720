from dataclasses import replace

import numpy as np
import pytest

from gptfl.api.compare import compare
from gptfl.core import GradientProducts
from gptfl.core.queries import query_for
from gptfl.errors import DataError, UsageError
from gptfl.estimators.class_share import ClassShare
from gptfl.plugins import EstimatorTags
from gptfl.scores import pointwise
from gptfl.simulation.fit import fit
from gptfl.simulation.unseen import hold_out_examples, holdout_from_json, scope_of
from gptfl.store.features import write_features
from gptfl.store.recordings import write_dynamics
from gptfl.store.simulators import read_simulator
from tests.lawful import lawful
from tests.simulation.singles import Single
from tests.synthetic import LOSS, synthetic


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
