"""Pairs of examples whose texts are nearly the same."""

from collections.abc import Sequence

import numpy as np

from gptfl.core import Example
from gptfl.core.texts import shown_line

ALIKE = 0.9
"""The cosine of TF-IDF vectors of pieces of words from which two texts count as near-duplicates."""
MOST_PAIRS = 2000
BLOCK = 512


def near_duplicates(examples: Sequence[Example]) -> list[tuple[int, int, float]]:
    """Places of pairs of examples and how alike they are, the most alike first; at most ``MOST_PAIRS``.

    Texts are compared by TF-IDF of pieces of three to five letters. Examples without texts are like nothing.
    """
    places = [place for place, example in enumerate(examples) if example.text.strip()]
    if len(places) < 2:
        return []
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = [shown_line(examples[place].text) for place in places]
    try:
        vectors = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True).fit_transform(texts)
    except ValueError:  # texts of fewer letters than a piece has
        return []
    found: list[tuple[int, int, float]] = []
    for start in range(0, len(places), BLOCK):
        alike = (vectors[start : start + BLOCK] @ vectors.T).tocoo()
        close = (alike.data >= ALIKE) & (alike.row + start < alike.col)
        rows, columns, values = alike.row[close] + start, alike.col[close], alike.data[close]
        found += [(places[a], places[b], float(c)) for a, b, c in zip(rows, columns, values, strict=True)]
    found.sort(key=lambda pair: (-np.round(pair[2], 6), pair[0], pair[1]))
    return found[:MOST_PAIRS]
