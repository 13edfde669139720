"""The examples to differentiate at, and how the network computes meanwhile."""

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from gptfl.training.batching import plan_batches
from gptfl.training.evaluation import Evaluator
from gptfl.training.forward import plain_experts
from gptfl.training.network import Batch, Network
from gptfl.training.token_rows import TokenRow
from gptfl.training.tokenization import Tokenizer, training_rows


@dataclass(frozen=True, slots=True)
class Side:
    """Token rows, one an example, and the hidden states below the trained blocks where there are."""

    rows: Sequence[TokenRow]
    hidden: Sequence[Tensor] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def lengths(self) -> list[int]:
        """Tokens that are fed for each example."""
        return [len(row.input_ids) for row in self.rows]

    def take(self, members: Sequence[int]) -> "Side":
        """Some of the examples."""
        hidden = None if self.hidden is None else [self.hidden[i] for i in members]
        return Side([self.rows[i] for i in members], hidden)

    def batch(self, network: Network) -> Batch:
        """All of them as one batch."""
        return Batch(self.rows, self.hidden, network.device)


def test_side(network: Network, tokenizer: Tokenizer, evaluator: Evaluator) -> Side:
    """The test examples, each with its own target alone, prompts cut as for the recorded losses."""
    rows = training_rows(tokenizer, evaluator.test, "test", evaluator.choices)
    return Side(rows, network.lower(rows, plan_batches([len(row.input_ids) for row in rows], 2048, 32)))


@contextlib.contextmanager
def measured_exactly(network: Network) -> Iterator[None]:
    """Within, the network computes in the precision of its weights and without dropout."""
    precision, network.precision = network.precision, "fp32"
    training = bool(network.model.training)
    network.switch(training=False)
    try:
        yield
    finally:
        network.precision = precision
        network.switch(training)


@contextlib.contextmanager
def computed_plainly(network: Network) -> Iterator[None]:
    """Within, the network computes by means that have a forward mode and second derivatives, as fused attention hasn't."""
    with sdpa_kernel(SDPBackend.MATH), plain_experts(network.model), _no_advice():
        yield


@contextlib.contextmanager
def _no_advice() -> Iterator[None]:
    """Silences what torch says of its own insides: which attention it left aside, and how it builds its forward mode."""
    with warnings.catch_warnings():
        for kind in (UserWarning, DeprecationWarning):
            warnings.filterwarnings("ignore", category=kind, module=r"torch|transformers|contextlib")
        yield
