"""A causal language model as the recorder sees it: token rows in, asked log-probabilities out."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from gptfl.errors import DataError
from gptfl.training.distributed import local_part, whole
from gptfl.training.encoding import TokenRow
from gptfl.training.lora import attach, parse_lora
from gptfl.training.models import LoadedModel
from gptfl.training.precision import DTYPES

BLOCKS = ("layers", "h")
"""How decoders call the list of their blocks."""
TOLERANCE = 1e-3
"""How far two ways of computing the same log-probability may lie apart, in nats (float32)."""


class _BoundaryReached(Exception):
    """Stops a forward pass at the lowest trained block, whose input is all that was wanted."""


class Batch:
    """Rows padded on the right to one length, with the flat places of what is asked.

    Padding lies behind every asked position, so causal attention needs no mask. ``of`` is the number of
    examples of the whole batch where these rows are a part of it; infinite, they count nothing.
    """

    def __init__(
        self, rows: Sequence[TokenRow], hidden: Sequence[Tensor] | None, device: torch.device, of: float | None = None
    ) -> None:
        lengths = [len(row.input_ids) for row in rows]
        width = max(lengths)
        if hidden is None:
            ids = np.zeros((len(rows), width), dtype=np.int64)
            for line, row in zip(ids, rows, strict=True):
                line[: len(row.input_ids)] = row.input_ids
            self.inputs = torch.from_numpy(ids).to(device)
        else:
            self.inputs = nn.utils.rnn.pad_sequence(list(hidden), batch_first=True)
        flat = np.concatenate([index * width + row.positions for index, row in enumerate(rows)])
        self.places = torch.from_numpy(flat).to(device)
        self.tokens = torch.from_numpy(np.concatenate([row.tokens for row in rows])).to(device)
        self.segments = torch.from_numpy(np.concatenate([row.segments for row in rows])).to(device)
        counts = np.array([len(row.tokens) for row in rows])
        weights = np.repeat(1.0 / (counts * (len(rows) if of is None else of)), counts).astype(np.float32)
        self.weights = torch.from_numpy(weights).to(device)
        """Mean over examples of the mean over target tokens, as weights of the asked tokens."""


class Network:
    """The model, whole or from block ``-train_layers`` up, with its trainable weights kept aside.

    With ``train_layers`` only the top blocks and the final norm are trained, and rows enter as the
    hidden states below them (``lower``), computed once. With ``lora`` (as ``--lora`` takes it) the
    adapters alone are trained, in these blocks or all; their first values depend on ``seed``. Raises
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
    ) -> None:
        self.loaded = loaded
        self.model: Any = loaded.model
        self.device: torch.device = next(self.model.parameters()).device
        self.train_layers = train_layers
        self.precision = precision
        self.sharded = False
        self.base: Any = self.model.base_model
        self.head: nn.Module = self.model.get_output_embeddings()
        self.top: _Top | None = None if train_layers is None else _Top(self.base, train_layers)
        if lora is None:
            self._mark_trainable()
        else:
            attach(self.model, parse_lora(lora), None if self.top is None else list(self.top.blocks), seed)
        self._scorer = _Scorer(self)
        self._remember()

    def _remember(self) -> None:
        """Note the trainable weights, by name and in order, and keep their values."""
        named = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        self.names = list(named)
        self.trainable = list(named.values())
        self._initial = [local_part(p.detach()).clone() for p in self.trainable]

    def shard(self, device: torch.device) -> None:
        """Spread the weights over the processes, each keeping its part on ``device`` (FSDP).

        From now on every process must compute as many batches as the others, and log-probabilities
        come from ``log_probs`` alone.
        """
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh(device.type, (torch.distributed.get_world_size(),))
        blocks = decoder_blocks(self.base)
        if not blocks:
            raise DataError(f"--shard: {type(self.base).__name__} has no blocks that gptfl knows", "leave --shard out")
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
        for module in (*self.top.blocks, self.top.norm):
            module.requires_grad_(True)

    def restore(self) -> None:
        """Put the initial weights back, from memory."""
        with torch.no_grad():
            torch._foreach_copy_([local_part(p) for p in self.trainable], self._initial)

    @property
    def drops(self) -> bool:
        """Whether training draws random numbers for dropout."""
        return any(isinstance(module, nn.Dropout) and module.p > 0 for module in self.model.modules())

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

    def log_probs(self, batch: Batch) -> Float[Tensor, " asked"]:
        """Log-probability of each asked token; logits are computed at asked positions only."""
        with self.autocast():
            logits = self._scorer(batch.inputs, batch.places)
        return -nn.functional.cross_entropy(_full(logits), batch.tokens, reduction="none")

    def loss(self, batch: Batch) -> Float[Tensor, ""]:
        """Mean over the batch's examples of the mean over their target tokens."""
        return -(self.log_probs(batch) * batch.weights).sum()

    def check(self, row: TokenRow) -> None:
        """Hold the short way of computing log-probabilities against the model's own forward pass."""
        precision, self.precision = self.precision, "fp32"
        with torch.no_grad():
            ids = torch.tensor([row.input_ids], device=self.device)
            logits = _full(self.model(input_ids=ids, use_cache=False).logits[0])
            tokens = torch.from_numpy(row.tokens).to(self.device)
            whole = logits[torch.from_numpy(row.positions).to(self.device)].log_softmax(-1)
            expected = whole.gather(1, tokens[:, None])[:, 0]
            got = self.log_probs(Batch([row], self.lower([row], [[0]]), self.device))
        self.precision = precision
        if not torch.allclose(got, expected, atol=TOLERANCE, rtol=TOLERANCE):
            how = "" if self.top is None else f" with --train-layers {self.train_layers}"
            raise DataError(
                f"{self.loaded.source.name}: architecture {type(self.model).__name__} can't be recorded{how}",
                "its log-probabilities differ from the model's own; leave --train-layers out or choose another model",
            )


