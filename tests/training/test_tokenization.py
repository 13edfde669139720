"""Prompts and targets as token rows: what is asked for, what is cut, what is told."""

from typing import Any

import numpy as np
import pytest

from gptfl.core import Example
from gptfl.errors import DataError
from gptfl.training.tokenization import Tokenizer, evaluation_rows, training_rows
from tests.tokenizers import byte_level, pieces, words

BYTES, PIECES, CLOSING = byte_level(), pieces(), byte_level(bos=True, eos=True)


def example(prompt: str, target: str, *choices: str, id: str = "x") -> Example:
    return Example(id, prompt, target, choices, choices.index(target) if choices else None)


def row(made: Any, prompt: str, target: str, limit: int = 99) -> tuple[list[str], list[str]]:
    """What is fed and what is asked for, in words."""
    (one,) = training_rows(Tokenizer(made, limit), [example(prompt, target)])
    assert one.positions.tolist() == list(range(len(one.input_ids) - len(one.tokens), len(one.input_ids)))
    return made.convert_ids_to_tokens(list(one.input_ids)), made.convert_ids_to_tokens(one.tokens.tolist())


@pytest.mark.parametrize(
    ("made", "prompt", "target", "fed", "targets"),
    [
        (PIECES, "Answer:", " no", ["<s>", "▁Answer:"], ["▁no"]),
        (PIECES, "Answer: ", "no", ["<s>", "▁Answer:"], ["▁no"]),
        (PIECES, "", "no", ["<s>"], ["▁no"]),
        (BYTES, "Answer:", " no", ["Answer", ":"], ["Ġno"]),
        (BYTES, "Answer: ", "no", ["Answer", ":"], ["Ġno"]),
        (BYTES, "", "no", ["<s>"], ["no"]),
        (byte_level(bos_token=""), "", "no", ["</s>"], ["no"]),
        (BYTES, "it is</s>", " no", ["it", "Ġis", "</s>"], ["Ġno"]),
        (CLOSING, "it is</s>", " no", ["<s>", "it", "Ġis", "</s>"], ["Ġno"]),
        (CLOSING, "it is</s></s>", " no", ["<s>", "it", "Ġis", "</s>", "</s>"], ["Ġno"]),
        (CLOSING, "it is", " no", ["<s>", "it", "Ġis"], ["Ġno"]),
        (CLOSING, "it is", " no</s>", ["<s>", "it", "Ġis", "Ġno"], ["Ġno", "</s>"]),
        (words(), "it is", " no", ["<s>", "it", "is"], ["no"]),
        (words(), "xq", "z no", ["<s>", "<unk>"], ["<unk>", "no"]),
    ],
)
def test_rows(made: Any, prompt: str, target: str, fed: list[str], targets: list[str]) -> None:
    assert row(made, prompt, target) == (fed, targets)


def test_without_a_start_token_the_first_token_of_a_plain_text_is_only_fed() -> None:
    none = byte_level(bos_token="", eos_token="")
    assert row(none, "", "it is red") == (["it", "Ġis"], ["Ġis", "Ġred"])
    tokenizer = Tokenizer(none, 99)
    tokenizer.read([example("", "it is red")], "pool")
    (note,) = tokenizer.notes
    assert note.startswith("the first token of 1 of 1 examples counts for nothing: they have no prompt")
    with pytest.raises(DataError, match="pool example 'x' has no prompt, and the tokenizer no start token"):
        training_rows(tokenizer, [example("", "it")])
    with pytest.raises(DataError, match="no start token to stand before its"):
        evaluation_rows(tokenizer, [example("", "it is", "it is", "no is")], True)
    with pytest.raises(DataError, match="has no prompt to generate text after"):
        tokenizer.prompt(example("", "it is"), "test")


@pytest.mark.parametrize("target", ["", "\u200b"])
def test_a_target_without_tokens_is_refused(target: str) -> None:
    with pytest.raises(DataError, match="test example 'x' has a target without tokens"):
        Tokenizer(words(), 99).encoded(example("it is", target), "test")


def test_choices_are_compared_from_where_they_part() -> None:
    """`` no`` takes the prompt's space in, ``7`` doesn't: the space counts for one as for the other."""
    question = example("Answer: ", "7", "no", "7", "yes")
    layout = evaluation_rows(Tokenizer(BYTES, 99), [question], True)
    spoken: dict[int, list[str]] = {}
    for one in layout.rows:
        for place, token, segment in zip(one.positions, one.tokens, one.segments, strict=True):
            before = BYTES.convert_ids_to_tokens(list(one.input_ids[: place + 1]))
            assert before[:2] == ["Answer", ":"]
            spoken.setdefault(int(segment), []).append(BYTES.convert_ids_to_tokens(int(token)))
    assert layout.choice_segments is not None
    assert [spoken[segment] for segment in layout.choice_segments[0]] == [["Ġno"], ["Ġ", "7"], ["Ġyes"]]
    assert spoken[0] == ["7"]
    assert layout.target_tokens.tolist() == [1]
    (alone,) = evaluation_rows(Tokenizer(BYTES, 99), [question], False).rows
    assert (alone.tokens.tolist(), len(alone.input_ids)) == (BYTES.convert_tokens_to_ids(["7"]), 3)


def test_choices_that_change_earlier_tokens_are_compared_from_there() -> None:
    question = example("is it bl", "ue", "ue", "ah")
    found = Tokenizer(BYTES, 99).encoded(question, "test", True)
    texts = {choice: BYTES.decode(found.prompt + ids) for choice, ids in found.answers.items()}
    assert texts == {"ue": "is it blue", "ah": "is it blah"}
    assert found.inside
    assert len({ids[0] for ids in found.answers.values()}) == 2


