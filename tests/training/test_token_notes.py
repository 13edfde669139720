"""What is told of how examples became tokens."""

from typing import Any

import pytest

from gptfl.core import Example
from gptfl.training.token_notes import TokenCounts, runs_together
from gptfl.training.tokenization import Tokenizer
from tests.tokenizers import byte_level
from tests.training.test_tokenization import BYTES, PIECES, example


def notes_of(made: Any, *examples: Example, choices: bool = False) -> tuple[str, ...]:
    tokenizer = Tokenizer(made, 99)
    tokenizer.read(examples, "pool", choices)
    return tokenizer.notes


def test_prompts_that_end_inside_a_token_are_counted() -> None:
    good = example("Answer:", " no")
    assert notes_of(BYTES, good) == ()
    assert notes_of(BYTES, good, example("Answer: ", "no", id="p1"), good) == (
        "the prompt ends inside a token in 1 of 3 examples (pool 'p1': 'Answer: ' and 'no'): the target has that token"
        "; better begin targets with the space that prompts end with",
    )
    choices = example("Answer: ", "7", "7", "no")
    assert notes_of(BYTES, choices) == ()
    assert notes_of(BYTES, choices, choices=True)[0].startswith("the prompt ends inside a token in 1 of 1 examples")


def test_a_start_token_given_twice_is_reported() -> None:
    prompts = ("<s>Answer:", "Answer:<s>", "Answer:")
    examples = [example(prompt, " no") for prompt in prompts]
    assert notes_of(PIECES, *examples) == (
        "1 of 3 examples begin with <s>, which the tokenizer adds, so that the model reads it twice: leave it out of the "
        "prompts",
    )
    assert notes_of(BYTES, *examples) == ()


@pytest.mark.parametrize(
    ("prompt", "target", "is_noted"),
    [
        ("Answer:", "no", True),
        ("is it", "red", True),
        ("is it?", "12", True),
        ("is it red.", "It is", True),
        ("Ответ:", "нет", True),
        ("대답:", "아니", True),
        ("Answer: ", "no", False),
        ("Answer:\n", "no", False),
        ("Answer:", "\nno", False),
        ("Answer:", ", no", False),
        ('He said "', "no", False),
        ("x=", "5", False),
        ("is it (", "no", False),
        ("", "no", False),
        ("is it<|user|>", "no", False),
        ("答案:", "是", False),
        ("答案", "是", False),
        ("คำตอบ:", "ใช่", False),
    ],
)
def test_a_missing_space_is_reported(prompt: str, target: str, is_noted: bool) -> None:
    made = byte_level(extra_special_tokens=["<|user|>"])
    notes = [note for note in notes_of(made, example(prompt, target)) if "no space parts" in note]
    assert bool(notes) == is_noted
    if is_noted:
        assert notes[0].startswith(
            f"no space parts prompt and answer in 1 of 1 examples (pool 'x': {prompt[-12:]!r} and"
        )


def test_a_choice_without_its_space_is_reported() -> None:
    mixed = example("Answer:", " no", " no", "yes")
    assert notes_of(BYTES, mixed) == ()
    (note,) = notes_of(BYTES, mixed, choices=True)
    assert "'Answer:' and 'yes'" in note


def test_where_a_space_should_part_words() -> None:
    assert runs_together("Answer:", "no")
    assert runs_together("it", "1")
    for prompt, answer in (
        ("", "no"),
        ("it", ""),
        ("it ", "no"),
        ("it(", "no"),
        ("it", " no"),
        ("は", "い"),
        ("a", "答"),
    ):
        assert not runs_together(prompt, answer)


def test_kinds_are_told_in_one_and_in_many() -> None:
    assert TokenCounts().notes(5, False, None) == ()
    one = TokenCounts(examples=9, cut=1, lost=1, missed=1).notes(5, False, None)
    assert one == (
        "1 prompt does not fit into 5 tokens and loses its beginning (1 token in all)",
        "1 of these is a conversation that loses earlier answers, which are not learned",
    )
    many = TokenCounts(examples=9, cut=2, lost=7, ended=3, lost_ends=4).notes(5, True, None)
    assert many == (
        "2 prompts do not fit into 5 tokens, all that the model reads, and lose their beginning (7 tokens in all)",
        "3 texts do not fit into 5 tokens and lose their end (4 tokens in all)",
    )
