"""Pairs of examples whose texts are nearly the same."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from gptfl.core import Example
from gptfl.core.texts import shown_line

ALIKE = 0.9
"""The cosine of TF-IDF vectors of pieces of words from which two texts count as near-duplicates."""
MOST_PAIRS = 2000
BLOCK = 512
"""The pairs of so many texts with all others are looked at together."""
PAIRS_AT_ONCE = 4096
"""Of so many pairs the cosines are computed together."""


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
    for one, other in candidates(vectors, ALIKE):
        for start in range(0, len(one), PAIRS_AT_ONCE):
            some = slice(start, start + PAIRS_AT_ONCE)
            alike = np.asarray(vectors[one[some]].multiply(vectors[other[some]]).sum(axis=1)).reshape(-1)
            close = np.flatnonzero(alike >= ALIKE) + start
            cosines = alike[close - start].tolist()
            pairs = zip(one[close].tolist(), other[close].tolist(), cosines, strict=True)
            found += [(places[a], places[b], cosine) for a, b, cosine in pairs]
    found.sort(key=lambda pair: (-np.round(pair[2], 6), pair[0], pair[1]))
    return found[:MOST_PAIRS]


def candidates(vectors: Any, threshold: float) -> Iterator[tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"]]]:
    """Pairs of rows whose cosine may be as large as the threshold, each pair once, some at a time.

    Rows have length 1. Of each row, its entries from the rarest column on are taken until those left out are shorter than
    the threshold. Two rows that have none of these in common reach no more than that length: of the entries that they share, all are
    among those left out of one of them (prefix filtering; Bayardo, Ma and Srikant, 2007).
    """
    import scipy.sparse

    vectors = vectors.tocsr()
    rarity = np.argsort(np.argsort(np.bincount(vectors.indices, minlength=vectors.shape[1]), kind="stable"))
    row = np.repeat(np.arange(vectors.shape[0]), np.diff(vectors.indptr))
    order = np.lexsort((rarity[vectors.indices], row))
    row, column, squares = row[order], vectors.indices[order], vectors.data[order] ** 2
    before = np.cumsum(squares) - squares
    before -= before[vectors.indptr[:-1].clip(max=max(len(before) - 1, 0))][row]
    # A little more than what is needed: sums of squares are rounded.
    kept = before <= 1.0 - threshold**2 + 1e-6
    ones = np.ones(int(kept.sum()), dtype=np.float32)
    prefixes = scipy.sparse.csr_matrix((ones, (row[kept], column[kept])), shape=vectors.shape)
    columns = prefixes.T.tocsr()
    for start in range(0, vectors.shape[0], BLOCK):
        pairs = (prefixes[start : start + BLOCK] @ columns).tocoo()
        one, other = pairs.row.astype(np.int64) + start, pairs.col.astype(np.int64)
        yield one[one < other], other[one < other]
