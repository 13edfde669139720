"""Settings of recordings: read by attribute, written as they were read."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from gptfl.core import Dynamics, RecordingSettings
from gptfl.core.recording_settings import LARGEST_RATE, SETTINGS, wrong_setting
from gptfl.designs.draws import UNIFORM
from gptfl.options import base
from gptfl.options.base import places
from gptfl.options.recording import CollectOptions

GOLDEN = Path(__file__).parents[1] / "golden" / "expected.json"


def settings(**given: Any) -> RecordingSettings:
    return RecordingSettings.of(given)


def test_the_json_of_every_recording_comes_back_byte_for_byte() -> None:
    for name, text in json.loads(GOLDEN.read_text(encoding="utf-8"))["settings"].items():
        found = RecordingSettings.of(json.loads(text))
        assert json.dumps(dict(found), ensure_ascii=False) == text, name
        assert wrong_setting(found) is None


def test_attributes_are_what_the_file_says() -> None:
    found = settings(steps=4, metrics=["loss"], learning_rate=None, shard=True)
    assert (found.steps, found.metrics, found.learning_rate, found.shard) == (4, ["loss"], None, True)
    assert found["learning_rate"] is None
    assert list(found) == ["steps", "metrics", "learning_rate", "shard"]


def test_what_an_older_file_lacks_has_the_value_it_was_made_with() -> None:
    found = settings(steps=4)
    assert (found.design, found.accumulate, found.lora, found.decode) == (UNIFORM, 1, None, "greedy")
    assert (found.reserve_pool, found.instructions, found.texts) == (0, False, True)
    assert "design" not in found
    with pytest.raises(KeyError):
        found["design"]


def test_settings_of_other_versions_are_kept_in_their_place() -> None:
    given = {"later": [1, {"a": None}], "steps": 4, "order": "mine", "others": 2}
    found = RecordingSettings.of(given)
    assert list(found.items()) == list(given.items())
    assert found == given
    assert pickle.loads(pickle.dumps(found)) == found
    assert list(found.having(weights="ff", steps=5).items()) == [*({**given, "steps": 5}).items(), ("weights", "ff")]


def test_a_recording_takes_any_mapping() -> None:
    assert Dynamics((), (), {}, (), {"steps": 4}).settings.steps == 4  # type: ignore[arg-type]
    assert Dynamics((), (), {}, ()).settings == {}


def test_identity_goes_by_what_was_asked_for() -> None:
    known = settings(seed=1, steps=4)
    for same in ({"data": "here"}, {"weights": "ff"}, {"source": "there"}, {"design": "uniform"}, {"reserve_pool": 0}):
        assert known.having(**same).identity("e") == known.identity("e")
    for other in ({"steps": 5}, {"design": "contrast"}, {"accumulate": 1}, {"later": 0}):
        assert known.having(**other).identity("e") != known.identity("e")
    assert known.identity("e") != known.identity("f")


@pytest.mark.parametrize(
    ("recorded", "given", "was", "now"),
    [
        ({}, {"design": "contrast"}, "--design uniform", "--design contrast"),
        ({}, {"steps": 4}, "no --steps", "--steps 4"),
        ({"metrics": ["loss"], "lora": None}, {"lora": "r=2", "metrics": ["bleu"]}, "--metric loss", "--metric bleu"),
        ({"learning_rate": 0.1}, {"learning_rate": 0.2}, "--lr 0.1", "--lr 0.2"),
        ({"texts": True}, {"texts": False}, "--texts", "--no-texts"),
        ({}, {"derivatives": True}, "no --gradients own", "--gradients own"),
        ({"instructions": True}, {"instructions": False}, "--instructions", "--no-instructions"),
        ({}, {"shard": True}, "no --shard", "--shard"),
        ({"model": "a"}, {"model": "b"}, "--model a", "--model b"),
        ({}, {"warmup": 4}, "--warmup 0", "--warmup 4"),
        ({"warmup": 4}, {}, "--warmup 4", "--warmup 0"),
        ({"clip_norm": 1.0}, {}, "--clip-norm 1.0", "no --clip-norm"),
        ({}, {"optimiser": "sgd"}, "--optimiser adamw", "--optimiser sgd"),
        ({}, {"dropout": False}, "--dropout", "--no-dropout"),
        ({"betas": [0.9, 0.999]}, {"betas": [0.9, 0.95]}, "--beta1 0.9 --beta2 0.999", "--beta1 0.9 --beta2 0.95"),
        ({"epsilon": 1e-6}, {"epsilon": 1e-8}, "--eps 1e-06", "--eps 1e-08"),
    ],
)
def test_a_difference_is_reported_as_it_is_typed(
    recorded: dict[str, Any], given: dict[str, Any], was: str, now: str
) -> None:
    assert settings(**given).difference(settings(**recorded)) == (was, now)


def test_later_settings_are_kept_only_where_they_are_not_as_before() -> None:
    later = [known for known in SETTINGS.values() if known.later]
    assert len(later) == 14
    for known in later:
        assert not known.kept(known.before, True)
        assert known.kept("another", False)
    assert not SETTINGS["decode"].kept("greedy", False)
    assert SETTINGS["decode"].kept("greedy", True)
    assert SETTINGS["design"].kept("uniform", False)


def test_what_a_model_is_called_differs_only_where_its_weights_are_not_known() -> None:
    assert settings(model="b").difference(settings(model="a", weights="ff")) is None
    assert settings(data="b", source="x").difference(settings(data="a", source="y")) is None
    assert settings(accumulate=1, lora=None).difference(settings()) is None


def test_settings_and_options_agree() -> None:
    """A setting of an option's name is part of the identity as the option is, and is typed as it is."""
    for place in places(CollectOptions):
        known = SETTINGS.get(place.name)
        if known is not None:
            assert (place.name, known.identity) == (place.name, place.option.identity)
            assert place.flag in (known.flag, known.on)
    assert LARGEST_RATE == base.LARGEST_RATE


@pytest.mark.parametrize("key", [key for key, known in SETTINGS.items() if not known.check(object())])
def test_a_value_of_the_wrong_type_is_found(key: str) -> None:
    for wrong in ({"a": 1}, [None], float("nan")):
        assert wrong_setting({key: wrong}) == key
    assert wrong_setting({key: None}) == (None if SETTINGS[key].null else key)
