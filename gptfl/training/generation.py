"""Lets a model answer every test prompt: many rows at a time, keys and values cached, each row for itself."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from gptfl.errors import DataError
from gptfl.training.batching import plan_shares
from gptfl.training.distributed import ALONE, ProcessGroup
from gptfl.training.network import Network
from gptfl.training.prompts import Prompts

TOP_P, TEMPERATURE = 0.95, 0.2
"""The paper's sampling."""
READ_SHARE = 4
"""Prompts are read in groups of at most this part of the budget, so that one finds room when some rows are finished."""
LIKELIEST = 128
"""The nucleus is looked for among this many tokens first: sorting the whole vocabulary takes far longer."""


@dataclass
class _Rows:
    """Rows that are decoded together: each one's text ends in the last column, and ``mask`` hides what is before.

    ``logits`` is what the model expects next in each; ``cache`` holds the keys and values of every column.
    """

    members: list[int]
    logits: Float[Tensor, "row vocabulary"]
    mask: Int[Tensor, "row width"]
    cache: DynamicCache

    def joined(self, other: "_Rows") -> "_Rows":
        """Both together, as wide as the wider."""
        width = max(self.mask.shape[1], other.mask.shape[1])
        mask = torch.cat([functional.pad(rows.mask, (width - rows.mask.shape[1], 0)) for rows in (self, other)])
        logits = torch.cat([self.logits, other.logits])
        return _Rows(self.members + other.members, logits, mask, _joined((self.cache, other.cache), width))

    def keep(self, places: Sequence[int], narrow: bool) -> None:
        """Only these rows go on; ``narrow`` drops the columns that are then hidden in all."""
        which = torch.tensor(places, device=self.mask.device)
        self.members = [self.members[place] for place in places]
        self.mask = self.mask[which]
        self.cache.batch_select_indices(which)
        hidden = self.mask.shape[1] - int(self.mask.sum(dim=1).max())
        if narrow and hidden:
            self.mask = self.mask[:, hidden:]
            for layer in self.cache.layers:
                layer.keys, layer.values = layer.keys[..., hidden:, :], layer.values[..., hidden:, :]


class Generator:
    """Answers the test prompts, many at a time; each process of a group its share.

    ``budget`` is the padded tokens that are kept at a time, ``overhead`` what a pass through the model costs beside
    them. Prompts are read in ``groups`` of about one length, so that little padding is computed, the longest first,
    and then decoded together, as many as the budget allows, for a decoding step takes about as long for many rows as
    for one. Where rows finish, the next group takes their place.
    """

    def __init__(
        self, network: Network, prompts: Prompts, budget: int, overhead: int, group: ProcessGroup = ALONE
    ) -> None:
        if group.shard:
            raise DataError(
                "--shard: a metric of generated text needs the whole model on each device",
                "leave --shard or this --metric out",
            )
        self.network = network
        self.prompts = prompts
        self.group = group
        self.budget = budget
        takes = inspect.signature(network.model.forward).parameters
        if "past_key_values" not in takes:
            raise DataError(
                f"{network.loaded.source.name}: {type(network.model).__name__} keeps no keys and values, which "
                "metrics of generated text are computed by",
                "leave this --metric out or choose another model",
            )
        layers = DynamicCache(config=network.model.config).layers
        # What other layers keep, such as a window, can't be put together afterwards.
        self._joins = all(type(layer) is DynamicLayer for layer in layers)
        lengths = (
            [len(ids) for ids in prompts.ids]
            if self._joins
            else [self.full_length(index) for index in range(len(prompts.ids))]
        )
        at_once = budget // READ_SHARE if self._joins else budget
        shares = plan_shares(lengths, at_once, overhead if self._joins else budget, group.size)
        self.groups = shares[group.rank][::-1]
        self.ends = _end_tokens(network.model, prompts.tokenizer)
        self._last_only = {"logits_to_keep": 1} if "logits_to_keep" in takes else {}
        self._takes_positions = "position_ids" in takes

    def full_length(self, index: int) -> int:
        """The tokens of a prompt and its longest answer."""
        return len(self.prompts.ids[index]) + self.prompts.rooms[index]

    def texts(self) -> tuple[str, ...]:
        """The model's answer to every test prompt now."""
        self.network.switch(training=False)
        mine = {index: self.prompts.text(index, ids) for index, ids in self.answers(self.groups).items()}
        answers = {index: text for share in self.group.gathered(mine) for index, text in share.items()}
        return tuple(answers[index] for index in range(len(answers)))

    def answers(self, groups: Sequence[Sequence[int]], limit: int | None = None) -> dict[int, list[int]]:
        """The tokens that follow the prompts of these groups; at most ``limit``, where given."""
        answers: dict[int, list[int]] = {index: [] for group in groups for index in group}
        waiting = [list(group) for group in groups][::-1]
        rows: _Rows | None = None
        with self.network.measuring(), self.network.autocast():
            while rows or waiting:
                while waiting and (rows is None or self._fit(rows.members + waiting[-1])):
                    read = self._read(waiting.pop())
                    rows = read if rows is None else rows.joined(read)
                if rows is not None:
                    rows = self.decode(rows, answers, limit)
        return answers

    def _fit(self, members: Sequence[int]) -> bool:
        return self._joins and len(members) * max(map(self.full_length, members)) <= self.budget

    def decode(self, rows: _Rows, answers: dict[int, list[int]], limit: int | None) -> _Rows | None:
        """One token more in every row; the rows that go on, None if all are finished."""
        chosen = self._choose(rows.logits, rows.members, [len(answers[index]) for index in rows.members])
        kept = []
        for place, (index, token) in enumerate(zip(rows.members, chosen.tolist(), strict=True)):
            if token not in self.ends:
                answers[index].append(token)
                if not self.prompts.is_finished(index, answers[index]) and len(answers[index]) != limit:
                    kept.append(place)
        if not kept:
            return None
        if len(kept) < len(rows.members):
            rows.keep(kept, self._joins)
            chosen = chosen[torch.tensor(kept, device=chosen.device)]
        positions = rows.mask.sum(dim=1, keepdim=True)
        rows.mask = torch.cat([rows.mask, rows.mask.new_ones(len(rows.mask), 1)], dim=1)
        rows.logits = self._logits(chosen[:, None], rows.mask, positions, rows.cache)
        return rows

    def _read(self, members: list[int]) -> _Rows:
        """These prompts, read together."""
        ids, mask = self._padded([self.prompts.ids[index] for index in members])
        cache = DynamicCache(config=self.network.model.config)
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        return _Rows(members, self._logits(ids, mask, positions, cache), mask, cache)

    def _padded(self, prompts: Sequence[list[int]]) -> tuple[Int[Tensor, "row width"], Int[Tensor, "row width"]]:
        """Token ids and mask of these prompts, which all end in the last column."""
        width = max(map(len, prompts))
        ids = torch.zeros(len(prompts), width, dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt) :] = torch.tensor(prompt)
            mask[row, width - len(prompt) :] = 1
        return ids.to(self.network.device), mask.to(self.network.device)

    def _logits(
        self, ids: Int[Tensor, "row token"], mask: Int[Tensor, "row seen"], positions: Tensor, cache: DynamicCache
    ) -> Float[Tensor, "row vocabulary"]:
        """What the model expects after these tokens; their keys and values join the cache."""
        more: dict[str, Any] = {"position_ids": positions} if self._takes_positions else {}
        out = self.network.model(
            input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True, **more, **self._last_only
        )
        logits: Tensor = out.logits[:, -1]
        return logits.float()

    def _choose(
        self, logits: Float[Tensor, "row vocabulary"], examples: Sequence[int], counts: Sequence[int]
    ) -> Int[Tensor, " row"]:
        """The next token of each row, of which there are so many already."""
        if self.prompts.uniforms is None:
            return logits.argmax(dim=-1)
        uniforms = torch.from_numpy(self.prompts.uniforms[list(examples), list(counts)]).to(logits.device)
        return nucleus(logits, uniforms)


