"""What a part must offer, and the tags that say what it can do."""

from typing import Any

import pytest

from gptfl.plugins.interfaces import NEEDS, Encoder, EncoderTags, EstimatorTags


@pytest.mark.parametrize("requires", ["features", ["features"], {1}, None])
def test_tags_are_sets_of_words(requires: Any) -> None:
    with pytest.raises(TypeError, match=r"requires is .*, which is not a set of words"):
        EstimatorTags(requires=requires)


def test_a_misspelt_tag_is_an_error_where_it_is_written() -> None:
    with pytest.raises(TypeError, match="generalizes"):
        EstimatorTags(generalizes={"train"})  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="blind is 1, not True or False"):
        EstimatorTags(blind=1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="per_example is None, not True or False"):
        EncoderTags(per_example=None)  # type: ignore[arg-type]


def test_what_an_estimator_uses_holds_what_it_requires() -> None:
    assert EstimatorTags().uses == frozenset()
    tags = EstimatorTags(requires={"features", "classes"}, takes={"gradients", "classes"})
    assert tags.uses == {"features", "classes", "gradients"}
    assert tags.uses <= NEEDS


def test_tags_stay_what_they_were_when_made() -> None:
    """Whoever asks later must not get another answer, since fits are kept by what their estimator can do."""
    unseen, prefers = {"train"}, ["model", "größe"]
    tags = EstimatorTags(unseen=unseen, prefers=prefers)  # type: ignore[arg-type]
    unseen.add("test")
    prefers.clear()
    assert (tags.unseen, tags.prefers) == ({"train"}, ("model", "größe"))
    assert hash(tags) == hash(EstimatorTags(unseen={"train"}, prefers=("model", "größe")))


@pytest.mark.parametrize("prefers", ["minilm", ("minilm", 3)])
def test_a_preferred_encoder_is_a_word_of_a_sequence(prefers: Any) -> None:
    with pytest.raises(TypeError, match=r"prefers is .*, which is not a sequence of words"):
        EstimatorTags(prefers=prefers)


@pytest.mark.parametrize("lacking", ["name", "tags", "identity", "encode"])
def test_a_plain_class_with_every_member_is_an_encoder(lacking: str) -> None:
    members = dict.fromkeys(("name", "tags", "identity", "encode"), lambda *given: None)
    assert isinstance(type("Whole", (), members)(), Encoder)
    del members[lacking]
    assert not isinstance(type("Lacking", (), members)(), Encoder)