def test_a_prompt_that_is_cut_keeps_what_every_text_starts_with() -> None:
    prompt = "is it red? " * 5 + "Answer:"
    assert row(PIECES, prompt, " no", 4) == (["<s>", "▁red?", "▁Answer:"], ["▁no"])
    assert row(PIECES, prompt, " no", 2) == (["<s>"], ["▁no"])
    assert row(BYTES, prompt, " no", 3) == (["Answer", ":"], ["Ġno"])
    typed = row(BYTES, f"<s>{prompt}", " no", 4)
    assert typed == (["<s>", "Answer", ":"], ["Ġno"])
    doubled = row(PIECES, f"<s>{prompt}", " no", 4)
    assert doubled == (["<s>", "<s>", "▁Answer:"], ["▁no"])


def test_a_cut_is_reported_with_what_limits() -> None:
    long = example("is it red? " * 5 + "Answer:", " no")
    tokenizer = Tokenizer(PIECES, 4096, 8)
    tokenizer.read([long], "pool")
    assert tokenizer.counts.lost == len(PIECES.encode(long.prompt)) - 7
    assert tokenizer.notes[0].startswith("1 prompt does not fit into 8 tokens, all that the model reads, and loses")
    tokenizer = Tokenizer(PIECES, 8, 4096)
    tokenizer.read([long], "pool")
    assert tokenizer.notes[0].startswith("1 prompt does not fit into 8 tokens and loses its beginning")


@pytest.mark.parametrize(
    ("limit", "model", "message"),
    [
        (3, None, "has 4 tokens and --max-length is 3: raise --max-length, or leave the example out"),
        (3, 128, "has 4 tokens and --max-length is 3: raise --max-length, or leave the example out"),
        (4096, 3, "has 4 tokens and the model reads at most 3: leave the example out, or use a model"),
        (3, 3, "has 4 tokens and the model reads at most 3: leave the example out, or use a model"),
    ],
)
def test_a_target_that_does_not_fit_names_what_limits(limit: int, model: int | None, message: str) -> None:
    with pytest.raises(DataError) as caught:
        training_rows(Tokenizer(BYTES, limit, model), [example("Answer:", " no no no no")])
    assert message in str(caught.value)


def test_text_is_generated_after_the_prompt_by_itself() -> None:
    """As any generator reads it, which doesn't know what follows."""
    tokenizer = Tokenizer(BYTES, 4)
    assert BYTES.convert_ids_to_tokens(tokenizer.prompt(example("Answer: ", "no"), "test")) == ["Answer", ":", "Ġ"]
    assert BYTES.convert_ids_to_tokens(tokenizer.prompt(example("", "no"), "test")) == ["<s>"]
    long = example("is it red? Answer:", " no it")
    assert tokenizer.prompt(long, "test") == tokenizer.encoded(long, "test").prompt
    kept = Tokenizer(PIECES, 4).prompt(example("is it red? Answer:", " no"), "test")
    assert PIECES.convert_ids_to_tokens(kept) == ["<s>", "▁red?", "▁Answer:"]


@pytest.mark.parametrize(
    ("made", "prompt", "target", "differs"),
    [
        (BYTES, "Answer:", " no", False),
        (BYTES, "Answer: ", "no", True),
        (BYTES, "Answer:</s>", " no", True),
        (BYTES, "</s>", " no", False),
        (BYTES, "", " no", False),
        (CLOSING, "Answer:", " no", False),
        (CLOSING, "Answer:</s>", " no", False),
        (CLOSING, "is it red? " * 9, " no", True),
        (BYTES, "is it red? " * 9 + "Answer:", " no", False),
        (PIECES, "Answer:", "\nno", True),
        (words(), "it is", "no", True),
    ],
)
def test_which_examples_older_recordings_have_other_tokens_of(
    made: Any, prompt: str, target: str, differs: bool
) -> None:
    found = Tokenizer(made, 20).differing([example("Answer:", " no", id="same"), example(prompt, target)])
    assert ("x" in found) == differs


def test_an_older_row_is_what_it_was() -> None:
    """The rule before there was the setting ``tokenization``, written out."""
    for made in (BYTES, CLOSING, PIECES):
        tokenizer = Tokenizer(made, 6)
        for prompt in ("Answer:", "is it red? Answer: ", "Answer:</s>", "</s>", "is it red? " * 3):
            ids = list(made.encode(prompt))
            if len(ids) > 1 and ids[-1] == made.eos_token_id:
                ids = ids[:-1]
            target = made.encode(" no it", add_special_tokens=False)
            expected = ((*ids[-(6 - len(target)) :], *target), len(target))
            tokenizer.splitter.read([prompt])
            assert tokenizer.rows_apart(example(prompt, " no it"), (" no it",)) == [expected]


def test_rows_of_one_input_are_shared() -> None:
    layout = evaluation_rows(Tokenizer(BYTES, 99), [example("Answer:", " no", " no", " yes")], True)
    assert len(layout.rows) == 1
    assert layout.choice_segments is not None
    np.testing.assert_array_equal(layout.choice_segments[0], [0, 1])


def test_a_plain_text_that_is_too_long_loses_its_end() -> None:
    text = example("", "it is red no it is")
    assert row(BYTES, "", text.target, limit=4) == (["<s>", "it", "Ġis"], ["it", "Ġis", "Ġred"])
    tokenizer = Tokenizer(BYTES, 4, end_token=True)
    tokenizer.read([text, example("", "it", id="y")], "pool")
    assert tokenizer.notes == ("1 text does not fit into 4 tokens and loses its end (4 tokens in all)",)
    assert training_rows(tokenizer, [text])[0].tokens[-1] != BYTES.eos_token_id
    with pytest.raises(DataError, match="the target of pool example 'x' has 6 tokens"):
        row(BYTES, "it", " is red no it is red", limit=4)
