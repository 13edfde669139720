import os
from dataclasses import replace

import numpy as np
import pytest

import gptfl
from gptfl.api.compare import compare
from gptfl.api.simulate import simulate
from gptfl.core import GradientSketches, SketchPoint
from gptfl.errors import DataError, ResourceError
from gptfl.estimators.exposure_gp.estimator import ExposureGp
from gptfl.estimators.gptfluence.estimator import GPTfluence
from gptfl.features import whole
from gptfl.features.lookup import FeatureLookup, find_features
from gptfl.recording.recording import open_recording
from gptfl.report.comparison import to_dict
from gptfl.simulation.fit import fit
from gptfl.store import features as stored
from gptfl.store.features import write_features
from gptfl.store.recordings import write_dynamics
from gptfl.store.simulators import read_simulator
from tests.plugin_estimators import Featured, Recall
from tests.synthetic import synthetic

ENCODERS = ("minilm", "gradients", "synthetic")


@pytest.fixture
def several(space):
    """The workspace with features of three encoders, those of ``synthetic`` made last."""
    _, features = synthetic(24)
    for number, encoder in enumerate(ENCODERS):
        path = space / f"syn.{encoder}.features.h5"
        (one,) = features.sets.values()
        moved = replace(one, train=one.train + number, test=one.test + number)
        write_features(path, replace(features, encoder=encoder, sets={"only": moved}))
        os.utime(path, ns=(number * 10**9, number * 10**9))
    return space


def test_what_the_estimators_say_that_they_prefer():
    assert ExposureGp().tags.prefers == ("gradients", "answer-state", "minilm")
    assert GPTfluence().tags.prefers[0] == "minilm"
    assert Recall().tags.prefers == ()


@pytest.mark.parametrize(
    ("preferred", "given", "taken"),
    [
        ((), {}, "synthetic"),
        (("answer-state", "gradients", "minilm"), {}, "gradients"),
        (("answer-state",), {}, "synthetic"),
        (("gradients",), {"encoder": "minilm"}, "minilm"),
        (("gradients",), {"path": "syn.minilm.features.h5"}, "minilm"),
    ],
)
def test_what_is_named_goes_before_what_is_preferred(several, monkeypatch, preferred, given, taken):
    monkeypatch.setattr(Featured, "tags", replace(Featured.tags, prefers=preferred))
    given = {key: several / value if key == "path" else value for key, value in given.items()}
    lookup = FeatureLookup(open_recording(workspace=several), **given)
    choice = lookup.provide(Featured())
    assert choice.encoder == taken
    assert lookup.provide(Featured(), "minilm").encoder == "minilm"
    assert lookup.provide(Recall()).encoder == given.get("encoder", "minilm" if given else None)
    assert all("\n" not in note for note in choice.notes)


def test_a_choice_among_several_is_reported(several, monkeypatch):
    lookup = FeatureLookup(open_recording(workspace=several))
    (note,) = lookup.provide(Featured()).notes
    assert "syn.synthetic.features.h5, the features file made last" in note
    monkeypatch.setattr(Featured, "tags", replace(Featured.tags, prefers=("gradients",)))
    (note,) = lookup.provide(Featured()).notes
    assert note.startswith("took syn.gradients.features.h5, for featured prefers these features; choose others with")
    assert "syn.minilm.features.h5" in note
    for encoder in ("minilm", "synthetic"):
        (several / f"syn.{encoder}.features.h5").unlink()
    assert lookup.provide(Featured()).notes == ()


def test_each_row_of_a_comparison_works_from_its_own(several):
    estimators = ["exposure-gp", "exposure-gp@minilm", "featured", "recall"]
    comparison = compare(workspace=several, estimators=estimators, figure=False)
    rows = {row["estimator"]: row for row in to_dict(comparison)["estimators"]}
    assert {label: row["encoder"] for label, row in rows.items()} == {
        "persistence": None,
        "mean-run": None,
        "class-share": None,
        "exposure-gp": "gradients",
        "exposure-gp@minilm": "minilm",
        "featured": "synthetic",
        "recall": None,
    }
    assert (
        "features: exposure-gp from gradients; exposure-gp@minilm from minilm; featured from synthetic (made last); "
        "--encoder takes one for all, --estimator NAME@ENCODER for one"
    ) in comparison.notes
    alone = compare(workspace=several, estimators=["exposure-gp"], encoder="minilm", figure=False)
    assert not any(note.startswith("features:") for note in alone.notes)
    (row,) = (row for row in alone.rows if row.name == "exposure-gp")
    assert row.scores["mse"].value == rows["exposure-gp@minilm"]["scores"]["mse"]["value"]


