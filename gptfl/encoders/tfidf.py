"""TF-IDF reduced by a singular value decomposition: needs no download."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from jaxtyping import Float

from gptfl.core import Example, FeatureSet
from gptfl.encoders.texts import PARTS, text_of
from gptfl.errors import DataError
from gptfl.plugins import settings
from gptfl.plugins.interfaces import EncoderTags

TOKEN = r"(?u)\w+|[^\w\s]"
NEGLIGIBLE = 1e-6
FITTED = 2**24
"""Words and directions are fitted to texts of so many characters at most: what is in memory grows with their words."""
AT_ONCE = 8192
"""So many other texts are placed among them at a time."""


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
        """One set, ``text``. It has fewer than ``dims`` numbers where the texts span no more.

        Where the texts are long together (``FITTED``), words and directions are those of some of the examples.
        """
        known = (*pool, *test)
        vectors = self._encoded(known, known, ())
        return {"text": FeatureSet(vectors[: len(pool)], vectors[len(pool) :])}

    def encode_new(
        self, new: Sequence[Example], pool: Sequence[Example], test: Sequence[Example]
    ) -> Mapping[str, Float[np.ndarray, "new d"]]:
        """The vectors of other examples, by what is fitted to the pool and the test examples alone.

        Words that occur in none of these count for nothing.
        """
        return {"text": self._encoded((*pool, *test), (), new)}

    def _encoded(
        self, known: Sequence[Example], asked: Sequence[Example], new: Sequence[Example]
    ) -> Float[np.ndarray, "example d"]:
        """Vectors of the examples asked for and of new ones, fitted to the known ones."""
        parts = ("prompt", "target") if self.text == "both" else (self.text,)
        chosen = fitted_places(known, parts)
        fitted = known if len(chosen) == len(known) else [known[place] for place in chosen]
        words = _Words.of(fitted, parts)
        if words is None:
            raise DataError(
                f"encoder tfidf-svd: no word is in any {' or '.join(parts)}",
                "take another part of the examples: --set text=both" if self.text != "both" else "use another encoder",
            )
        directions, vectors = reduced(words.fitted, self.dims)
        placed = [vectors] if asked and fitted is known else [directions(one) for one in words.blocks(asked)]
        placed += [directions(one) for one in words.blocks(new)]
        return np.concatenate(placed) if placed else vectors[:0]


def fitted_places(known: Sequence[Example], parts: Sequence[str]) -> list[int]:
    """The places of the examples whose texts are fitted to: all, or so many, evenly spread, that they stay within ``FITTED``."""
    letters = sum(len(text_of(example, part)) for example in known for part in parts)
    count = len(known) if letters <= FITTED else max(1, len(known) * FITTED // letters)
    return [int(place) for place in np.linspace(0, len(known) - 1, count).round()]


@dataclass(frozen=True, slots=True)
class _Words:
    """The words and word pairs of some examples, by part; ``fitted`` are the weights of these examples."""

    parts: tuple[tuple[str, Any], ...]
    fitted: Any

    @classmethod
    def of(cls, examples: Sequence[Example], parts: Sequence[str]) -> Self | None:
        """Those of the examples; None where they have no word."""
        from scipy import sparse
        from sklearn.feature_extraction.text import TfidfVectorizer

        found, weights = [], []
        for part in parts:
            texts = [text_of(example, part) for example in examples]
            if not any(re.search(TOKEN, text) for text in texts):
                continue  # such as the prompts of plain texts
            words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=TOKEN, dtype=np.float64)
            weights.append(words.fit_transform(texts))
            found.append((part, words))
        return cls(tuple(found), sparse.hstack(weights, format="csr")) if found else None

    def blocks(self, examples: Sequence[Example]) -> Iterator[Any]:
        """The weights of other examples, some at a time."""
        from scipy import sparse

        for start in range(0, len(examples), AT_ONCE):
            some = examples[start : start + AT_ONCE]
            weights = [words.transform([text_of(one, part) for one in some]) for part, words in self.parts]
            yield sparse.hstack(weights, format="csr")


def reduce(weights: Any, dims: int) -> Float[np.ndarray, "text d"]:
    """The vectors that ``reduced`` makes of the texts."""
    return reduced(weights, dims)[1]


def reduced(
    weights: Any, dims: int
) -> tuple[Callable[[Any], Float[np.ndarray, "other d"]], Float[np.ndarray, "text d"]]:
    """Project sparse rows (text by word) on their leading right singular vectors; first what does so with other rows.

    They are not centred. Each direction points to where its largest loading is positive; directions without weight are left out.
    """
    from sklearn.decomposition import TruncatedSVD

    svd = TruncatedSVD(n_components=min(dims, *weights.shape), n_iter=10, random_state=0)
    vectors = svd.fit_transform(weights)
    largest = np.abs(svd.components_).argmax(axis=1)
    signs = np.sign(svd.components_[np.arange(len(largest)), largest])
    kept = svd.singular_values_ > NEGLIGIBLE * svd.singular_values_.max()

    def turned(projected: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray((projected * signs)[:, kept], dtype=np.float32)

    return lambda others: turned(svd.transform(others)), turned(vectors)
