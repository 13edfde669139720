import sys
from dataclasses import replace

import numpy as np
import pytest

from gptfl.api.compare import compare
from gptfl.core import GradientProducts, silent
from gptfl.core.splits import stored_split
from gptfl.errors import DataError, UsageError
from gptfl.evaluation.specs import ComparedEstimator, choose_estimators, label_for, parse_spec
from gptfl.features.lookup import FeatureLookup
from gptfl.plugins import EstimatorTags
from gptfl.plugins.hooks import hookimpl
from gptfl.plugins.registry import build, using
from gptfl.recording.recording import choose_metric, open_recording
from gptfl.simulation.fitting import fit_data, simulator_key
from gptfl.simulation.requirements import NamedEstimator, unmet_need
from tests.api.test_compare import rows_of
from tests.plugin_estimators import Recall


class Scaled(Recall):
    """Recall with something to calibrate."""

    name = "scaled"
    tags = EstimatorTags(metrics={"loss"})

    def __init__(self, calibrate=False, order=1):
        super().__init__(2.0 if calibrate else 1.0)
        self.own = {"calibrate": calibrate, "order": order}

    def settings(self):
        return self.own


class Along(Recall):
    name = "along"
    tags = EstimatorTags(oracle=True)


class Products(Recall):
    name = "products"
    tags = EstimatorTags(requires={"gradients"})


class Derived(Recall):
    name = "derived"
    tags = EstimatorTags(requires={"derivatives"})


@hookimpl
def gptfl_estimators():
    return {part.name: part for part in (Recall, Scaled, Along, Products, Derived)}


@pytest.fixture
def known():
    with using(build([sys.modules[__name__]])) as built:
        yield built


@pytest.fixture
def choose(space, known):
    recording = open_recording(workspace=space)
    metric = choose_metric(recording.dynamics)[0]
    return lambda *arguments, **options: choose_estimators(FeatureLookup(recording), metric, *arguments, **options)


@pytest.mark.parametrize(
    ("spec", "read"),
    [
        ("recall", ("recall", {}, None)),
        ("recall:scale=2", ("recall", {"scale": 2}, None)),
        (
            "tracin-cp:calibrate=true,preconditioned=False",
            ("tracin-cp", {"calibrate": True, "preconditioned": False}, None),
        ),
        ("a:list=[1,2],text=x,y,feature-set=z w", ("a", {"list": [1, 2], "text": "x,y", "feature_set": "z w"}, None)),
        ("a:path=b=c", ("a", {"path": "b=c"}, None)),
        ("a@minilm", ("a", {}, "minilm")),
        ("a@gradients:prior=false,at=b@c", ("a", {"prior": False, "at": "b@c"}, "gradients")),
    ],
)
def test_a_spec_is_a_name_and_its_settings(spec, read):
    assert parse_spec(spec) == read


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        ("", "names no estimator"),
        (":a=1", "names no estimator"),
        ("recall:", "'recall:' names no setting: write NAME:SETTING=VALUE"),
        ("recall:scale", "'scale' is not SETTING=VALUE"),
        ("recall:scale=1,scale=2", "gives scale twice"),
        ("recall:sc ale=1", "'sc ale=1' is not"),
        ("@minilm", "names no estimator"),
        ("recall@", "'recall@' names no encoder: write NAME@ENCODER"),
        ("recall@:scale=1", "names no encoder"),
    ],
)
def test_a_spec_that_is_none_is_reported_in_one_line(spec, match):
    with pytest.raises(UsageError, match=match) as caught:
        parse_spec(spec)
    assert "\n" not in str(caught.value)


def test_a_label_tells_what_is_not_at_its_default():
    defaults = {"calibrate": False, "order": 1, "width": None}
    assert label_for("a", dict(defaults), defaults) == "a"
    settings = {"calibrate": True, "order": 3, "width": None, "kind": "big"}
    assert label_for("a", settings, defaults) == "a (calibrate, order=3, kind=big)"
    assert label_for("a", {"calibrate": False}, {"calibrate": True}) == "a (calibrate=false)"


def test_the_same_estimator_takes_part_several_times(choose):
    entries, left_out = choose(["recall", "recall:scale=2.0", "recall:scale=1.0"])
    assert [entry.label for entry in entries[3:]] == ["recall", "recall (scale=2.0)"]
    assert entries[4] == ComparedEstimator("recall (scale=2.0)", "recall", {"scale": 2.0})
    assert left_out == {}


