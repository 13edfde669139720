"""Hidden states of any causal language model."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

from gptfl.core import Example, FeatureSet, Progress, silent
from gptfl.encoders.texts import PARTS, text_of
from gptfl.encoders.transformer import Cuts, Embedder
from gptfl.errors import DataError, UsageError
from gptfl.plugins import settings
from gptfl.plugins.interfaces import EncoderTags


class CausalLm:
    """The hidden states of ``model`` (any name that ``gptfl collect --model`` takes), one vector a text.

    ``token`` is ``last``, as in the paper's code, or ``mean`` over tokens; ``layer`` counts as in
    transformers, 0 being the token embeddings and -1 the last layer. ``text`` is ``both``,
    ``prompt`` or ``target``. Texts longer than ``max_length`` or the model's positions lose their beginning; for an
    empty one stands the tokenizer's start token.
    """

    name: ClassVar[str] = "causal-lm"
    tags: ClassVar[EncoderTags] = EncoderTags(per_example=True)

    def __init__(
        self,
        model: str = "",
        token: str = "last",
        layer: int = -1,
        text: str = "both",
        max_length: int = 2048,
        device: str = "auto",
    ) -> None:
        if model == "":
            raise UsageError("encoder causal-lm needs a model", "name one: --set model=pythia-70m")
        who = f"encoder {self.name}"
        self.model = settings.text(who, "model", model)
        self.token = settings.one_of(who, "token", token, ("last", "mean"))
        self.layer = settings.whole(who, "layer", layer)
        self.text = settings.one_of(who, "text", text, PARTS)
        self.max_length = settings.whole(who, "max_length", max_length, low=1)
        self.device = settings.text(who, "device", device)
        self.progress: Progress = silent

    def identity(self) -> Mapping[str, Any]:
        """The hash of the weights, and the settings."""
        return {
            "encoder": self.name,
            "model": self._loaded.source.name,
            "weights": self._loaded.weights_hash,
            "token": self.token,
            "layer": self._layer,
            "text": self.text,
            "max_length": self._cuts.limit,
        }

    @property
    def notes(self) -> list[str]:
        """What the model's name stands for, and what was cut."""
        return [*self._loaded.notes, *self._cuts.notes]

    def encode(self, pool: Sequence[Example], test: Sequence[Example]) -> Mapping[str, FeatureSet]:
        """One set, ``hidden``, of a state for each example."""
        from gptfl.training.models import check_tokens

        tokenizer, model = self._loaded.tokenizer, self._loaded.model
        body = model.base_model

        def states(ids: Any, mask: Any) -> Any:
            out = body(input_ids=ids, attention_mask=mask, output_hidden_states=True, use_cache=False)
            return out.hidden_states[self._layer]

        texts = [text_of(example, self.text) for example in (*pool, *test)]
        made = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
        rows = [self._cuts.keep(ids) or self._nothing for ids in made]
        check_tokens(self._loaded, rows)
        embed = Embedder(states, model.config.hidden_size, self.token, device=model.device, progress=self.progress)
        vectors = embed(rows)
        return {"hidden": FeatureSet(vectors[: len(pool)], vectors[len(pool) :])}

    @cached_property
    def _loaded(self) -> Any:
        from gptfl.training.load import load_model

        return load_model(self.model, device=self.device, progress=self.progress)

    @cached_property
    def _cuts(self) -> Cuts:
        from gptfl.training.model_config import longest_input

        return Cuts(min(self.max_length, longest_input(self._loaded.model.config) or self.max_length))

    @cached_property
    def _nothing(self) -> list[int]:
        """What stands for a text without tokens, such as an empty prompt."""
        from gptfl.training.splitting import start_token

        start = start_token(self._loaded.tokenizer)
        if start is None:
            raise DataError(
                f"encoder causal-lm: a text is empty, and the tokenizer of {self.model} has no start token for it",
                "take another model, or another part of the examples: --set text=both",
            )
        return [start]

    @cached_property
    def _layer(self) -> int:
        layers = int(self._loaded.model.config.num_hidden_layers)
        if not -layers - 1 <= self.layer <= layers:
            raise UsageError(
                f"encoder causal-lm: layer is {self.layer}, but {self.model} has {layers}",
                f"give a layer from 0 to {layers}, or -1 for the last",
            )
        return self.layer % (layers + 1)
