"""What a model makes of the target it is to give: its state there, how sure it is, and where it errs."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from gptfl.core import Dynamics, Example, FeatureSet, Progress, silent
from gptfl.errors import DataError
from gptfl.plugins import settings
from gptfl.plugins.interfaces import EncoderTags

if TYPE_CHECKING:
    import torch

    from gptfl.training.token_rows import TokenRow


STATISTICS = ("loss", "probability", "entropy", "margin")
"""The mean over a target's tokens of: minus its log-probability, its probability, the entropy of the distribution
(in nats), and its logit less that of the likeliest other token."""
MAX_LENGTH = 2048
PROJECTION = 31
"""What the random numbers of the projection of errors are for."""
TOKENS = 256
"""Target tokens whose logits are in memory at a time."""
EXAMPLES = 4096
"""Examples whose tokens are in memory at a time."""
CLOSE = 1e-3
"""How far two ways of computing the same logits may lie apart."""


class AnswerState:
    """Three sets of what ``model`` (by default the recorded one, before any training) does at the target's tokens.

    ``state``: the last hidden state that predicts each token, averaged over the target. ``statistics``: see
    ``STATISTICS``. ``error``: a random projection to ``dimensions`` numbers of the mean of (p - y) ⊗ h over the
    target, p being the predicted distribution, y the token and h the state: the exact gradient of the loss by the
    weights of the output layer. Prompts are cut as ``collect`` cuts them, by default to its ``--max-length``.
    """

    name: ClassVar[str] = "answer-state"
    tags: ClassVar[EncoderTags] = EncoderTags(per_example=True)

    def __init__(
        self, model: str | None = None, dimensions: int = 2048, max_length: int | None = None, device: str = "auto"
    ) -> None:
        who = f"encoder {self.name}"
        self.model = None if model is None else settings.text(who, "model", model)
        self.dimensions = settings.whole(who, "dimensions", dimensions, low=1)
        self.max_length = None if max_length is None else settings.whole(who, "max_length", max_length, low=2)
        self.device = settings.text(who, "device", device)
        self.progress: Progress = silent
        self._recorded: object = None
        self._turns: dict[str, Any] = {}
        self._recorded_sides: tuple[Sequence[Example], ...] = ()

    def use_recording(self, recording: Dynamics) -> None:
        """Take model and length of a recording where none were set. Raises ``DataError`` where it names no model."""
        known = recording.settings
        self._recorded_sides = recording.pool, recording.test
        self._turns = {"end_token": known.get("end_token"), "template": known.get("chat_template")}
        if self.model is None:
            from gptfl.training.named import model_in_file

            where = "encoder answer-state: the recording"
            self.model = model_in_file(known.model or None, known.source, where, "--set model=")
            self._recorded = known.weights
        if self.max_length is None:
            length = known.max_length
            self.max_length = length if length is not None and length > 1 else MAX_LENGTH

    def identity(self) -> Mapping[str, Any]:
        """The hash of the weights, and the settings.

        The recording's examples change it where their tokens are others than those that older features were made by.
        """
        other: dict[str, Any] = {"tokenization": "whole text"} if self._differ() else {}
        other |= {name: value for name, value in self._turns.items() if value is not None}
        return {
            "encoder": self.name,
            "model": self.model,
            "weights": self._loaded.weights_hash,
            "dimensions": self.dimensions,
            "max_length": self._length,
            **other,
        }

    def _differ(self) -> bool:
        """Whether recorded examples have other tokens than those that older features were made by; some are read at a time."""
        for side in self._recorded_sides:
            for start in range(0, len(side), EXAMPLES):
                if self._tokenizer.differing([one for one in side[start : start + EXAMPLES] if one.text]):
                    return True
                self._tokenizer.forget()
        return False

    @property
    def notes(self) -> list[str]:
        """What the model's name stands for, and what was cut."""
        return [*self._loaded.notes, *self._tokenizer.notes]

    def encode(self, pool: Sequence[Example], test: Sequence[Example]) -> Mapping[str, FeatureSet]:
        """The sets ``state``, ``statistics`` and ``error``. Raises ``DataError`` for a target that can't be fed."""
        from gptfl.training.models import check_causal, check_tokens
        from gptfl.training.tokenization import training_rows

        check_causal(self._loaded)
        self._tokenizer.forget()
        rows: list[TokenRow] = []
        for examples, flag in ((pool, "pool"), (test, "test")):
            self._tokenizer.read(examples, flag)
            rows += training_rows(self._tokenizer, examples, flag)
        check_tokens(self._loaded, ((*row.input_ids, *row.tokens) for row in rows))
        found = self._answers(rows)
        kinds = {"state": "state", "statistics": "state", "error": "gradient"}
        return {
            name: FeatureSet(found[name][: len(pool)], found[name][len(pool) :], kind) for name, kind in kinds.items()
        }

    def _answers(self, rows: "Sequence[TokenRow]") -> dict[str, np.ndarray]:
        import torch

        from gptfl.training.batching import plan_batches
        from gptfl.training.network import Batch

        model = self._loaded.model
        errors = ErrorSketch(model.get_output_embeddings(), model.config.hidden_size, self.dimensions)
        state = np.zeros((len(rows), model.config.hidden_size), dtype=np.float32)
        statistics = np.zeros((len(rows), len(STATISTICS)), dtype=np.float32)
        error = np.zeros((len(rows), self.dimensions), dtype=np.float32)
        done = 0
        with torch.inference_mode():
            self._check(rows[0])
            for members in plan_batches([len(row.input_ids) for row in rows], 2048, 32):
                batch = Batch([rows[i] for i in members], None, model.device)
                counts = torch.tensor([len(rows[i].tokens) for i in members], device=model.device)
                owners = torch.repeat_interleave(torch.arange(len(members), device=model.device), counts)
                weights = (1.0 / counts)[owners]
                hidden = self._hidden(batch.inputs)[batch.places]
                sums = torch.zeros(len(members), hidden.shape[1], device=hidden.device)
                state[members] = sums.index_add_(0, owners, hidden * weights[:, None]).cpu().numpy()
                values, projected = errors(hidden, batch.tokens, owners, weights, len(members))
                statistics[members], error[members] = values.cpu().numpy(), projected.cpu().numpy()
                done += len(members)
                self.progress("featurize", done, len(rows))
        return {"state": state, "statistics": statistics, "error": error}

    def _hidden(self, inputs: "torch.Tensor") -> "torch.Tensor":
        """(place, width) last hidden states, as they enter the output layer."""
        body = self._loaded.model.base_model
        states: torch.Tensor = body(input_ids=inputs, use_cache=False).last_hidden_state.flatten(0, 1).float()
        return states

    def _check(self, row: "TokenRow") -> None:
        """Hold the output layer's logits against the model's own."""
        import torch

        model = self._loaded.model
        ids = torch.tensor([row.input_ids], device=model.device)
        places = torch.from_numpy(row.positions).to(model.device)
        expected = model(input_ids=ids, use_cache=False).logits[0, places].float().log_softmax(-1)
        got = model.get_output_embeddings()(self._hidden(ids)[places]).float().log_softmax(-1)
        if not torch.allclose(got, expected, atol=CLOSE, rtol=CLOSE):
            raise DataError(
                f"encoder answer-state: {type(model).__name__} does more between its last state and its logits than "
                "one layer",
                "choose another model or encoder",
            )

    @property
    def _length(self) -> int:
        return int(self._tokenizer.max_length)

    @cached_property
    def _tokenizer(self) -> Any:
        from gptfl.training.model_config import longest_input
        from gptfl.training.tokenization import Tokenizer

        most = longest_input(self._loaded.model.config)
        return Tokenizer(self._loaded.tokenizer, self.max_length or MAX_LENGTH, most, "max_length", **self._turns)

    @cached_property
    def _loaded(self) -> Any:
        from gptfl.training.load import load_model

        if self.model is None:
            raise DataError("encoder answer-state needs a model", "name one: --set model=pythia-70m")
        loaded = load_model(self.model, device=self.device, progress=self.progress)
        if self._recorded is not None and loaded.weights_hash != self._recorded:
            raise DataError(
                f"encoder answer-state: {self.model} has other weights ({loaded.weights_hash}) than the recording was "
                f"made with ({self._recorded})",
                "put back the model that was recorded, or name one: --set model=pythia-70m",
            )
        return loaded


