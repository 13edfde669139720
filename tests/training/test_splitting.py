"""Where a prompt ends in the tokens of prompt and target together, by many kinds of tokenizers."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from gptfl.errors import DataError
from gptfl.training.splitting import Splitter, added_tokens, start_token
from tests.tokenizers import byte_level, pieces, without_offsets, words

PAIRS = (
    ("Answer:", " no"),
    ("Answer: ", "no"),
    ("Answer: ", " no"),
    ("Answer:  ", "  no"),
    ("Answer:\n", "no"),
    ("Answer:", "\nno"),
    ("Answer: ", "\n no"),
    ("   ", "no"),
    ("", "no"),
    ("", " no"),
    ("Ans", "wer: no"),
    ("a caf", "é no"),
    ("a cafe", "\u0301 no"),
    ("答案", "是对的"),
    ("答案是", "xq"),
    ("is it<|user|>", "no"),
    ("is it<|user|>", " no"),
    ("is it<s>", " no"),
    ("is it</s>", " no"),
    ("is it?</s></s>", " no"),
)
LOSSLESS = {
    "trimmed": byte_level(),
    "untrimmed": byte_level(trim=False),
    "one piece": byte_level(regex=False),
    "with BOS": byte_level(bos=True),
    "closing": byte_level(bos=True, eos=True),
}
PIECES = {scheme: pieces(scheme) for scheme in ("first", "always", "never")}


@pytest.mark.parametrize("slow", [False, True], ids=["offsets", "no offsets"])
@pytest.mark.parametrize("kind", LOSSLESS)
def test_byte_level_tokens_before_the_boundary_are_the_prompts_alone(kind: str, slow: bool) -> None:
    """Against counting bytes: every token stands for as many as it has characters."""
    made = LOSSLESS[kind]
    splitter = Splitter(without_offsets(made) if slow else made)
    for prompt, answer in PAIRS:
        tokens = made.convert_ids_to_tokens(splitter.ids(prompt + answer).tolist())
        ends = list(itertools.accumulate(map(len, tokens), initial=0))
        assert ends[-1] == len((prompt + answer).encode())
        end = len(prompt.encode())
        most = max(count for count, reached in enumerate(ends) if reached <= end)
        found = splitter.boundary(prompt, answer)
        assert (found.tokens, found.inside) == (most, ends[most] < end), (prompt, answer)


@pytest.mark.parametrize("slow", [False, True], ids=["offsets", "no offsets"])
@pytest.mark.parametrize("scheme", PIECES)
def test_a_space_before_the_first_word_goes_nowhere_else(scheme: str, slow: bool) -> None:
    """``Answer:`` and `` no`` are ▁Answer: and ▁no, never ▁ and ▁no."""
    made = without_offsets(PIECES[scheme]) if slow else PIECES[scheme]
    splitter = Splitter(made)
    for prompt in ("Answer:", "Answer: yes. Answer:"):
        found = splitter.boundary(prompt, " no")
        whole = splitter.ids(f"{prompt} no").tolist()
        assert made.convert_ids_to_tokens(whole[found.tokens :]) == ["▁no"]
        assert not found.inside
    found = splitter.boundary("Answer: ", "no")
    whole = splitter.ids("Answer: no").tolist()
    assert made.convert_ids_to_tokens(whole[found.tokens :]) == ["▁no"]
    assert found.inside


def test_a_space_that_is_put_before_every_part_counts_to_it() -> None:
    made = byte_level(prefix=True)
    splitter = Splitter(made)
    for prompt, answer, expected in (
        ("Answer:", " no", ["Ġno"]),
        ("", "no", ["Ġno"]),
        ("", " no", ["Ġno"]),
        ("is it<|user|>", "no", ["Ġno"]),
        ("Answer: ", "no", ["Ġno"]),
    ):
        whole = splitter.ids(prompt + answer).tolist()
        assert made.convert_ids_to_tokens(whole[splitter.boundary(prompt, answer).tokens :]) == expected


@pytest.mark.parametrize("slow", [False, True], ids=["offsets", "no offsets"])
def test_half_a_character_belongs_to_the_whole_one(slow: bool) -> None:
    made = pieces()
    splitter = Splitter(without_offsets(made) if slow else made)
    for prompt, answer in (("it is", " ☃ no"), ("it is ☃", " no"), ("☃", "☃")):
        found = splitter.boundary(prompt, answer)
        assert not found.inside
        assert made.decode(splitter.ids(prompt + answer).tolist()[: found.tokens]) == prompt
    assert len(splitter.ids("it is ☃")) - len(splitter.ids("it is")) == 4  # the space and three bytes


def test_a_character_that_normalising_joins_is_the_targets() -> None:
    """é of an e in the prompt and an accent in the target: both its bytes are asked for."""
    made = byte_level(nfc=True)
    splitter = Splitter(made)
    for prompt, answer in (("un the", "\u0301 no"), ("e", "\u0301 no")):
        found = splitter.boundary(prompt, answer)
        rest = splitter.ids(prompt + answer).tolist()[found.tokens :]
        assert made.decode(rest).endswith("é no")
        assert found.inside
    assert splitter.boundary("un the\u0301", " no") == Splitter(made).boundary("un th\u00e9", " no")


def test_an_unknown_word_that_goes_on_is_the_targets() -> None:
    splitter = Splitter(words())
    assert splitter.ids("xq").tolist() == [0]
    found = splitter.boundary("it is xq", "z no")
    assert (found.tokens, found.inside) == (2, True)
    assert splitter.boundary("it is xq", " no").tokens == 3
    assert splitter.boundary("it is ", "no").tokens == 2
    assert not splitter.boundary("it is ", "no").inside


@pytest.mark.parametrize(
    ("made", "lead", "closing"),
    [
        (byte_level(), (), ()),
        (byte_level(bos=True), (1,), ()),
        (byte_level(eos=True), (), (2,)),
        (pieces(bos=True, eos=True), (1,), (2,)),
        (words(), (1,), (2,)),
    ],
)
def test_what_a_tokenizer_puts_around_a_text(made: Any, lead: tuple[int, ...], closing: tuple[int, ...]) -> None:
    assert added_tokens(made) == (lead, closing)
    for text in ("it is", "<s>it is</s>", "</s>"):
        assert made.encode(text) == [*lead, *Splitter(made).ids(text).tolist(), *closing]


def test_a_saved_truncation_cuts_nothing() -> None:
    made = byte_level()
    made.backend_tokenizer.enable_truncation(3)
    made.backend_tokenizer.enable_padding(length=50)
    assert Splitter(made).boundary("Answer: is it red? Answer: ", "no").inside


def test_a_tokenizer_that_rewrites_a_text_is_refused() -> None:
    class Rewriting:
        def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
            return [1, 2] if add_special_tokens else [3]

    with pytest.raises(DataError, match="Rewriting makes other tokens of a text"):
        Splitter(Rewriting())


def test_start_tokens() -> None:
    assert start_token(byte_level()) == 1
    assert start_token(byte_level(bos_token="")) == 2
    assert start_token(byte_level(bos_token="", eos_token="")) is None


def test_every_text_is_tokenized_once_and_many_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    made, batches = byte_level(), []
    call = type(made).__call__
    monkeypatch.setattr(
        type(made), "__call__", lambda self, texts, **more: batches.append(texts) or call(self, texts, **more)
    )
    splitter = Splitter(made)
    splitter.read(["a", "b", "a"])
    splitter.read(["b", "c"])
    splitter.ids("c")
    assert batches == [["a", "b"], ["c"]]
    splitter.boundary("a", "b")
    splitter.forget()
    assert (splitter._ids, splitter._boundaries) == ({}, {})
    assert splitter.ids("c").tolist() == made("c", add_special_tokens=False)["input_ids"]
    assert batches[-2] == ["c"]


def test_bytes_have_no_offsets_and_need_none() -> None:
    from transformers import ByT5Tokenizer

    splitter = Splitter(ByT5Tokenizer())
    assert (splitter.lead, splitter.closing) == ((), (1,))
    for prompt, answer in PAIRS:
        if "<" not in prompt:
            assert splitter.boundary(prompt, answer).tokens == len(prompt.encode())


@pytest.mark.parametrize(("prompt", "answer"), [("Answer: ", "no"), ("Answer:", " no")])
def test_gpt_neox(shared: Path, prompt: str, answer: str) -> None:
    from transformers import PreTrainedTokenizerFast

    made = PreTrainedTokenizerFast(tokenizer_file=str(shared / "tokenizers" / "gpt-neox-20b" / "tokenizer.json"))
    splitter = Splitter(made)
    found = splitter.boundary(prompt, answer)
    tokens = made.convert_ids_to_tokens(splitter.ids(prompt + answer).tolist())
    assert (tokens[: found.tokens], tokens[found.tokens :]) == (["Answer", ":"], ["Ġno"])
    assert found.inside == prompt.endswith(" ")
