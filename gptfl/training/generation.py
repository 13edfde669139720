"""Lets a model answer every test prompt: many rows at a time, keys and values cached, each row for itself."""

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from gptfl.curricula import generator
from gptfl.errors import DataError
from gptfl.records import Example, fingerprint
from gptfl.training.distributed import ALONE, Group
from gptfl.training.encoding import Tokenizer
from gptfl.training.layout import plan_batches, plan_shares
from gptfl.training.network import Network
from gptfl.training.references import references_of

TOP_P, TEMPERATURE = 0.95, 0.2
"""The paper's sampling."""
ROOM = 1.5
"""How much longer than the longest reference an answer may grow, unless told otherwise ..."""
MOST_TOKENS = 256
"""... but no longer than this."""
LIKELIEST = 128
"""The nucleus is looked for among this many tokens first: sorting the whole vocabulary takes far longer."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """How answers are made: ``greedy`` or ``nucleus``, at most ``tokens`` long (None: by the references).

    ``seed`` and each example's id and texts determine what ``nucleus`` draws.
    """

    how: str = "greedy"
    tokens: int | None = None
    seed: int = 0


class Prompts:
    """The test prompts as tokens, and where the answer to each ends.

    That is before the model's end-of-text token, at ``limit`` tokens, or where prompt and answer fill
    ``--max-length``. Where none of the example's references holds a line break, the answer is its first line, white
    space before it apart.
    """

    def __init__(self, tokenizer: Tokenizer, test: Sequence[Example], decoding: Decoding, choices: bool) -> None:
        self.tokenizer: Any = tokenizer.tokenizer
        references = [references_of(example) for example in test]
        self.limit = self._longest(references) if decoding.tokens is None else decoding.tokens
        self.ids = [tokenizer.pairs(example, "test", choices)[0] for example in test]
        self.rooms = [min(self.limit, tokenizer.max_length - len(ids)) for ids in self.ids]
        self.one_line = [not any("\n" in text for text in texts) for texts in references]
        self.uniforms = _draws(test, decoding.seed, self.limit) if decoding.how == "nucleus" else None
        self._breaks: dict[int, bool] = {}

    def _longest(self, references: Sequence[Sequence[str]]) -> int:
        encode = self.tokenizer.encode
        longest = max(len(encode(f" {text}", add_special_tokens=False)) for texts in references for text in texts)
        return min(MOST_TOKENS, math.ceil(ROOM * longest))

    def is_finished(self, index: int, answer: Sequence[int]) -> bool:
        """Whether nothing that may follow these tokens would count; asked of an answer at every token."""
        if len(answer) >= self.rooms[index]:
            return True
        if not self.one_line[index] or not self._breaks_line(answer[-1]):
            return False
        return "\n" in self._decode(answer).lstrip()

    def text(self, index: int, answer: Sequence[int]) -> str:
        """The answer in words, without the white space before it."""
        text = self._decode(answer).lstrip()
        return text.partition("\n")[0] if self.one_line[index] else text

    def _breaks_line(self, token: int) -> bool:
        if token not in self._breaks:
            self._breaks[token] = "\n" in self._decode([token])
        return self._breaks[token]

    def _decode(self, ids: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text


def _draws(test: Sequence[Example], seed: int, tokens: int) -> Float[np.ndarray, "test token"]:
    """A number from 0 to 1 for every token of every example: the same at every step and in every batch."""
    keys = [int(fingerprint(example.id, example.digest), 16) for example in test]
    return np.stack([generator(seed, key).random(tokens) for key in keys])


class Generator:
    """Answers the test prompts, batched once and for all; each process of a group its share.

    ``budget`` is the padded tokens of a batch, ``overhead`` what a pass through the model costs beside them.
    Prompts are read in groups of about one length, so that little padding is computed, and then decoded together,
    as many as the budget allows: a decoding step takes about as long for many rows as for one.
    """

    def __init__(self, network: Network, prompts: Prompts, budget: int, overhead: int, group: Group = ALONE) -> None:
        if group.shard:
            raise DataError(
                "--shard: a metric of generated text needs the whole model on each device",
                "leave --shard or this --metric out",
            )
        self.network = network
        self.prompts = prompts
        self.group = group
        self.budget, self.overhead = budget, overhead
        lengths = [len(ids) + room for ids, room in zip(prompts.ids, prompts.rooms, strict=True)]
        self.batches = plan_shares(lengths, budget, budget, group.size)[group.rank]
        self._ends = _end_tokens(network.model, prompts.tokenizer)
        takes = inspect.signature(network.model.forward).parameters
        self._last_only = {"logits_to_keep": 1} if "logits_to_keep" in takes else {}
        self._takes_positions = "position_ids" in takes

    def texts(self) -> tuple[str, ...]:
        """The model's answer to every test prompt now."""
        self.network.switch(training=False)
        mine = {
            index: self.prompts.text(index, ids)
            for members in self.batches
            for index, ids in zip(members, self.continuations(members), strict=True)
        }
        answers = {index: text for share in self.group.gathered(mine) for index, text in share.items()}
        return tuple(answers[index] for index in range(len(answers)))

    def continuations(self, members: Sequence[int], limit: int | None = None) -> list[list[int]]:
        """The tokens that follow these prompts, decoded together; at most ``limit``, where given.

        Rows leave the batch when they are finished.
        """
        answers: dict[int, list[int]] = {index: [] for index in members}
        with self.network.measuring(), self.network.autocast():
            active, logits, mask, cache = self._read(members)
            positions = mask.sum(dim=1, keepdim=True)
            for count in range(limit or self.prompts.limit):
                chosen = self._choose(logits, active, count)
                kept = []
                for place, (index, token) in enumerate(zip(active, chosen.tolist(), strict=True)):
                    if token not in self._ends:
                        answers[index].append(token)
                        if not self.prompts.is_finished(index, answers[index]):
                            kept.append(place)
                if not kept or count + 1 == limit:
                    break
                if len(kept) < len(active):
                    which = torch.tensor(kept, device=mask.device)
                    active = [active[place] for place in kept]
                    chosen, positions, mask = chosen[which], positions[which], mask[which]
                    cache.batch_select_indices(which)
                mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
                logits = self._logits(chosen[:, None], mask, positions, cache)
                positions = positions + 1
        return [answers[index] for index in members]

    def _read(
        self, members: Sequence[int]
    ) -> tuple[list[int], Float[Tensor, "row vocabulary"], Int[Tensor, "row width"], DynamicCache]:
        """The prompts in the order of their rows, what follows each, and all keys and values in one cache."""
        lengths = [len(self.prompts.ids[index]) for index in members]
        parts = []
        for group in self._groups(lengths):
            ids, mask = self._padded([self.prompts.ids[members[place]] for place in group])
            cache = DynamicCache(config=self.network.model.config)
            positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
            parts.append((group, self._logits(ids, mask, positions, cache), mask, cache))
        groups, logits, masks, caches = zip(*parts, strict=True)
        width = max(lengths)
        order = [members[place] for group in groups for place in group]
        mask = torch.cat([functional.pad(mask, (width - mask.shape[1], 0)) for mask in masks])
        return order, torch.cat(logits), mask, caches[0] if len(caches) == 1 else _joined(caches, width)

    def _groups(self, lengths: Sequence[int]) -> list[list[int]]:
        layers = DynamicCache(config=self.network.model.config).layers
        if any(type(layer) is not DynamicLayer for layer in layers):
            return [list(range(len(lengths)))]  # what such layers keep can't be put together afterwards
        return plan_batches(lengths, self.budget, self.overhead)

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
        self, logits: Float[Tensor, "row vocabulary"], examples: Sequence[int], count: int
    ) -> Int[Tensor, " row"]:
        """The next token of each row."""
        if self.prompts.uniforms is None:
            return logits.argmax(dim=-1)
        uniforms = torch.from_numpy(self.prompts.uniforms[list(examples), count]).to(logits.device)
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
    """Draw from the fewest tokens that have ``top_p`` of the probability together, by these numbers from 0 to 1.

    A token is in the nucleus if those likelier than it have less than ``top_p`` together (Holtzman et al., 2020).
    ``likeliest`` changes the speed, not the answer.
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
