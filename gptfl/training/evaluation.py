"""Measures every test example of a model, in the layout that costs least."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float

from gptfl.core import Example
from gptfl.errors import DataError
from gptfl.plugins.interfaces import Metric, Observation
from gptfl.training.batching import plan_shares
from gptfl.training.distributed import ALONE, ProcessGroup
from gptfl.training.generation import Generator
from gptfl.training.models import check_tokens
from gptfl.training.network import Batch, Network
from gptfl.training.prompts import Decoding, Prompts
from gptfl.training.tokenization import Tokenizer, evaluation_rows

KEPT_TOKENS = 4
"""Generation keeps this many times the tokens that one batch of evaluation has: it keeps no logits but the last."""


class NotFiniteError(DataError):
    """What was measured of a test example is not a finite number."""


class Evaluator:
    """The test set laid out once: tokenized, batched by length, hidden states below computed.

    Each process of a group lays out and measures its share of the rows; the sums are everyone's.
    """

    def __init__(
        self,
        network: Network,
        tokenizer: Tokenizer,
        test: Sequence[Example],
        metrics: Sequence[Metric],
        budget: int,
        overhead: int,
        decoding: Decoding,
        group: ProcessGroup = ALONE,
    ) -> None:
        self.network = network
        self.group = group
        self.tokenizer = tokenizer
        self.test = tuple(test)
        self.metrics = tuple(metrics)
        needs = frozenset[str]().union(*(metric.needs for metric in metrics))
        self.choices = "choices" in needs
        self.layout = evaluation_rows(tokenizer, test, self.choices)
        rows = self.layout.rows
        check_tokens(network.loaded, ((*row.input_ids, *row.tokens) for row in rows))
        lengths = [len(row.input_ids) for row in rows]
        shares = plan_shares(lengths, budget, overhead, group.size)
        order = shares[group.rank]
        counted = len(order)
        if group.shard:
            order += [[0]] * (max(map(len, shares)) - counted)
        hidden = network.lower(rows, order)
        self.batches = [
            Batch([rows[i] for i in batch], None if hidden is None else [hidden[i] for i in batch], network.device)
            for batch in order
        ]
        for batch in self.batches[counted:]:  # computed for the others' sake; its sums are nobody's
            batch.segments.fill_(self.layout.segments)
        self.tokens = sum(len(batch) * max(lengths[i] for i in batch) for share in shares for batch in share)
        """Padded tokens of one pass over the test set, of all processes."""
        self.generator: Generator | None = None
        if "generated" in needs:
            prompts = Prompts(tokenizer, test, decoding, self.choices)
            self.generator = Generator(network, prompts, budget * KEPT_TOKENS, overhead, group)

    def observe(self, generate: bool = True) -> Observation:
        """What the model says of every test example now; texts only where a metric needs them and ``generate``."""
        self.network.switch(training=False)
        sums = torch.zeros(self.layout.segments + 1, dtype=torch.float64, device=self.network.device)
        with self.network.measuring():
            for batch in self.batches:
                sums.index_add_(0, batch.segments, self.network.log_probs(batch).double())
        self.group.add([sums])
        totals = sums[:-1].cpu().numpy()
        choices = self.layout.choice_segments
        return Observation(
            examples=self.test,
            target_log_prob=totals[: len(self.test)],
            target_tokens=self.layout.target_tokens,
            choice_log_probs=None if choices is None else tuple(totals[segments] for segments in choices),
            generated=self.generator.texts() if self.generator is not None and generate else None,
        )

    def measure(self, generate: bool = True) -> dict[str, Float[np.ndarray, " test"]]:
        """Every metric of every test example, in float32; without ``generate``, NaN for those of generated text.

        Raises ``NotFiniteError`` where a value isn't finite, or a log-probability that it may come from: a
        metric such as accuracy gives a number even for a model that is lost.
        """
        observation = self.observe(generate)
        self._check_finite("log-probability", observation.target_log_prob)
        if observation.choice_log_probs is not None:
            sums = np.array([scores.sum() for scores in observation.choice_log_probs])
            self._check_finite("log-probability of a choice", sums)
        values = {}
        for metric in self.metrics:
            name = metric.info.name
            if "generated" in metric.needs and not generate:
                values[name] = np.full(len(self.test), np.nan, dtype=np.float32)
                continue
            values[name] = metric.measure(observation).astype(np.float32)
            self._check_finite(name, values[name])
        return values

    def _check_finite(self, what: str, values: Float[np.ndarray, " test"]) -> None:
        bad = ~np.isfinite(values)
        if bad.any():
            which = int(bad.argmax())
            raise NotFiniteError(
                f"the {what} of test example {self.test[which].id!r} is {values[which]}",
                "look at this example, or try another --precision",
            )
