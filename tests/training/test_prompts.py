"""Prompts as tokens, and where the answer to each ends."""

from pathlib import Path

import pytest

from gptfl.core import Example
from gptfl.training.prompts import Decoding
from tests.training.test_generation import TEST, make, with_lines


@pytest.mark.parametrize(
    ("written", "one_line", "many_lines"),
    [
        (" the sun\nthe moon", "the sun", "the sun\nthe moon"),
        ("\n\n the sun \n", "the sun ", "the sun \n"),
        (" \n ", "", ""),
        ("Größe ?\nno", "Größe ?", "Größe ?\nno"),
    ],
)
def test_an_answer_is_its_first_line_where_no_reference_has_two(
    neox: Path, written: str, one_line: str, many_lines: str
) -> None:
    prompts = make(neox, Decoding(tokens=90), (TEST[0], *with_lines(TEST[1:2]))).prompts
    ids = prompts.tokenizer.encode(written)
    assert (prompts.text(0, ids), prompts.text(1, ids)) == (one_line, many_lines)
    finished = [prompts.is_finished(0, ids[: count + 1]) for count in range(len(ids))]
    broken = ["\n" in prompts.tokenizer.decode(ids[: count + 1]).lstrip() for count in range(len(ids))]
    assert finished[: broken.index(True) + 1] == broken[: broken.index(True) + 1] if any(broken) else not any(finished)
    assert not any(prompts.is_finished(1, ids[: count + 1]) for count in range(len(ids)))


def test_the_longest_answer_follows_from_the_longest_reference_unless_it_is_given(neox: Path) -> None:
    count = len(make(neox, Decoding()).prompts.tokenizer.encode(TEST[0].target, add_special_tokens=False))
    assert make(neox, Decoding()).prompts.limit == -(-3 * count // 2)
    longer = (*TEST, Example("long", "it is", " yes", fields={"references": ["no", "yes " * 40]}))
    longest = len(make(neox, Decoding()).prompts.tokenizer.encode(" " + ("yes " * 40).strip()))
    assert make(neox, Decoding(), longer).prompts.limit == -(-3 * longest // 2)
    assert make(neox, Decoding(), (Example("x", "it is", " yes" * 900),), max_length=2000).prompts.limit == 256
    assert make(neox, Decoding(tokens=7)).prompts.limit == 7