def test_a_label_tells_what_was_given_and_not_what_follows_from_it(choose, monkeypatch):
    monkeypatch.setattr(Scaled, "settings", lambda self: {**self.own, "pace": 7 if self.own["calibrate"] else None})
    entries, _ = choose(["scaled:calibrate=true,order=1.0"])
    assert entries[3].label == "scaled (calibrate)"


def test_settings_hold_for_every_row_that_does_not_say_otherwise(choose):
    entries, _ = choose(["scaled:order=2", "scaled:order=3,calibrate=false"], {"scaled": {"calibrate": True}})
    assert [entry.settings for entry in entries[3:]] == [
        {"calibrate": True, "order": 2},
        {"calibrate": False, "order": 3},
    ]


def test_calibrate_reaches_whatever_has_such_a_setting(choose):
    entries, _ = choose(["scaled", "recall", "scaled:calibrate=false"], calibrate=True)
    assert [entry.label for entry in entries[3:]] == ["scaled (calibrate)", "recall", "scaled"]
    with pytest.raises(UsageError, match=r"none of the estimators compared .*--estimator: scaled$"):
        choose(["recall"], calibrate=True)


def test_the_table_has_a_row_for_each_and_its_label(space, known):
    comparison = compare(workspace=space, estimators=["recall:scale=2.0", "recall", "along"], figure=False)
    rows = rows_of(comparison)
    assert [row.name for row in comparison.rows[3:]] == ["recall", "recall", "along"]
    assert rows["recall"].scores["mse"] != rows["recall (scale=2.0)"].scores["mse"]
    assert rows["recall (scale=2.0)"].settings == {"scale": 2.0}
    assert [row.estimator for row in comparison.rows if row.oracle] == ["along"]
    assert not rows["along"].best
    assert set(comparison.predicted) == set(rows)


def test_what_was_not_recorded_is_reported_with_the_option_that_records_it(space, known):
    recording = open_recording(workspace=space)
    metric, pool, test = recording.dynamics.metrics["loss"], 24, 8
    made = {name: known.make("estimator", name) for name in ("products", "derived", "scaled")}
    assert str(unmet_need(made["products"], recording, None, metric)) == (
        "products needs gradients, which syn.dynamics.h5 doesn't hold: "
        "record them with gptfl collect --gradients reference"
    )
    assert str(unmet_need(made["derived"], recording, None, metric)).endswith("with gptfl collect --gradients own")
    other = replace(metric, name="accuracy")
    assert str(unmet_need(made["scaled"], recording, None, other)) == (
        "scaled predicts loss only, not accuracy: give --metric loss, or use another estimator"
    )
    products, own = np.zeros((1, pool, test)), np.zeros((1, pool))
    gradients = GradientProducts(0, np.array([0]), np.ones(3), products, products, own, own)
    runs = tuple(replace(run, derivatives={"gradient": run.metrics["loss"]}) for run in recording.dynamics.runs)
    full = replace(recording, dynamics=replace(recording.dynamics, gradients=gradients, runs=runs))
    assert all(unmet_need(estimator, full, None, metric) is None for estimator in made.values())
    with pytest.raises(DataError, match="--gradients reference"):
        compare(workspace=space, estimators=["products"])


def test_gradients_reach_only_what_requires_them_and_count_in_its_key(space, known):
    recording = open_recording(workspace=space)
    metric, split = recording.dynamics.metrics["loss"], stored_split(recording.dynamics.runs)
    bare = recording, split, metric, None, 1, silent
    fits = {}
    for size in (1.0, 2.0):
        products, own = np.full((1, 24, 8), size), np.full((1, 24), size)
        gradients = GradientProducts(0, np.array([0]), np.ones(3), products, products, own, own)
        full = replace(recording, dynamics=replace(recording.dynamics, gradients=gradients))
        for name in ("recall", "products"):
            named = NamedEstimator(known.find("estimator", name), known.make("estimator", name))
            data = fit_data(full, *bare[1:], named.estimator)
            assert data.gradients is (gradients if name == "products" else None)
            fits[name, size] = simulator_key(named, full, data)
    assert fits["recall", 1.0] == fits["recall", 2.0]
    assert fits["products", 1.0] != fits["products", 2.0]
    recall = NamedEstimator(known.find("estimator", "recall"), known.make("estimator", "recall"))
    assert simulator_key(recall, recording, fit_data(*bare, recall.estimator)) == fits["recall", 1.0]
