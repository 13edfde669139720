"""One encoder's work: what is there already is taken, and what it gives is checked."""

from dataclasses import replace

import numpy as np
import pytest

from gptfl.core import Example, Features, FeatureSet
from gptfl.errors import PluginError
from gptfl.features.embedding import Embedding, row_key, same_identity
from gptfl.plugins import EncoderTags
from gptfl.plugins.parts import Part
from gptfl.store import features as stored
from gptfl.store.features import write_features
from tests.synthetic import synthetic


def test_a_row_is_known_by_all_that_an_encoder_can_read():
    one = Example("a", "p", "t", ("t", "u"), 0, {"kind": "x"})
    assert row_key(one) == row_key(replace(one, id="b"))
    for change in ({"prompt": "q", "digest": ""}, {"label": 1}, {"choices": ("t", "v")}, {"fields": {}}):
        assert row_key(one) != row_key(replace(one, **change))


DYNAMICS, _ = synthetic(1, pool=4, test=2, subset=3)


class Lengths:
    """Embeds an example as the length of its prompt."""

    name = "lengths"
    tags = EncoderTags(per_example=True)

    def __init__(self, given=None):
        self.given, self.asked = given, []

    def identity(self):
        return {"version": 1}

    def encode(self, pool, test):
        self.asked.append(([e.id for e in pool], [e.id for e in test]))
        if self.given is not None:
            return self.given
        return {"text": FeatureSet(*(np.array([[len(e.prompt)] for e in side], float) for side in (pool, test)))}


def embedding(encoder, pool=DYNAMICS.pool, test=DYNAMICS.test, progress=lambda *_: None):
    return Embedding(Part("encoder", "lengths", "acme", type(encoder)), encoder, pool, test, progress)


def saved(path, made):
    sets = made.sets()
    features = Features("lengths", made.identity, DYNAMICS.examples, sets)
    keys = [[row_key(example) for example in side] for side in (made.pool, made.test)]
    write_features(path, features, *keys)
    return sets


@pytest.mark.parametrize("large", [2**25, 1], ids=["in memory", "in blocks"])
def test_rows_that_are_there_are_taken_and_the_others_asked_for(tmp_path, monkeypatch, large):
    monkeypatch.setattr(stored, "LARGE", large)
    whole = saved(tmp_path / "a.features.h5", embedding(Lengths()))
    new = replace(DYNAMICS.pool[1], prompt="other words", digest="")
    encoder = Lengths()
    made = embedding(encoder, (DYNAMICS.pool[0], new, *DYNAMICS.pool[2:]))
    made.look_up([tmp_path / "absent.h5", tmp_path / "a.features.h5"])
    found = made.sets()["text"]
    assert made.embedded == 1
    # No encoder gets an empty side: one test example is embedded again, and left unused.
    assert encoder.asked == [([new.id], [DYNAMICS.test[0].id])]
    np.testing.assert_array_equal(found.train[[0, 2, 3]], whole["text"].train[[0, 2, 3]])
    assert np.asarray(found.train)[1, 0] == len("other words")
    np.testing.assert_array_equal(found.test, whole["text"].test)
    assert found.train.dtype == np.float32


def test_where_all_is_there_nothing_is_asked_or_reported(tmp_path):
    saved(tmp_path / "a.features.h5", embedding(Lengths()))
    encoder, told = Lengths(), []
    made = embedding(encoder, progress=lambda *one: told.append(one))
    made.look_up([tmp_path / "a.features.h5"])
    made.sets()
    assert (made.embedded, encoder.asked, told) == (0, [], [])


def test_an_encoder_that_looks_at_all_examples_takes_all_or_nothing(tmp_path):
    class Joint(Lengths):
        tags = EncoderTags(per_example=False)

    saved(tmp_path / "a.features.h5", embedding(Joint()))
    encoder = Joint()
    fewer = embedding(encoder, DYNAMICS.pool[:3])
    fewer.look_up([tmp_path / "a.features.h5"])
    fewer.sets()
    assert fewer.embedded == 5
    same = embedding(Joint())
    same.look_up([tmp_path / "a.features.h5"])
    same.sets()
    assert same.embedded == 0


def test_a_file_of_another_identity_or_a_damaged_one_is_passed_over(tmp_path):
    class Later(Lengths):
        def identity(self):
            return {"version": 2}

    saved(tmp_path / "a.features.h5", embedding(Lengths()))
    (tmp_path / "b.features.h5").write_bytes(b"mine")
    made = embedding(Later())
    made.look_up([tmp_path / "a.features.h5", tmp_path / "b.features.h5"])
    (note,) = made.notes
    assert note.startswith("nothing is reused of b.features.h5: ")
    made.sets()
    assert made.embedded == 6


ONE, TWO = np.ones((4, 1)), np.ones((2, 1))


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ([ONE, TWO], "gave no mapping of names to sets of vectors"),
        ({"text": ONE}, "gave no mapping of names to sets of vectors"),
        ({}, "gave no vectors"),
        ({"text": FeatureSet(ONE[:3], TWO)}, r"gave \(3, 1\) for 4 pool examples, in set 'text'"),
        ({"text": FeatureSet(ONE, TWO[:, 0])}, r"gave \(2,\) for 2 test examples, in set 'text'"),
        ({"text": FeatureSet(ONE, TWO * np.nan)}, "gave a vector that is not finite for test example 'test-0'"),
        ({"text": FeatureSet(ONE, np.ones((2, 3)))}, "gave pool and test vectors of different lengths"),
    ],
)
def test_what_is_no_vector_for_each_example_is_the_encoders_fault(given, what):
    with pytest.raises(PluginError, match=f"encoder 'lengths' of acme {what}"):
        embedding(Lengths(given)).sets()


def test_an_identity_that_no_file_holds_is_refused():
    class Odd(Lengths):
        def identity(self):
            return {"made": object()}

    with pytest.raises(PluginError, match="encoder 'lengths' of acme has an identity that is no JSON"):
        embedding(Odd())


def test_the_name_of_a_model_is_no_matter_where_both_tell_its_weights():
    one = {"model": "a", "weights": "0f", "layer": 1}
    assert same_identity(one, {**one, "model": "b"})
    assert not same_identity(one, {**one, "weights": "1f"})
    assert not same_identity({"model": "a"}, {"model": "b"})
    assert not same_identity(one, {"model": "a", "layer": 1})
