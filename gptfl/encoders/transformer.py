"""Runs texts through a transformer in batches of like length and pools its hidden states."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from gptfl.core import Progress, silent

if TYPE_CHECKING:
    import torch


TOKENS_A_BATCH = 4096


@dataclass
class Cuts:
    """Counts the texts that were too long and the tokens they lost."""

    limit: int
    texts: int = 0
    tokens: int = 0

    def keep(self, ids: list[int]) -> list[int]:
        """The last ``limit`` tokens: what is cut is a prompt's far end, never the target behind it."""
        lost = len(ids) - self.limit
        if lost <= 0:
            return ids
        self.texts += 1
        self.tokens += lost
        return ids[lost:]

    @property
    def notes(self) -> list[str]:
        """What a user should know of the cuts."""
        if not self.texts:
            return []
        return [
            f"{self.texts} texts are longer than {self.limit} tokens and lose their beginning ({self.tokens} tokens in all)"
        ]


@dataclass(frozen=True)
class Embedder:
    """A model's hidden states of a batch, and how they become one vector a text.

    ``states`` takes padded token ids and their mask (text by token) and gives text by token by
    dimension; ``pooling`` is ``cls`` (the first token), ``last`` or ``mean``.
    """

    states: Callable[["torch.Tensor", "torch.Tensor"], "torch.Tensor"]
    dims: int
    pooling: str
    pad: int = 0
    device: Any = "cpu"
    progress: Progress = field(default=silent, repr=False)

    def __call__(self, rows: Sequence[Sequence[int]]) -> Float[np.ndarray, "text d"]:
        """One float32 vector for each row of token ids."""
        import torch

        vectors = np.zeros((len(rows), self.dims), dtype=np.float32)
        done = 0
        for batch in batches([len(row) for row in rows]):
            width = max(len(rows[i]) for i in batch)
            ids = torch.full((len(batch), width), self.pad, dtype=torch.long)
            mask = torch.zeros((len(batch), width), dtype=torch.long)
            for line, index in enumerate(batch):
                count = len(rows[index])
                ids[line, :count] = torch.as_tensor(list(rows[index]))
                mask[line, :count] = 1
            with torch.no_grad():
                hidden = self.states(ids.to(self.device), mask.to(self.device)).float()
            vectors[batch] = self._pool(hidden.cpu(), mask).numpy()
            done += len(batch)
            self.progress("featurize", done, len(rows))
        return vectors

    def _pool(self, hidden: "torch.Tensor", mask: "torch.Tensor") -> "torch.Tensor":
        if self.pooling == "cls":
            return hidden[:, 0]
        lengths = mask.sum(1)
        if self.pooling == "last":
            return hidden[range(len(hidden)), lengths - 1]
        return (hidden * mask[..., None]).sum(1) / lengths[:, None]


def batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Indices in batches, longest first, of at most ``TOKENS_A_BATCH`` tokens with padding."""
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    start = 0
    while start < len(order):
        size = max(1, TOKENS_A_BATCH // max(1, lengths[order[start]]))
        yield order[start : start + size]
        start += size
