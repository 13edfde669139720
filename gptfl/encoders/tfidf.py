"""TF-IDF reduced by a singular value decomposition: needs no download."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from gptfl.core import Example, FeatureSet
from gptfl.encoders.texts import PARTS, text_of
from gptfl.errors import DataError
from gptfl.plugins import settings
from gptfl.plugins.interfaces import EncoderTags

TOKEN = r"(?u)\w+|[^\w\s]"
NEGLIGIBLE = 1e-6


class TfidfSvd:
    """Word and word-pair weights, reduced to at most ``dims`` numbers a text.

    Fitted on pool and test together, so that a vector depends on all examples. Prompt and target
    are weighed apart, each scaled to length one, so that a target of one word counts for as much
    as a long prompt. ``text`` is ``both``, ``prompt`` or ``target``.
    """

    name: ClassVar[str] = "tfidf-svd"
    tags: ClassVar[EncoderTags] = EncoderTags(per_example=False)

    def __init__(self, dims: int = 128, text: str = "both") -> None:
        who = f"encoder {self.name}"
        self.dims = settings.whole(who, "dims", dims, low=1)
        self.text = settings.one_of(who, "text", text, PARTS)

    def identity(self) -> Mapping[str, Any]:
        """The settings; the fitted weights follow from the examples."""
        return {"encoder": self.name, "dims": self.dims, "text": self.text, "version": 1}

    def encode(self, pool: Sequence[Example], test: Sequence[Example]) -> Mapping[str, FeatureSet]:
        """One set, ``text``. It has fewer than ``dims`` numbers where the texts span no more."""
        vectors = self._encoded((*pool, *test), ())
        return {"text": FeatureSet(vectors[: len(pool)], vectors[len(pool) :])}

    def encode_new(
        self, new: Sequence[Example], pool: Sequence[Example], test: Sequence[Example]
    ) -> Mapping[str, Float[np.ndarray, "new d"]]:
        """The vectors of other examples, by what is fitted to the pool and the test examples alone.

        Words that occur in none of these count for nothing.
        """
        return {"text": self._encoded((*pool, *test), new)[len(pool) + len(test) :]}

    def _encoded(self, known: Sequence[Example], new: Sequence[Example]) -> Float[np.ndarray, "example d"]:
        """Vectors of all examples, fitted to the known ones."""
        from scipy import sparse
        from sklearn.feature_extraction.text import TfidfVectorizer

        parts = ("prompt", "target") if self.text == "both" else (self.text,)
        blocks = []
        for part in parts:
            texts = [text_of(example, part) for example in known]
            if not any(re.search(TOKEN, text) for text in texts):
                continue  # such as the prompts of plain texts
            words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=TOKEN, dtype=np.float64)
            fitted = words.fit_transform(texts)
            others = [words.transform([text_of(example, part) for example in new])] if new else []
            blocks.append(sparse.vstack([fitted, *others], format="csr"))
        if not blocks:
            raise DataError(
                f"encoder tfidf-svd: no word is in any {' or '.join(parts)}",
                "take another part of the examples: --set text=both" if self.text != "both" else "use another encoder",
            )
        return reduce(sparse.hstack(blocks, format="csr"), self.dims, len(known))


def reduce(weights: Any, dims: int, fitted: int | None = None) -> Float[np.ndarray, "text d"]:
    """Project sparse rows (text by word) on the leading right singular vectors of the first ``fitted`` (all).

    They are not centred. Each direction points to where its largest loading is positive; directions without weight are left out.
    """
    from sklearn.decomposition import TruncatedSVD

    fitted = weights.shape[0] if fitted is None else fitted
    svd = TruncatedSVD(n_components=min(dims, fitted, weights.shape[1]), n_iter=10, random_state=0)
    vectors = svd.fit_transform(weights[:fitted])
    if fitted < weights.shape[0]:
        vectors = np.concatenate([vectors, svd.transform(weights[fitted:])])
    largest = np.abs(svd.components_).argmax(axis=1)
    vectors *= np.sign(svd.components_[np.arange(len(largest)), largest])
    kept = svd.singular_values_ > NEGLIGIBLE * svd.singular_values_.max()
    return np.ascontiguousarray(vectors[:, kept], dtype=np.float32)