def test_an_encoder_that_is_not_there_is_reported_in_one_line(several):
    with pytest.raises(DataError, match=r"no features of syn by the encoder 'tfidf-svd': run gptfl featurize"):
        compare(workspace=several, estimators=["exposure-gp@tfidf-svd"], figure=False)


def test_a_simulator_is_asked_with_the_features_that_it_was_fitted_to(several):
    result = fit("exposure-gp", workspace=several, unseen="test")
    assert result.encoder == "gradients"
    assert read_simulator(result.path).info["encoder"] == "gradients"
    # These are made last now; the simulator still wants those that it was fitted to.
    os.utime(several / "syn.minilm.features.h5")
    found = simulate(workspace=several, figure=several / "a.png")
    assert np.isfinite(found.values).all()


def test_what_is_fitted_follows_from_the_features_unless_it_is_named(several):
    where = {"dynamics": several / "syn.dynamics.h5", "workspace": several}
    chosen = fit(**where)
    assert (chosen.estimator, chosen.encoder) == ("exposure-gp", "gradients")
    assert any("--estimator gptfluence is the paper's" in note for note in chosen.notes)
    quick = {"epochs": 2, "patience": 1}
    assert fit(**where, encoder="minilm", settings=quick).estimator == "gptfluence"
    assert fit("gptfluence", **where, settings=quick).estimator == "gptfluence"
    (several / "syn.gradients.features.h5").unlink()
    assert fit(**where, settings=quick).estimator == "gptfluence"


def blocked(space, monkeypatch, free):
    """A lookup of features that are read in blocks, on a machine with so much free memory."""
    monkeypatch.setattr(stored, "LARGE", 1)
    monkeypatch.setattr(whole, "free_memory", lambda: free)
    return FeatureLookup(open_recording(workspace=space))


def test_who_reads_in_blocks_gets_blocks_and_others_share_one_copy_in_memory(space, monkeypatch):
    lookup = blocked(space, monkeypatch, 10**12)
    assert lookup.provide(ExposureGp()).features.in_blocks
    assert lookup.provide(GPTfluence()).features.in_blocks
    first, second = lookup.provide(Featured()), lookup.provide(Featured())
    assert not first.features.in_blocks
    assert second.features is first.features
    assert any("needs all vectors of the pool at once, up to" in note for note in first.notes)


def test_who_needs_more_than_there_is_room_for_is_refused_or_left_out(space, monkeypatch):
    lookup = blocked(space, monkeypatch, 100)
    with pytest.raises(ResourceError, match=r"featured needs all vectors of the pool at once.*: take exposure-gp"):
        lookup.provide(Featured())
    with pytest.raises(ResourceError, match="--embed-features needs all vectors of the pool at once"):
        fit("exposure-gp", workspace=space, embed_features=True)
    document = to_dict(compare(workspace=space))
    assert {"exposure-gp", "gptfluence"} <= {row["estimator"] for row in document["estimators"]}
    assert "gptfluence needs all vectors" not in str(document)


def test_who_can_do_without_features_does_and_says_so(space, monkeypatch):
    blocked(space, monkeypatch, 100)
    lookup = FeatureLookup(open_recording(workspace=space), encoder="synthetic")
    choice = lookup.provide(Recall())
    assert choice.features is None
    assert choice.notes[-1].startswith("recall goes without features: recall needs all vectors of the pool at once")


def test_gradients_of_another_recording_are_told(tmp_path):
    dynamics, _ = synthetic(6)
    rows = np.random.default_rng(0).normal(size=(len(dynamics.pool) + len(dynamics.test), 8)).astype(np.float32)
    point = SketchPoint(4, rows[: len(dynamics.pool)], rows[len(dynamics.pool) :], None)
    sketched = replace(dynamics, sketches=GradientSketches(7, np.array([4]), np.full(8, 0.1), 8, None, (point,), None))
    other = replace(sketched, sketches=replace(sketched.sketches, learning_rates=np.full(8, 0.2)))
    for name, one in (("own", sketched), ("other", other), ("bare", dynamics)):
        write_dynamics(tmp_path / f"{name}.dynamics.h5", one)
    gptfl.featurize("gradients", dynamics=tmp_path / "own.dynamics.h5", workspace=tmp_path)
    path = tmp_path / "own.gradients.features.h5"
    said = {}
    for name in ("own", "other", "bare"):
        recording = open_recording(tmp_path / f"{name}.dynamics.h5", tmp_path)
        _, said[name] = find_features(recording, path)
    assert said["own"] == ()
    for name, has in (("other", "others"), ("bare", "no gradient sketches")):
        (note,) = said[name]
        assert f"along another recording's reference run ({name}.dynamics.h5 has {has})" in note
