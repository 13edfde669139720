"""A tokenizer.json that no tokenizer in use is like is refused before it is loaded."""

import base64
import json
import struct
from pathlib import Path
from typing import Any

import pytest

from gptfl.errors import DataError
from gptfl.training import tokenizer_files
from gptfl.training.tokenizer_files import check_tokenizer, growth_by, steps_in
from tests.tokenizers import byte_level, pieces, words


def replace(old: str, new: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"String": old}, "content": new}


def char_map(*texts: bytes) -> str:
    """SentencePiece's map of characters, with a trie of four bytes."""
    return base64.b64encode(struct.pack("<I", 4) + b"trie" + b"".join(one + b"\0" for one in texts)).decode()


def sequence(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "normalizers": list(steps)}


@pytest.mark.parametrize("make", [byte_level, pieces, words])
def test_tokenizers_of_every_kind_are_taken(tmp_path: Path, make: Any) -> None:
    tokenizer = make()
    tokenizer.save_pretrained(tmp_path)
    check_tokenizer(tmp_path, "--model m", len(tokenizer))


def test_a_folder_without_one_is_passed_over(tmp_path: Path) -> None:
    check_tokenizer(tmp_path, "--model m")
    check_tokenizer(None, "--model m")


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ({"normalizer": sequence(*[replace("a", "aa")] * 9)}, "makes texts more than 256 times as long"),
        ({"normalizer": replace("a", "b" * 257)}, "makes texts more than 256 times as long"),
        ({"decoder": sequence(replace("a", "b" * 257))}, "makes texts more than 256 times as long when it decodes"),
        ({"normalizer": sequence(*[{"type": "NFC"}] * 65)}, "has more than 64 steps in a row"),
        ({"padding": {"strategy": {"Fixed": 10**9}}}, "pads texts to 1,000,000,000 tokens"),
        ({"padding": {"strategy": "BatchLongest", "pad_to_multiple_of": 10**9}}, "pads texts to 1,000,000,000 tokens"),
        ({"model": {"max_input_chars_per_word": 10**9}}, "takes words of up to 1,000,000,000 characters apart"),
        (
            {
                "post_processor": {
                    "type": "TemplateProcessing",
                    "single": [{"SpecialToken": {"id": "a"}}] * 2,
                    "special_tokens": {"a": {"ids": [0] * 600}},
                }
            },
            "puts up to 1,200 tokens around a text, more than 1,024",
        ),
    ],
)
def test_what_makes_much_of_a_text_is_refused(tmp_path: Path, parts: dict[str, Any], problem: str) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps(parts))
    with pytest.raises(DataError, match=f"--model m: tokenizer.json {problem}"):
        check_tokenizer(tmp_path, "--model m")


def test_what_is_usual_is_taken(tmp_path: Path) -> None:
    longest = "صلى الله عليه وسلم".encode()
    steps = (
        *(replace("``", '"'), {"type": "NFKD"}, {"type": "StripAccents"}, {"type": "Lowercase"}),
        *({"type": "Precompiled", "precompiled_charsmap": char_map(b"a", longest)},),
        {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"},
    )
    (tmp_path / "tokenizer.json").write_text(json.dumps({"normalizer": sequence(*steps)}))
    check_tokenizer(tmp_path, "--model m")


def test_tokens_merges_and_values_have_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({"model": {"vocab": {str(one): one for one in range(9)}, "merges": ["a b"] * 9}}))
    monkeypatch.setattr(tokenizer_files, "MAX_TOKENS", 9)
    monkeypatch.setattr(tokenizer_files, "MAX_MERGES", 9)
    check_tokenizer(tmp_path, "m", 9)
    monkeypatch.setattr(tokenizer_files, "MAX_MERGES", 8)
    with pytest.raises(DataError, match=r"m: tokenizer.json has 9 merges, more than 8"):
        check_tokenizer(tmp_path, "m", 9)
    monkeypatch.setattr(tokenizer_files, "MAX_TOKENS", 8)
    with pytest.raises(DataError, match=r"m: tokenizer.json has 9 tokens, more than 8"):
        check_tokenizer(tmp_path, "m", 9)
    monkeypatch.setattr(tokenizer_files, "FREE_VALUES", 4)
    with pytest.raises(DataError, match=r"m: tokenizer.json holds more than 20 values, and the model embeds 1 tokens"):
        check_tokenizer(tmp_path, "m", 1)


@pytest.mark.parametrize(
    ("step", "times"),
    [
        (replace("a", "aaa"), 3.0),
        (replace("abc", "a"), 1.0),
        ({"type": "Replace", "pattern": {"Regex": "x*"}, "content": "ab"}, 3.0),
        ({"type": "Prepend", "prepend": "▁"}, 2.0),
        ({"type": "ByteLevel"}, 2.0),
        ({"type": "Precompiled", "precompiled_charsmap": char_map(b"a", b"abcd", b"ab")}, 4.0),
        ({"type": "Precompiled", "precompiled_charsmap": "no map"}, 1.0),
        ({"type": ["NFC"]}, 1.0),
    ],
)
def test_how_long_a_step_makes_a_text(step: dict[str, Any], times: float) -> None:
    assert growth_by(step) == times


def test_steps_of_sequences_in_sequences_come_in_order() -> None:
    one, two, three = ({"type": "NFC", "place": place} for place in range(3))
    assert list(steps_in(sequence(one, sequence(two), three))) == [one, two, three]
    assert list(steps_in([one])) == list(steps_in(None)) == []
