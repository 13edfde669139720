"""A model that another loop trains, as gptfl's own network sees one; nothing of it is changed."""

from typing import Any

import torch
from torch import nn

from gptfl.errors import DataError
from gptfl.training.models import LoadedModel
from gptfl.training.names import ModelSource
from gptfl.training.network import Network
from gptfl.training.scorer import Scorer

ADAMS = (torch.optim.AdamW, torch.optim.Adam)
FOLLOWED = "train with torch's AdamW, Adam or SGD, or leave sketches out"


class LiveNetwork(Network):
    """The weights of a causal language model that require a gradient now, and its log-probabilities.

    An adapted model of peft is taken without its wrapper. Raises ``DataError`` where no weight is trained, or the model
    is none that makes logits of ``input_ids``.
    """

    def __init__(self, model: Any, tokenizer: Any, name: str) -> None:
        # Network's own way puts a model into the state that runs begin from; this one is being trained.
        base = model.get_base_model() if hasattr(model, "peft_config") else model
        if not hasattr(base, "get_output_embeddings"):
            raise DataError(
                f"the model is a {type(model).__name__}, no causal language model of transformers", "leave sketches out"
            )
        self.loaded = LoadedModel(base, tokenizer, ModelSource(name, "folder", ""), "")
        self.model = base
        self.device = next(base.parameters()).device
        self.train_layers, self.precision, self.dropout, self.sharded = None, "fp32", True, False
        self.head: nn.Module | None = base.get_output_embeddings()
        self.top = None
        self._scorer = Scorer(base, None)
        named = {name: p for name, p in base.named_parameters() if p.requires_grad}
        if not named or len(named) < sum(p.requires_grad for p in model.parameters()):
            raise DataError(
                f"{type(model).__name__} trains no weights of the model itself"
                if not named
                else f"{type(model).__name__} trains weights outside of the model, whose gradients can't be told",
                "train the model or adapters in it (LoRA), or leave sketches out",
            )
        self.names, self.trainable = list(named), list(named.values())
        self.initial = []


def followed_optimiser(optimiser: Any) -> torch.optim.Optimizer:
    """The optimiser itself, out of what wraps it, where it is known by what it divides a gradient.

    Raises ``DataError``, naming it, where that isn't so.
    """
    found: torch.optim.Optimizer = getattr(optimiser, "optimizer", optimiser)
    name = type(found).__name__
    if type(found) not in (*ADAMS, torch.optim.SGD):
        raise DataError(
            f"sketches can't follow the optimiser {name}: by what it divides a gradient isn't known", FOLLOWED
        )
    groups = found.param_groups
    for key, what in (("amsgrad", "largest second moments"), ("dampening", "a dampened momentum")):
        if any(group.get(key) for group in groups):
            raise DataError(f"sketches can't follow {name} with {key}: it steps by {what}", FOLLOWED)
    for key in ("lr", "betas", "eps", "momentum"):
        values = {str(group.get(key)) for group in groups}
        if len(values) > 1:
            raise DataError(
                f"sketches can't follow {name}, whose groups of weights differ in {key} ({', '.join(sorted(values))})",
                "give all groups the same, or leave sketches out",
            )
    return found
