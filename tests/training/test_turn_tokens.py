"""Conversations as tokens: which are asked for, and what is cut."""

import pytest

from gptfl.errors import DataError
from gptfl.training.chat import ChatTemplate
from gptfl.training.splitting import Splitter
from gptfl.training.tokenization import Tokenizer, training_rows
from gptfl.training.turn_tokens import TurnTokens
from tests.training.test_chat import chatty, conversation, learned


def test_all_of_a_text_is_learned_but_its_first_token() -> None:
    made = chatty()
    text = made.apply_chat_template([turn.message for turn in conversation(0).turns], tokenize=False)
    assert "<|im_start|>" + learned(made, conversation(0, 1, 2, 3, 4)) == text


def test_what_is_too_long_loses_its_beginning_and_says_so() -> None:
    made = chatty()
    whole = training_rows(Tokenizer(made, 999), [conversation(2, 4)])[0]
    length = len(whole.input_ids) + 1
    tokenizer = Tokenizer(made, length - 1)
    tokenizer.read([conversation(2, 4)], "pool")
    assert tokenizer.notes == (
        f"1 prompt does not fit into {length - 1} tokens and loses its beginning (1 token in all)",
    )
    (row,) = training_rows(tokenizer, [conversation(2, 4)])
    assert row.input_ids == whole.input_ids[1:]
    short = Tokenizer(made, 4)
    short.read([conversation(2, 4)], "pool")
    assert "1 of these is a conversation that loses earlier answers" in short.notes[1]
    assert learned(made, conversation(2, 4), limit=4) == "no<|im_end|>"
    with pytest.raises(
        DataError, match="the last answer of pool example 'x' has 2 tokens and --max-length is 2: raise --max"
    ):
        training_rows(Tokenizer(made, 2), [conversation(2, 4)])
    files = {"pool": "a.jsonl", "test": "b.jsonl"}
    for flag, file in files.items():
        with pytest.raises(DataError, match=f"the last answer of {flag} example 'x' of {file} has 2 tokens and"):
            training_rows(Tokenizer(made, 2, files=files), [conversation(2, 4)], flag)


def test_a_conversation_that_is_learned_as_a_whole_loses_its_end() -> None:
    made, example = chatty(), conversation(0, 1, 2, 3, 4)
    (whole,) = training_rows(Tokenizer(made, 999), [example])
    tokenizer = Tokenizer(made, 20)
    tokenizer.read([example], "pool")
    (row,) = training_rows(tokenizer, [example])
    assert row.input_ids == whole.input_ids[:19]
    assert row.tokens.tolist() == whole.tokens[:19].tolist()
    lost = len(whole.input_ids) + 1 - 20
    assert tokenizer.notes == (f"1 text does not fit into 20 tokens and loses its end ({lost} tokens in all)",)
    with pytest.raises(DataError, match="--max-length is 1"):
        training_rows(Tokenizer(made, 1), [example])


def test_text_is_generated_after_the_opening_of_an_answer() -> None:
    made = chatty()
    ids = Tokenizer(made, 999).prompt(conversation(2, 4), "test")
    assert made.decode(ids).endswith("yes it is<|im_end|>\n<|im_start|>assistant\n")
    assert len(Tokenizer(made, 6).prompt(conversation(2, 4), "test")) == 4


def test_a_boundary_inside_a_token_is_reported() -> None:
    tokenizer = Tokenizer(chatty("{% for m in messages %}{{ m['content'] }}{% endfor %}", special=False), 999)
    tokenizer.read([conversation(1, turns=(("user", "it i"), ("assistant", "s red")))], "pool")
    assert any("the prompt ends inside a token in 1 of 1 examples (pool 'x')" in note for note in tokenizer.notes)


def test_a_target_that_does_not_fit_is_refused_by_what_it_takes() -> None:
    made, said = chatty(), list[tuple[str, int, int]]()

    def refuse(what: str, tokens: int, before: int) -> DataError:
        said.append((what, tokens, before))
        return DataError("too long", "cut it")

    def tokens(length: int) -> TurnTokens:
        return TurnTokens(Splitter(made), ChatTemplate(made, None, True, "m"), length, refuse)

    whole = tokens(999).marked(conversation(2, 4), "pool")
    asked = [token for token, is_target in zip(whole.ids, whole.targets, strict=True) if is_target]
    assert made.decode(asked) == "yes it is<|im_end|>no<|im_end|>"
    assert whole.lost == 0
    one_less = tokens(len(whole.ids) - 1).marked(conversation(2, 4), "pool")
    assert one_less.ids == whole.ids[1:]
    assert (one_less.lost, one_less.last) == (1, whole.last - 1)
    with pytest.raises(DataError, match="too long"):
        tokens(2).marked(conversation(2, 4), "pool")
    assert said == [("pool example 'x'", len(whole.ids) - whole.last, 0)]
