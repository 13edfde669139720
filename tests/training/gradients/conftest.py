"""Small networks in float64 with examples to differentiate at, and their gradients by autograd, one at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gptfl.core import Example
from gptfl.training.gradients.blocks import Arrangement, Weights, all_products
from gptfl.training.gradients.products import Products
from gptfl.training.gradients.sides import Side
from gptfl.training.gradients.tape import Tape
from gptfl.training.models import load_pretrained
from gptfl.training.names import resolve_model
from gptfl.training.network import Network
from gptfl.training.tokenization import Tokenizer, training_rows
from tests.models import save_small

PROMPTS = ("the sun is red ?", "who sees it", "the moon was blue and the sea is", "is it", "a land", "shine on yes yes")
TARGETS = (" yes", " red sea", " no", " blue moon and sun")


@dataclass
class Case:
    """A network, a pool and a test side, and one divisor for each weight."""

    network: Network
    pool: Side
    test: Side
    divisors: list[Tensor]

    @property
    def tolerance(self) -> float:
        """What is mere rounding; the norms of Llama and Gemma compute in float32 whatever their input."""
        return 1e-9 if any(isinstance(m, torch.nn.LayerNorm) for m in self.network.model.modules()) else 2e-5

    @property
    def tape(self) -> Tape:
        return Tape(self.network)

    def denominator(self, place: int, rows: slice, gradients: Tensor) -> Tensor:
        return self.divisors[place][rows].flatten()

    def losses(self, side: Side, example: int) -> Tensor:
        """The mean over the target's tokens, from a batch of one."""
        return -self.network.log_probs(side.take([example]).batch(self.network)).mean()

    def gradients(self, side: Side) -> Tensor:
        """(example, weight), one backward pass each."""
        rows = []
        for example in range(len(side)):
            found = torch.autograd.grad(self.losses(side, example), self.network.trainable, allow_unused=True)
            parts = zip(found, self.network.trainable, strict=True)
            rows.append(torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for g, p in parts]))
        return torch.stack(rows)


def make_case(folder: Path, top: int | None, lora: str | None = None, tests: Sequence[str] = PROMPTS[:5]) -> Case:
    """Everything in float64, so that what is left of a difference is a mistake."""
    loaded = load_pretrained(resolve_model(str(folder)), torch.device("cpu"))
    loaded.model.double()
    network = Network(loaded, top, "fp32", lora=lora)
    network.switch(training=False)
    tokenizer = Tokenizer(loaded.tokenizer, 64)
    sides = []
    for prompts, shift in ((PROMPTS, 0), (["the " + prompt for prompt in tests], 1)):
        examples = [Example(f"e{i}", text, TARGETS[(i + shift) % 4]) for i, text in enumerate(prompts)]
        rows = training_rows(tokenizer, examples)
        sides.append(Side(rows, network.lower(rows, [list(range(len(rows)))])))
    random = torch.Generator().manual_seed(3)
    divisors = [torch.rand(p.shape, generator=random, dtype=p.dtype) + 0.1 for p in network.trainable]
    return Case(network, sides[0], sides[1], divisors)


@pytest.fixture(scope="session", params=["gpt-neox", "llama", "gpt2", "gemma2"])
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untied (GPT-NeoX) and tied embeddings, fused and split projections, both kinds of norm."""
    return save_small(tmp_path_factory.mktemp(f"gradients-{request.param}"), request.param, blocks=2, width=16)


ROOM = 2**26


def compute(case: Case, divided: bool, memory: int = ROOM) -> Products:
    """All products, computed within so many bytes."""
    weights = Weights.measured(case.tape, case.pool)
    arrangement = Arrangement.fit(case.pool, case.test, weights, memory, divided)
    return all_products(case.tape, case.pool, case.test, case.denominator if divided else None, arrangement)


def assert_exact(case: Case, found: Products) -> None:
    """Products are those of autograd, one example at a time."""
    pool, test = case.gradients(case.pool), case.gradients(case.test)
    divisor = torch.cat([one.flatten() for one in case.divisors])
    pairs = [(found.raw, pool @ test.T), (found.own, pool.square().sum(dim=1))]
    if found.divided is not None:
        pairs += [(found.divided, (pool / divisor) @ test.T), (found.own_divided, (pool.square() / divisor).sum(dim=1))]
    for got, expected in pairs:
        off = case.tolerance
        torch.testing.assert_close(got, expected, rtol=off, atol=off * float(expected.abs().max()))


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    return make_case(save_small(tmp_path_factory.mktemp("sketch"), request.param, blocks=1, width=16), None)
