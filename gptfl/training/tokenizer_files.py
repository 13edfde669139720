"""What a tokenizer.json of unknown origin would take, found out before tokenizers reads it.

It is a program of a kind: steps that each make another text of a text. Some make it longer, so that twenty of them
make a gigabyte of a line. What a step may do to a text is known from the file.
"""

import base64
import binascii
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gptfl.errors import DataError
from gptfl.training.weight_files import MAX_TEXT, MAX_VALUES, has_more_values, read_json

TOKENIZER = "tokenizer.json"
MAX_TOKENS, MAX_MERGES = 2**20, 2**21
"""Of a vocabulary; the largest that are in use have 902 thousand tokens (XLM-V) and 515 thousand merges (Gemma)."""
FREE_VALUES, TOKEN_VALUES = 2**16, 16
"""Values that any file may have, and more for each token that the model embeds; Gemma's has 7 a token."""
MAX_STEPS, MAX_GROWTH = 64, 256
"""Steps in a row, and how many times as long all of them may make a text: with SentencePiece's rules 66 times is usual."""
MAX_ADDED = 1024
"""Tokens that may be put around a text, and characters of a word that WordPiece takes apart, which takes their square."""
MAX_PADDED = 2**20
REMEDY = "get the model's own tokenizer.json again"


def check_tokenizer(folder: Path | None, where: str, embedded: int | None = None) -> None:
    """Raise ``DataError`` for a folder's tokenizer.json whose sizes, or whose texts' sizes, no tokenizer in use has.

    ``embedded`` is how many tokens the model embeds, where that is known: what is out of all proportion to it isn't
    parsed. No folder, and one without such a file, are passed over: the tokenizer is made of other files.
    """
    if folder is None or not (folder / TOKENIZER).is_file():
        return
    most = MAX_VALUES if embedded is None else min(MAX_VALUES, FREE_VALUES + TOKEN_VALUES * embedded)
    if has_more_values(folder / TOKENIZER, most):
        of = "" if embedded is None else f", and the model embeds {embedded:,} tokens"
        raise DataError(f"{where}: {TOKENIZER} holds more than {most:,} values{of}", REMEDY)
    found = read_json(folder / TOKENIZER, where, MAX_TEXT)
    problem = _problem_of_model(found) or _problem_of_steps(found) or _problem_of_surroundings(found)
    if problem:
        raise DataError(f"{where}: {TOKENIZER} {problem}", REMEDY)


def _problem_of_model(found: Mapping[str, Any]) -> str:
    model = found.get("model")
    model = model if isinstance(model, dict) else {}
    sizes = {
        "tokens": (model.get("vocab"), MAX_TOKENS),
        "merges": (model.get("merges"), MAX_MERGES),
        "added tokens": (found.get("added_tokens"), MAX_TOKENS),
    }
    for what, (held, most) in sizes.items():
        if isinstance(held, list | dict) and len(held) > most:
            return f"has {len(held):,} {what}, more than {most:,}"
    longest = model.get("max_input_chars_per_word")
    if isinstance(longest, int | float) and longest > MAX_ADDED:
        return f"takes words of up to {longest:,} characters apart, more than {MAX_ADDED:,}"
    return ""


def _problem_of_steps(found: Mapping[str, Any]) -> str:
    growth, count = 1.0, 0
    for kind in ("normalizer", "pre_tokenizer", "post_processor"):
        for step in steps_in(found.get(kind)):
            count += 1
            growth *= growth_by(step)
            if count > MAX_STEPS:
                return f"has more than {MAX_STEPS} steps in a row"
            if growth > MAX_GROWTH:
                return f"makes texts more than {MAX_GROWTH} times as long"
    longer = 1.0
    for step in steps_in(found.get("decoder")):
        longer *= growth_by(step)
        if longer > MAX_GROWTH:
            return f"makes texts more than {MAX_GROWTH} times as long when it decodes"
    return ""


def _problem_of_surroundings(found: Mapping[str, Any]) -> str:
    added = 0
    for step in steps_in(found.get("post_processor")):
        special = step.get("special_tokens")
        ids = [one.get("ids") for one in special.values() if isinstance(one, dict)] if isinstance(special, dict) else []
        longest = max((len(one) for one in ids if isinstance(one, list)), default=1)
        templates = [step.get(name) for name in ("single", "pair")]
        added += longest * max((len(one) for one in templates if isinstance(one, list)), default=0)
    if added > MAX_ADDED:
        return f"puts up to {added:,} tokens around a text, more than {MAX_ADDED:,}"
    padding = found.get("padding")
    padding = padding if isinstance(padding, dict) else {}
    strategy = padding.get("strategy")
    fixed = strategy.get("Fixed") if isinstance(strategy, dict) else None
    for size in (fixed, padding.get("pad_to_multiple_of")):
        if isinstance(size, int | float) and size > MAX_PADDED:
            return f"pads texts to {size:,} tokens"
    return ""


def steps_in(part: Any) -> Iterator[Mapping[str, Any]]:
    """The steps of a normalizer, pre-tokenizer, decoder or post-processor, those in sequences one after the other."""
    waiting = [part]
    while waiting:
        one = waiting.pop()
        if not isinstance(one, dict):
            continue
        inner = [held for held in one.values() if isinstance(held, list)] if one.get("type") == "Sequence" else []
        if inner:
            waiting += [step for held in inner for step in reversed(held)]
        else:
            yield one


def growth_by(step: Mapping[str, Any]) -> float:
    """How many times as long a step may make a text at most."""
    kind = step.get("type")
    if kind == "Replace":
        pattern, content = step.get("pattern"), step.get("content")
        new = len(content) if isinstance(content, str) else 0
        old = pattern.get("String") if isinstance(pattern, dict) else None
        # A regular expression may match nothing, before every character.
        return max(1.0, new / len(old)) if isinstance(old, str) and old else 1.0 + new
    if kind == "Prepend":
        prepended = step.get("prepend")
        return 1.0 + (len(prepended) if isinstance(prepended, str) else 0)
    if kind == "Precompiled":
        return _growth_by_map(step.get("precompiled_charsmap"))
    # Two characters for one beyond ASCII, and spaces on both sides of one.
    return {"ByteLevel": 2.0, "BertNormalizer": 3.0}.get(str(kind), 1.0)


def _growth_by_map(packed: Any) -> float:
    """Bytes of the longest text that SentencePiece's map has in the place of a character.

    The map is the size of a trie, 4 bytes, the trie, and the texts, each ended by a zero byte.
    """
    try:
        data = base64.b64decode(packed, validate=True) if isinstance(packed, str) else b""
        (size,) = struct.unpack_from("<I", data)
    except (binascii.Error, struct.error, ValueError):  # no map, which tokenizers refuses
        return 1.0
    return float(max(1, *(len(one) for one in data[4 + size :].split(b"\0"))))