def decoder_blocks(base: Any) -> nn.ModuleList:
    """The blocks of a decoder, from below; none where gptfl doesn't know where they are."""
    lists = (getattr(base, name, None) for name in BLOCKS)
    return next((blocks for blocks in lists if isinstance(blocks, nn.ModuleList)), nn.ModuleList())


def _full(values: Tensor) -> Tensor:
    """In float32, or better where they are."""
    return values if values.dtype == torch.float64 else values.float()


class _Scorer(nn.Module):
    """From a batch's inputs to logits at the asked places, as one module: sharding gathers what it holds."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.top: Any = network.top
        self.base, self.head = network.base, network.head

    def forward(self, inputs: Tensor, places: Tensor) -> Tensor:
        """Logits at the flat ``places`` of inputs: token ids, or hidden states below the trained blocks."""
        if not inputs.is_floating_point():
            hidden = self.base(input_ids=inputs, use_cache=False).last_hidden_state
        else:
            with self.top.alone():
                hidden = self.base(inputs_embeds=inputs, use_cache=False).last_hidden_state
        logits: Tensor = self.head(hidden.flatten(0, 1)[places])
        return logits


class _Top:
    """The top blocks of a decoder, run alone on the hidden states that enter them."""

    def __init__(self, base: Any, count: int) -> None:
        self.base = base
        self.name = next((name for name in BLOCKS if isinstance(getattr(base, name, None), nn.ModuleList)), "")
        norms = [getattr(base, name) for name in ("norm", "final_layer_norm", "ln_f") if hasattr(base, name)]
        if not self.name or not norms:
            raise DataError(
                f"--train-layers: {type(base).__name__} has no blocks that gptfl knows", "leave --train-layers out"
            )
        self.whole = getattr(base, self.name)
        self.norm: nn.Module = norms[0]
        if not 1 <= count <= len(self.whole):
            raise DataError(f"--train-layers {count}: the model has {len(self.whole)} blocks", "ask for fewer")
        self.blocks = nn.ModuleList(self.whole[-count:])
        # GPT-2 adds positions to whatever enters; the hidden states have theirs already.
        self._replaced: dict[str, nn.Module] = {self.name: self.blocks}
        if isinstance(getattr(base, "wpe", None), nn.Embedding):
            self._replaced["wpe"] = _NoPositions()

    def states_below(self, ids: Tensor, through: nn.Module | None = None) -> Tensor:
        """What enters the lowest trained block for these token ids, in float32.

        A sharded model has to be run ``through`` to its end, or it would be left half gathered.
        """
        caught: list[Tensor] = []

        def catch(module: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
            caught.append(args[0] if args else kwargs["hidden_states"])
            if through is None:
                raise _BoundaryReached

        handle = self.blocks[0].register_forward_pre_hook(catch, with_kwargs=True)
        try:
            with torch.no_grad(), contextlib.suppress(_BoundaryReached):
                if through is None:
                    self.base(input_ids=ids, use_cache=False)
                else:
                    through(ids, torch.zeros(1, dtype=torch.int64, device=ids.device))
        finally:
            handle.remove()
        return _full(caught[0])

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Within, the model's body consists of the top blocks and the final norm."""
        kept = {name: getattr(self.base, name) for name in self._replaced}
        try:
            for name, module in self._replaced.items():
                setattr(self.base, name, module)
            yield
        finally:
            for name, module in kept.items():
                setattr(self.base, name, module)


class _NoPositions(nn.Module):
    """Stands in for learned positions where the input has them already."""

    def forward(self, position_ids: Tensor) -> Tensor:
        return torch.zeros((), device=position_ids.device)
