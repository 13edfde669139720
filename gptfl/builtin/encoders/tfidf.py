"""TF-IDF reduced by a singular value decomposition: needs no download."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from gptfl import settings
from gptfl.builtin.encoders.texts import PARTS, text_of
from gptfl.records import Example, FeatureSet

TOKEN = r"(?u)\w+|[^\w\s]"
NEGLIGIBLE = 1e-6


class TfidfSvd:
    """Word and word-pair weights, reduced to at most ``dims`` numbers a text.

    Fitted on pool and test together, so that a vector depends on all examples. Prompt and target
    are weighed apart, each scaled to length one, so that a target of one word counts for as much
    as a long prompt. ``text`` is ``both``, ``prompt`` or ``target``.
    """

    name: ClassVar[str] = "tfidf-svd"
    per_example: ClassVar[bool] = False

    def __init__(self, dims: int = 128, text: str = "both") -> None:
        who = f"encoder {self.name}"
        self.dims = settings.whole(who, "dims", dims, low=1)
        self.text = settings.one_of(who, "text", text, PARTS)

    def identity(self) -> Mapping[str, Any]:
        """The settings; the fitted weights follow from the examples."""
        return {"encoder": self.name, "dims": self.dims, "text": self.text, "version": 1}

    def encode(self, pool: Sequence[Example], test: Sequence[Example]) -> Mapping[str, FeatureSet]:
        """One set, ``text``. It has fewer than ``dims`` numbers where the texts span no more."""
        from scipy import sparse
        from sklearn.feature_extraction.text import TfidfVectorizer

        parts = ("prompt", "target") if self.text == "both" else (self.text,)
        blocks = []
        for part in parts:
            texts = [text_of(example, part) for example in (*pool, *test)]
            words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=TOKEN, dtype=np.float64)
            blocks.append(words.fit_transform(texts))
        vectors = reduce(sparse.hstack(blocks, format="csr"), self.dims)
        return {"text": FeatureSet(vectors[: len(pool)], vectors[len(pool) :])}


def reduce(weights: Any, dims: int) -> Float[np.ndarray, "text d"]:
    """Project sparse rows (text by word) on their leading right singular vectors, not centred.

    Each direction points to where its largest loading is positive; directions without weight are left out.
    """
    from sklearn.decomposition import TruncatedSVD

    svd = TruncatedSVD(n_components=min(dims, *weights.shape), n_iter=10, random_state=0)
    vectors = svd.fit_transform(weights)
    largest = np.abs(svd.components_).argmax(axis=1)
    vectors *= np.sign(svd.components_[np.arange(len(largest)), largest])
    kept = svd.singular_values_ > NEGLIGIBLE * svd.singular_values_.max()
    return np.ascontiguousarray(vectors[:, kept], dtype=np.float32)
