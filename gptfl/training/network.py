"""A causal language model as the recorder sees it: token rows in, asked log-probabilities out."""

import contextlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from gptfl.errors import DataError
from gptfl.training.distributed import local_part, whole
from gptfl.training.forward import arguments, ends, explained, make_plain
from gptfl.training.lora import attach, parse_lora
from gptfl.training.models import LoadedModel, check_causal
from gptfl.training.precision import DTYPES
from gptfl.training.quantised import quantise
from gptfl.training.scorer import Scorer
from gptfl.training.token_rows import TokenRow
from gptfl.training.top import Top, check_count, decoder_blocks

TOLERANCE = 1e-3
"""How far two ways of computing the same log-probability may lie apart, in nats (float32)."""


class Batch:
    """Rows padded on the right to one length, with the flat places of what is asked.

    ``inputs`` are token ids; ``hidden``, where it is given, the states that enter the lowest trained block for them.
    Padding lies behind every asked position, so causal attention needs no mask. ``of`` is the number of
    examples of the whole batch where these rows are a part of it; infinite, they count nothing. With ``per_token`` the
    loss is the mean over all target tokens, and ``of`` their number.
    """

    def __init__(
        self,
        rows: Sequence[TokenRow],
        hidden: Sequence[Tensor] | None,
        device: torch.device,
        of: float | None = None,
        per_token: bool = False,
    ) -> None:
        lengths = [len(row.input_ids) for row in rows]
        width = max(lengths)
        ids = np.zeros((len(rows), width), dtype=np.int64)
        for line, row in zip(ids, rows, strict=True):
            line[: len(row.input_ids)] = row.input_ids
        self.inputs = torch.from_numpy(ids).to(device)
        self.hidden = None if hidden is None else nn.utils.rnn.pad_sequence(list(hidden), batch_first=True)
        flat = np.concatenate([index * width + row.positions for index, row in enumerate(rows)])
        self.places = torch.from_numpy(flat).to(device)
        self.tokens = torch.from_numpy(np.concatenate([row.tokens for row in rows])).to(device)
        self.segments = torch.from_numpy(np.concatenate([row.segments for row in rows])).to(device)
        counts = np.array([len(row.tokens) for row in rows])
        self.counts = torch.from_numpy(counts)
        """Target tokens of each row, on the CPU."""
        if per_token:
            each = np.full(len(rows), 1.0 / (counts.sum() if of is None else of))
        else:
            each = 1.0 / (counts * (len(rows) if of is None else of))
        weights = np.repeat(each, counts).astype(np.float32)
        self.weights = torch.from_numpy(weights).to(device)
        """Mean over examples of the mean over target tokens, or over these, as weights of the asked tokens."""