class ErrorSketch:
    """Statistics of the predicted distributions, and the projected gradient of the output layer's weights.

    The projection is a tensor sketch (Pham and Pagh, 2013): count sketches of p - y and of h, convolved. Its dot
    products are right on average over ``seed``.
    """

    def __init__(self, head: Any, width: int, dimensions: int, seed: int = PROJECTION) -> None:
        import torch

        self.head, self.dimensions = head, dimensions
        like = next(head.parameters())
        random = torch.Generator().manual_seed(seed)
        self.buckets, self.signs = [], []
        for size in (self.head.weight.shape[0], width):
            self.buckets.append(torch.randint(0, dimensions, (size,), generator=random).to(like.device))
            self.signs.append((torch.randint(0, 2, (size,), generator=random) * 2.0 - 1).to(like.device))

    def __call__(
        self,
        hidden: "torch.Tensor",
        tokens: "torch.Tensor",
        owners: "torch.Tensor",
        weights: "torch.Tensor",
        examples: int,
    ) -> "tuple[torch.Tensor, torch.Tensor]":
        """(example, statistic) and (example, dimension), from the tokens' states; ``owners`` are their examples."""
        import torch

        statistics = hidden.new_zeros(examples, len(STATISTICS))
        waves = torch.zeros(examples, self.dimensions // 2 + 1, dtype=torch.complex64, device=hidden.device)
        for first in range(0, len(hidden), TOKENS):
            part = slice(first, first + TOKENS)
            logits = self.head(hidden[part]).float()
            logs = logits.log_softmax(-1)
            chances = logs.exp()
            at = tokens[part, None]
            target = logits.gather(1, at)
            errors = [
                -logs.gather(1, at),
                chances.gather(1, at),
                -(chances * logs.clamp(min=-1e4)).sum(1, keepdim=True),
                target - logits.scatter(1, at, -torch.inf).amax(1, keepdim=True),
            ]
            statistics.index_add_(0, owners[part], torch.cat(errors, 1) * weights[part, None])
            chances.scatter_add_(1, at, -torch.ones_like(target))
            product = self._count(chances, 0) * self._count(hidden[part], 1)
            waves.index_add_(0, owners[part], product * weights[part, None])
        return statistics, torch.fft.irfft(waves, n=self.dimensions)

    def _count(self, values: "torch.Tensor", side: int) -> "torch.Tensor":
        """The transform of the values' count sketch."""
        import torch

        binned = values.new_zeros(self.dimensions, len(values))
        binned.index_add_(0, self.buckets[side], (values * self.signs[side]).T.contiguous())
        transformed: torch.Tensor = torch.fft.rfft(binned.T.contiguous())
        return transformed