def _joined(caches: Sequence[DynamicCache], width: int) -> DynamicCache:
    """One cache of the rows of several, each padded on the left to ``width`` tokens; the mask hides the padding."""
    joined = DynamicCache()
    for number in range(len(caches[0].layers)):
        layers = [cache.layers[number] for cache in caches]
        keys, values = (
            torch.cat([functional.pad(one, (0, 0, width - one.shape[-2], 0)) for one in kept])
            for kept in ([layer.keys for layer in layers], [layer.values for layer in layers])
        )
        joined.update(keys, values, number)
    return joined


def nucleus(
    logits: Float[Tensor, "row vocabulary"],
    uniforms: Float[Tensor, " row"],
    top_p: float = TOP_P,
    temperature: float = TEMPERATURE,
    likeliest: int = LIKELIEST,
) -> Int[Tensor, " row"]:
    """One token a row, drawn from the fewest that have ``top_p`` of the probability together (Holtzman et al., 2020).

    A token is in the nucleus if those likelier than it have less than ``top_p`` together.

    Args:
        logits: of the next token.
        uniforms: numbers from 0 to 1 that decide the draw.
        top_p: the share of the probability.
        temperature: divides the logits.
        likeliest: so many tokens are looked at first; it changes the speed, not the answer.
    """
    shares = (logits / temperature).softmax(dim=-1)
    top, tokens = shares.topk(min(likeliest, shares.shape[-1]), dim=-1)
    if (top.double().sum(dim=-1) < top_p).any():
        top, tokens = shares.sort(dim=-1, descending=True)
    reached = top.double().cumsum(dim=-1)
    inside = reached - top < top_p
    total = (top.double() * inside).sum(dim=-1)
    place = (reached <= (uniforms * total)[:, None]).sum(dim=-1)
    last = inside.sum(dim=-1) - 1
    return tokens.gather(-1, torch.minimum(place, last)[:, None])[:, 0]


def _end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """Every token that the model or its tokenizer calls the end of a text."""
    ends = [tokenizer.eos_token_id, model.config.eos_token_id]
    settings = getattr(model, "generation_config", None)
    ends.append(None if settings is None else settings.eos_token_id)
    listed = [end if isinstance(end, list) else [end] for end in ends]
    return frozenset(token for some in listed for token in some if token is not None)
