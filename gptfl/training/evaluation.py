"""Measures every test example of a model, in the layout that costs least."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from gptfl.errors import DataError
from gptfl.interfaces import Metric, Observation
from gptfl.records import Example
from gptfl.training.encoding import Tokenizer, evaluation_rows
from gptfl.training.layout import plan_batches
from gptfl.training.network import Batch, Network


class NotFiniteError(DataError):
    """What was measured of a test example is not a finite number."""


class Evaluator:
    """The test set laid out once: tokenized, batched by length, hidden states below computed."""

    def __init__(
        self,
        network: Network,
        tokenizer: Tokenizer,
        test: Sequence[Example],
        metrics: Sequence[Metric],
        budget: int,
        overhead: int,
        generate_tokens: int,
    ) -> None:
        self.network = network
        self.tokenizer = tokenizer
        self.test = tuple(test)
        self.metrics = tuple(metrics)
        self.generate_tokens = generate_tokens
        needs = frozenset[str]().union(*(metric.needs for metric in metrics))
        self.generates = "generated" in needs
        self.choices = "choices" in needs
        self.layout = evaluation_rows(tokenizer, test, self.choices)
        rows = self.layout.rows
        order = plan_batches([len(row.input_ids) for row in rows], budget, overhead)
        hidden = network.lower(rows, order)
        self.batches = [
            Batch([rows[i] for i in batch], None if hidden is None else [hidden[i] for i in batch], network.device)
            for batch in order
        ]
        self.tokens = sum(batch.inputs.shape[0] * batch.inputs.shape[1] for batch in self.batches)
        """Padded tokens of one pass over the test set."""

    def observe(self) -> Observation:
        """What the model says of every test example now."""
        self.network.switch(training=False)
        sums = torch.zeros(self.layout.segments, dtype=torch.float64, device=self.network.device)
        with torch.inference_mode():
            for batch in self.batches:
                sums.index_add_(0, batch.segments, self.network.log_probs(batch).double())
        totals = sums.cpu().numpy()
        choices = self.layout.choice_segments
        return Observation(
            examples=self.test,
            target_log_prob=totals[: len(self.test)],
            target_tokens=self.layout.target_tokens,
            choice_log_probs=None if choices is None else tuple(totals[segments] for segments in choices),
            generated=self._generate() if self.generates else None,
        )

    def measure(self) -> dict[str, Float[np.ndarray, " test"]]:
        """Every metric of every test example, in float32.

        Raises ``NotFiniteError`` where a value isn't finite, or a log-probability that it may come from: a
        metric such as accuracy gives a number even for a model that is lost.
        """
        observation = self.observe()
        self._check_finite("log-probability", observation.target_log_prob)
        if observation.choice_log_probs is not None:
            sums = np.array([scores.sum() for scores in observation.choice_log_probs])
            self._check_finite("log-probability of a choice", sums)
        values = {metric.info.name: metric.measure(observation).astype(np.float32) for metric in self.metrics}
        for name, one in values.items():
            self._check_finite(name, one)
        return values

    def _check_finite(self, what: str, values: Float[np.ndarray, " test"]) -> None:
        bad = ~np.isfinite(values)
        if bad.any():
            which = int(bad.argmax())
            raise NotFiniteError(
                f"the {what} of test example {self.test[which].id!r} is {values[which]}",
                "look at this example, or try another --precision",
            )

    def _generate(self) -> tuple[str, ...]:
        """Greedy continuation of every test prompt, prompts of one length together (no padding)."""
        prompts = [self.tokenizer.pairs(example, "test", self.choices)[0] for example in self.test]
        texts = [""] * len(prompts)
        by_length: dict[int, list[int]] = {}
        for index, prompt in enumerate(prompts):
            by_length.setdefault(len(prompt), []).append(index)
        model: Any = self.network.model
        stop = self.tokenizer.tokenizer.eos_token_id
        for length, members in sorted(by_length.items()):
            ids = torch.tensor([prompts[i] for i in members], device=self.network.device)
            with torch.inference_mode(), self.network.autocast():
                out = model.generate(
                    input_ids=ids,
                    attention_mask=torch.ones_like(ids),
                    max_new_tokens=self.generate_tokens,
                    do_sample=False,
                    pad_token_id=stop if stop is not None else 0,
                )
            for index, line in zip(members, out[:, length:], strict=True):
                texts[index] = self.tokenizer.tokenizer.decode(line, skip_special_tokens=True)
        return tuple(texts)
