"""The checks pass a sound encoder and name the promise that a broken one breaks."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from gptfl import testing
from gptfl.core import Example, FeatureSet
from gptfl.plugins import EncoderTags
from tests.testing.parts import changed


class Letters:
    """Counts letters."""

    name = "letters"
    tags = EncoderTags(per_example=True)

    def identity(self) -> Mapping[str, Any]:
        return {"alphabet": "abc"}

    def encode(self, pool: Sequence[Example], test: Sequence[Example]) -> Mapping[str, FeatureSet]:
        def counts(examples: Sequence[Example]) -> np.ndarray:
            return np.array([[float(example.text.count(letter)) for letter in "abc"] for example in examples])

        return {"letters": FeatureSet(counts(pool), counts(test))}


def encoding(change: Callable[[FeatureSet], FeatureSet]) -> type:
    """Letters whose set is changed."""
    return changed(Letters, encode=lambda self, a, b: {"letters": change(Letters().encode(a, b)["letters"])})


ENCODERS = {
    "identity": (changed(Letters, identity=lambda self: {"at": id(self)}), "different identity"),
    "tags": (changed(Letters, tags={"per_example": True}), "tags are .*, not EncoderTags"),
    "no sets": (changed(Letters, encode=lambda self, a, b: {}), "no mapping of named sets"),
    "short": (encoding(lambda s: dataclasses.replace(s, train=s.train[1:])), r"\(train\) has shape \(7, 3\)"),
    "columns": (encoding(lambda s: dataclasses.replace(s, test=s.test[:, 1:])), "3 columns for the pool and 2"),
    "integers": (encoding(lambda s: dataclasses.replace(s, test=s.test.astype(int))), "not a floating-point"),
    "infinite": (encoding(lambda s: dataclasses.replace(s, test=s.test + np.inf)), "not finite"),
    "random": (encoding(lambda s: dataclasses.replace(s, test=s.test + np.random.rand())), "differs when encoded"),
    "centred": (encoding(lambda s: dataclasses.replace(s, train=s.train - s.train.mean(axis=0))), "which other examples"),
}  # fmt: skip


def test_a_sound_encoder_passes() -> None:
    testing.check_encoder(Letters)
    testing.check_encoder(changed(ENCODERS["centred"][0], tags=EncoderTags(per_example=False)))


@pytest.mark.parametrize(("factory", "broken"), ENCODERS.values(), ids=ENCODERS)
def test_a_broken_encoder_is_reported_what_it_breaks(factory: type, broken: str) -> None:
    with pytest.raises(AssertionError, match=broken):
        testing.check_encoder(factory)
