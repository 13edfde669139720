"""Scores by likeness: of words, of sentence embeddings, and of what the model itself makes of a text."""

import re
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from rivals_recorded import Matrix, Recorded, pieces_of, texts_of
from torch import Tensor

from gptfl.encoders.minilm import MiniLm
from gptfl.errors import DataError
from gptfl.training.forward import arguments
from gptfl.training.gradients.sides import Side, measured_exactly
from gptfl.training.network import Network

WORD = r"(?u)\w+"


def bm25(recorded: Recorded) -> dict[str, Matrix]:
    """How well a training text answers the test text as a query: rank_bm25's BM25Okapi as it comes."""
    from rank_bm25 import BM25Okapi  # type: ignore[import-not-found]

    train, test = ([words(text) for text in texts_of(side)] for side in (recorded.pool, recorded.test))
    index = BM25Okapi(train)
    scores = np.stack([index.get_scores(query) for query in test], axis=1)
    return {"bm25": Matrix(scores, "BM25 (k1 = 1.5, b = 0.75) of the training text for the test text as a query")}


def words(text: str) -> list[str]:
    """A text's words in lower case."""
    return re.findall(WORD, text.lower())


def tfidf(recorded: Recorded) -> dict[str, Matrix]:
    """The cosine of TF-IDF vectors, as scikit-learn weighs words; weighed by training texts alone."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    weighing = TfidfVectorizer(token_pattern=WORD)
    train = weighing.fit_transform(texts_of(recorded.pool))
    scores = (train @ weighing.transform(texts_of(recorded.test)).T).toarray()
    return {"tfidf": Matrix(np.asarray(scores), "cosine of the texts' TF-IDF vectors")}


def minilm(recorded: Recorded) -> dict[str, Matrix]:
    """The cosine of sentence embeddings, as gptfl's encoder makes them."""
    found = MiniLm(pooling="mean").encode(recorded.pool, recorded.test)
    (vectors,) = found.values()
    meaning = "cosine of all-MiniLM-L6-v2's embeddings, means over tokens"
    return {"minilm": Matrix(cosines(vectors.train, vectors.test), meaning)}


def states(recorded: Recorded) -> dict[str, Matrix]:
    """The cosine of the last hidden states of the model before it is trained, with the tokens that it is trained on."""
    network = recorded.trainer.network
    made = [_states(network, side, pieces_of(recorded.tape, side)) for side in recorded.sides]
    return {
        f"state-{which}": Matrix(
            cosines(*(side[place].numpy() for side in made)), f"cosine of the untrained model's last states, {meaning}"
        )
        for place, (which, meaning) in enumerate((("last", "at the last token"), ("mean", "means over tokens")))
    }


def _states(network: Network, side: Side, pieces: list[list[int]]) -> tuple[Tensor, Tensor]:
    """What enters the output layer at the last token of each example, and in the mean over its tokens."""
    if network.head is None:
        raise DataError("the model has no output layer that is known", "choose another model")
    seen: list[Tensor] = []

    def keep(module: Any, args: tuple[Any, ...]) -> None:
        seen.append(args[0])

    last, mean = (torch.zeros(len(side), network.head_shape[1]) for _ in range(2))
    handle = network.head.register_forward_pre_hook(keep)
    try:
        with torch.inference_mode(), measured_exactly(network):
            for piece in pieces:
                part = side.take(piece)
                network.model(input_ids=part.batch(network).inputs, **arguments(network.model))
                for example, states, length in zip(piece, seen.pop(), part.lengths, strict=True):
                    last[example], mean[example] = states[length - 1], states[:length].mean(dim=0)
    finally:
        handle.remove()
    return last, mean


def cosines(train: Float[np.ndarray, "pool d"], test: Float[np.ndarray, "test d"]) -> Float[np.ndarray, "pool test"]:
    """Of every training with every test vector; 0 for a vector of length 0."""
    sides = []
    for vectors in (train.astype(np.float64), test.astype(np.float64)):
        length = np.linalg.norm(vectors, axis=1, keepdims=True)
        sides.append(np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0))
    return np.asarray(sides[0] @ sides[1].T)