class Network:
    """The model, whole or from block ``-train_layers`` up, with its trainable weights kept aside.

    With ``train_layers`` only the top blocks and the final norm are trained, and rows come with the
    hidden states below them (``lower``), computed once. With ``lora`` (as ``--lora`` takes it) the
    adapters alone are trained, in these blocks or all; their first values depend on ``seed``. Without ``dropout``
    neither the model nor its adapters drop anything while they are trained. With ``quantize`` weights beneath the adapters
    are kept in few bits. Raises
    ``DataError`` where the architecture can't be taken apart so that both ways give the same log-probabilities.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        train_layers: int | None,
        precision: str,
        *,
        lora: str | None = None,
        seed: int = 0,
        dropout: bool = True,
        quantize: str | None = None,
    ) -> None:
        self.loaded = loaded
        self.dropout = dropout
        self.model: Any = loaded.model
        self.device: torch.device = next(self.model.parameters()).device
        self.train_layers = train_layers
        self.precision = precision
        self.sharded = False
        make_plain(self.model)
        if train_layers is not None:
            check_count(self.model, train_layers)
        with explained(self._refusal):
            self._check_steady()
            check_causal(loaded)
        if quantize is not None:
            quantise(self.model, quantize, precision, loaded.source.name)
        self.head: nn.Module | None = self.model.get_output_embeddings()
        self.top: Top | None = None
        if train_layers is not None:
            with explained(self._refusal_of_top):
                self.top = Top(self.model, train_layers)
        if lora is None:
            self._mark_trainable()
        else:
            attach(self.model, parse_lora(lora), None if self.top is None else list(self.top.blocks), seed)
        self._scorer = Scorer(self.model, self.top)
        self._remember()

    def _remember(self) -> None:
        """Note the trainable weights, by name and in order, and keep their values."""
        named = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        self.names = list(named)
        self.trainable = list(named.values())
        self.initial = [local_part(p.detach()).clone() for p in self.trainable]

    def train_only(self, names: Collection[str]) -> None:
        """Train no weights but these, from what they are now."""
        for name, weight in zip(self.names, self.trainable, strict=True):
            weight.requires_grad_(name in names)
        self._remember()

    def shard(self, device: torch.device) -> None:
        """Spread the weights over the processes, each keeping its part on ``device`` (FSDP).

        From now on every process must compute as many batches as the others, and log-probabilities
        come from ``log_probs`` alone.
        """
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh(device.type, (torch.distributed.get_world_size(),))
        blocks = decoder_blocks(self.model)
        if not blocks:
            raise DataError(
                f"--shard: gptfl finds no list of blocks in {type(self.model).__name__}", "leave --shard out"
            )
        for block in blocks:
            fully_shard(block, mesh=mesh, reshard_after_forward=True)
        # Kept unsharded after a measurement, the rest would miss what restore() puts back.
        fully_shard(self._scorer, mesh=mesh, reshard_after_forward=True)
        self.device = device
        self.sharded = True
        self._remember()

    def _mark_trainable(self) -> None:
        if self.top is None:
            self.model.requires_grad_(True)
            return
        self.model.requires_grad_(False)
        for module in self.top.trained:
            module.requires_grad_(True)

    def restore(self) -> None:
        """Put the initial weights back, from memory."""
        with torch.no_grad():
            torch._foreach_copy_([local_part(p) for p in self.trainable], self.initial)

    @property
    def head_shape(self) -> tuple[int, int]:
        """Words and width of the output layer, or of the embedding where gptfl doesn't know that layer."""
        layer = self.head or self.model.get_input_embeddings()
        words, width = next(p.shape for p in layer.parameters() if p.dim() == 2)
        return int(words), int(width)

    @property
    def drops(self) -> bool:
        """Whether training draws random numbers for dropout."""
        return self.dropout and any(isinstance(module, nn.Dropout) and module.p > 0 for module in self.model.modules())

    def weights(self) -> dict[str, Tensor]:
        """The trainable weights by name, on the CPU; every process must ask where they are sharded."""
        pairs = zip(self.names, self.trainable, strict=True)
        return {name: whole(weight.detach()).cpu() for name, weight in pairs}

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Put in trainable weights that ``weights`` gave."""
        with torch.no_grad():
            for name, weight in zip(self.names, self.trainable, strict=True):
                weight.copy_(weights[name])

    def measuring(self) -> contextlib.AbstractContextManager[Any]:
        """Within, nothing is kept for gradients."""
        # FSDP gathers weights into tensors that training goes on with, which inference mode would forbid.
        return torch.no_grad() if self.sharded else torch.inference_mode()

    def switch(self, training: bool) -> None:
        """Turn dropout on for a training step, off for a measurement."""
        # Out of training mode, models drop nothing, by whatever means they do it.
        training = training and self.dropout
        if self.model.training != training:
            self.model.train(training)

    def lower(self, rows: Sequence[TokenRow], batches: Sequence[Sequence[int]]) -> list[Tensor] | None:
        """Hidden states below the trained blocks, a (tokens, width) tensor a row; None if all is trained."""
        if self.top is None:
            return None
        hidden: list[Tensor] = [torch.empty(0)] * len(rows)
        for batch in batches:
            inputs = Batch([rows[i] for i in batch], None, self.device).inputs
            with self.autocast():
                states = self.top.states_below(inputs, self._scorer if self.sharded else None)
            for state, index in zip(states, batch, strict=True):
                hidden[index] = state[: len(rows[index].input_ids)].clone()
        return hidden

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Mixed precision where asked for; master weights stay in float32."""
        if self.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, DTYPES[self.precision])

    def logits(self, batch: Batch) -> Float[Tensor, "asked vocabulary"]:
        """What the model says of the next token at each asked position; computed at no others."""
        with self.autocast():
            found: Tensor = self._scorer(batch.inputs, batch.places, batch.hidden)[0]
        return _full(found)

    def log_probs(self, batch: Batch) -> Float[Tensor, " asked"]:
        """Log-probability of each asked token."""
        return -nn.functional.cross_entropy(self.logits(batch), batch.tokens, reduction="none")

    def loss(self, batch: Batch) -> Float[Tensor, ""]:
        """Mean over the batch's examples of the mean over their target tokens, or over all target tokens."""
        return -(self.log_probs(batch) * batch.weights).sum()

    def check(self, rows: Sequence[TokenRow]) -> None:
        """Hold the short way of computing log-probabilities against the model's own forward pass, row by row.

        The longest of the rows is among those that are tried, for windows of attention show in it alone. Raises
        ``DataError`` where they differ or aren't finite, and where the model can't be trained.
        """
        order = sorted(range(len(rows)), key=lambda i: len(rows[i].input_ids))
        chosen = [rows[i] for i in dict.fromkeys((order[-1], order[0], order[len(order) // 2]))]
        precision, self.precision = self.precision, "fp32"
        with torch.no_grad(), explained(self._refusal):
            expected = torch.cat([self._own(row) for row in chosen])
        if not torch.isfinite(expected).all():
            raise self._refusal("its log-probabilities aren't finite before any training; are its weights whole?")
        with torch.no_grad(), explained(self._refusal_of_top):
            got = self.log_probs(Batch(chosen, self.lower(chosen, [range(len(chosen))]), self.device))
        self.precision = precision
        if not torch.allclose(got, expected, atol=TOLERANCE, rtol=TOLERANCE):
            far = float((got - expected).abs().max())
            raise self._refusal_of_top(
                f"log-probabilities computed in batches differ from the model's own by {far:.2g}"
            )
        if not all(torch.equal(local_part(p), was) for p, was in zip(self.trainable, self.initial, strict=True)):
            raise self._refusal("computing changes its weights")
        with explained(self._refusal_of_top):
            self._check_trainable(rows[order[-1]])

    def _check_trainable(self, row: TokenRow) -> None:
        """Try whether the loss can be differentiated, in training mode."""
        batch = Batch([row], self.lower([row], [[0]]), self.device)
        self.switch(training=True)
        # Dropout draws its masks, and no run's own numbers may depend on that.
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            found = torch.autograd.grad(self.loss(batch), self.trainable, allow_unused=True)
        self.switch(training=False)
        if all(gradient is None for gradient in found):
            raise self._refusal("its loss depends on no trained weight")

    def _own(self, row: TokenRow) -> Float[Tensor, " asked"]:
        """The asked log-probabilities of one row, as the model's own forward pass gives them."""
        first = int(row.positions.min())
        logits = self._logits(row.input_ids, **ends(self.model, len(row.input_ids) - first))
        target_logits = logits[first - len(row.input_ids) :][torch.from_numpy(row.positions - first).to(self.device)]
        return target_logits.log_softmax(-1).gather(1, torch.from_numpy(row.tokens).to(self.device)[:, None])[:, 0]

    def _logits(self, ids: Sequence[int], **more: Any) -> Float[Tensor, "token vocabulary"]:
        given = torch.tensor([ids], device=self.device)
        return _full(self.model(input_ids=given, **arguments(self.model), **more).logits[0])

    def _check_steady(self) -> None:
        """The same question has to get the same answer."""
        self.switch(training=False)
        with torch.no_grad():
            one, again = (self._logits([0, 1, 0, 1]).log_softmax(-1) for _ in range(2))
        if not torch.allclose(one, again, atol=TOLERANCE, rtol=TOLERANCE, equal_nan=True):
            raise self._refusal("it gives other log-probabilities each time it is asked the same")

    def _refusal(self, why: str) -> DataError:
        name, kind = self.loaded.source.name, type(self.model).__name__
        return DataError(f"{name}: architecture {kind} can't be recorded: {why}", "choose another model")

    def _refusal_of_top(self, why: str) -> DataError:
        """The same, where it may be for the sake of --train-layers."""
        if self.train_layers is None:
            return self._refusal(why)
        name, kind = self.loaded.source.name, type(self.model).__name__
        return DataError(
            f"{name}: architecture {kind} can't be recorded with --train-layers {self.train_layers}: {why}",
            "leave --train-layers out, or choose another model",
        )


def _full(values: Tensor) -> Tensor:
    """In float32, or better where they are."""
    return values if values.dtype == torch.float64 else values.float()
