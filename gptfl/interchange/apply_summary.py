"""What was left out of somebody's data, as a page of Markdown to paste into a pull request."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from gptfl.core import Classes, Example
from gptfl.core.examples import classes_of
from gptfl.core.excerpts import excerpts_at
from gptfl.core.texts import counted, shown_line
from gptfl.options.apply import ApplyOptions

SHOWN = 50
"""So many rows are listed."""
LONGEST = 120
SPECIAL = re.compile(r"[\\`*_\[\]<>|~&@#$]|:(?=//)|(?<=www)\.", re.IGNORECASE)
"""What Markdown, HTML in it, or GitHub would make something of: marks, tags, mentions and addresses."""


def escaped(text: str, longest: int = LONGEST) -> str:
    """A text on one line as Markdown shows it, whatever it holds; cut where it is long."""
    line = shown_line(text)
    line = line if len(line) <= longest else f"{line[: longest - 1]}…"
    return SPECIAL.sub(lambda found: f"&#{ord(found[0])};", line)


def summary(
    name: str,
    digest: str,
    options: ApplyOptions,
    examples: Sequence[Example],
    kept: Bool[np.ndarray, " row"],
    reasons: Sequence[Mapping[str, Any]],
    packed: bool,
) -> str:
    """The page: how many rows of which file, by which list, and the rows themselves.

    Args:
        name: the file's name.
        digest: its SHA-256.
        options: what was asked for.
        examples: its rows.
        kept: which of them are kept.
        reasons: what is told of each.
        packed: whether the rows kept are packed anew and not byte for byte.
    """
    out = [int(one) for one in np.flatnonzero(~kept)]
    chosen = options.drop if options.keep is None else options.keep
    by = escaped(Path(chosen).name) if isinstance(chosen, str | Path) else "ids given in Python"
    how = "are the same values in the same schema" if packed else "are byte for byte what they were"
    flag = "drop" if options.keep is None else "keep"
    texts = excerpts_at(examples, out[:SHOWN])
    lines = [
        f"## {len(out):,} of {counted(len(kept), 'row')} left out of {escaped(name)}",
        "",
        f"- kept: {int(kept.sum()):,} rows, which {how}",
        f"- chosen by `gptfl apply --{flag}` from {by}",
        f"- SHA-256 of the file: `{digest}`",
        *_counts("verdicts", [str(reasons[i]["verdict"]) for i in out if "verdict" in reasons[i]]),
        *_counts("classes", _classes(examples, out)),
        "",
        "| id | why | text |",
        "| --- | --- | --- |",
        *(
            f"| {escaped(examples[i].id)} | {escaped(str(reasons[i]['reason']))} | {escaped(texts[i])} |"
            for i in out[:SHOWN]
        ),
    ]
    if len(out) > SHOWN:
        lines += ["", f"and {len(out) - SHOWN:,} more, which dropped.jsonl lists"]
    return "\n".join(lines) + "\n"


def _classes(examples: Sequence[Example], out: Sequence[int]) -> list[str]:
    classes = classes_of(examples)
    names = Classes(examples)
    return [] if classes is None else [names.name(classes[i]) for i in out]


def _counts(what: str, words: Sequence[str]) -> list[str]:
    if not words:
        return []
    listed = ", ".join(f"{escaped(word)} {count:,}" for word, count in Counter(words).most_common(10))
    return [f"- {what} of these: {listed}"]
