"""Holds an encoder against its interface."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gptfl.core import Dynamics, Example, FeatureSet
from gptfl.plugins.interfaces import Encoder, EncoderTags
from gptfl.plugins.optional import UsesRecording
from gptfl.testing import promises
from gptfl.testing.promises import require
from gptfl.testing.synthetic import make_examples


def check_encoder(
    factory: Callable[..., Encoder],
    *,
    pool: Sequence[Example] = (),
    test: Sequence[Example] = (),
    recording: Dynamics | None = None,
    **settings: Any,
) -> None:
    """Check that ``factory(**settings)`` makes an encoder that keeps every promise of its interface.

    Args:
        factory: makes the encoder.
        pool: the training examples to encode; a few generated ones of two classes by default.
        test: the test examples to encode, likewise.
        recording: what an encoder gets that uses a recording; its examples are then encoded.
        settings: those of the factory.

    Raises ``AssertionError`` that names the broken promise.
    """
    pool, test = tuple(pool) or make_examples(8, "pool"), tuple(test) or make_examples(4, "test")
    if recording is not None:
        pool, test = recording.pool, recording.test

    def make() -> Encoder:
        encoder = factory(**settings)
        if recording is not None and isinstance(encoder, UsesRecording):
            encoder.use_recording(recording)
        return encoder

    made = make()
    promises.require_members(made, Encoder, ("name", "tags", "identity", "encode"))
    name = f"encoder {promises.require_name(made)!r}"
    require(isinstance(made.tags, EncoderTags), f"{name}: its tags are {made.tags!r}, not EncoderTags")
    identity = promises.through_json(made.identity(), f"identity() of {name}")
    other = make()
    require(dict(other.identity()) == identity, f"{name}: two of the same settings have different identity()")
    sets = made.encode(pool, test)
    _check_sets(sets, len(pool), len(test), name)
    require(dict(made.identity()) == identity, f"{name}: encode() changes identity()")
    again = other.encode(pool, test)
    require(sorted(again) == sorted(sets), f"{name} names other sets when it encodes the same examples again")
    for key, one in sets.items():
        for side, first, second in (("train", one.train, again[key].train), ("test", one.test, again[key].test)):
            promises.require_equal(first, second, f"{name}: set {key!r} ({side}) differs when encoded again")
    if made.tags.per_example:
        _check_rows(made, pool, test, sets, name)


def _check_sets(sets: Mapping[str, FeatureSet], pool: int, test: int, name: str) -> None:
    require(isinstance(sets, Mapping) and bool(sets), f"{name}: encode() returns no mapping of named sets")
    for key, one in sets.items():
        what = f"{name}: set {key!r}"
        require(isinstance(key, str) and bool(key) and "/" not in key, f"{what} has a name that is not plain text")
        require(isinstance(one, FeatureSet), f"{what} is {type(one).__name__}, not a FeatureSet")
        promises.require_finite(one.train, f"{what} (train)")
        promises.require_finite(one.test, f"{what} (test)")
        require(
            one.train.ndim == 2 and len(one.train) == pool,
            f"{what} (train) has shape {one.train.shape} for {pool} examples",
        )
        require(
            one.test.ndim == 2 and len(one.test) == test,
            f"{what} (test) has shape {one.test.shape} for {test} examples",
        )
        require(
            one.train.shape[1] == one.test.shape[1] > 0,
            f"{what} has {one.train.shape[1]} columns for the pool and {one.test.shape[1]} for the test examples",
        )


def _check_rows(
    made: Encoder, pool: Sequence[Example], test: Sequence[Example], sets: Mapping[str, FeatureSet], name: str
) -> None:
    """``per_example`` promises that a vector does not depend on the examples around it."""
    some = made.encode(pool[1:][::-1], test[:1])
    for key, one in sets.items():
        broken = f"{name} says per_example, but set {key!r} depends on which other examples are encoded"
        require(key in some, broken)
        promises.require_close(one.train[1:][::-1], some[key].train, broken)
        promises.require_close(one.test[:1], some[key].test, broken)
