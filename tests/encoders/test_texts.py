"""What an encoder reads of an example."""

import pytest

from gptfl.core import Example
from gptfl.core.turns import Turn
from gptfl.encoders import CausalLm, MiniLm, TfidfSvd
from gptfl.encoders.texts import PARTS, text_of
from gptfl.errors import UsageError


def test_a_part_is_the_prompt_the_target_or_one_behind_the_other() -> None:
    example = Example("a", "Wer lacht? ", "Zoë")
    assert [text_of(example, part) for part in PARTS] == ["Wer lacht? Zoë", "Wer lacht? ", "Zoë"]
    assert [text_of(Example("b", "", " yes"), part) for part in PARTS] == [" yes", "", " yes"]


def test_of_a_conversation_it_is_what_was_said_by_whom() -> None:
    chat = Example.of_turns("a", [Turn("user", "Why?"), Turn("assistant", "So.", target=True)], {})
    assert text_of(chat, "prompt") == "user: Why?\nassistant:"
    assert text_of(chat, "target") == " So."
    assert text_of(chat, "both") == "user: Why?\nassistant: So."


@pytest.mark.parametrize("make", [TfidfSvd, MiniLm, lambda **given: CausalLm(model="m", **given)])
def test_every_encoder_of_texts_takes_these_parts_and_no_other(make) -> None:
    assert [make(text=part).text for part in PARTS] == list(PARTS)
    with pytest.raises(UsageError, match="text is 'whole': give both, prompt or target"):
        make(text="whole")
