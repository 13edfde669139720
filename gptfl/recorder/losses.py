"""Measures a model that is being trained, and leaves the training as it was."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from gptfl.recorder.rows import IGNORED, LabelledTokens


@contextmanager
def undisturbed(model: Any = None) -> Iterator[None]:
    """What happens inside changes neither the random streams nor which modules are in training mode."""
    modules = list(model.modules()) if isinstance(model, torch.nn.Module) else []
    modes = [(module, module.training) for module in modules]
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() and torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    try:
        if modules:
            model.eval()
        with torch.no_grad():
            yield
    finally:
        # One by one: a part may have been in another mode than the whole.
        for module, mode in modes:
            module.training = mode
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        if gpus:
            torch.cuda.set_rng_state_all(gpus)


class LossMeter:
    """The mean loss over the labels of each test example, batches of ``batch_size`` examples of about one length.

    ``around`` makes the context that the trainer computes its losses in (autocast).
    """

    def __init__(
        self,
        rows: Sequence[LabelledTokens],
        batch_size: int,
        pad: int = 0,
        around: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self.count = len(rows)
        self.labels = np.array([sum(label != IGNORED for label in row.labels[1:]) for row in rows])
        """How many labels each has."""
        self.around = around
        order = sorted(range(len(rows)), key=lambda place: -len(rows[place].ids))
        self.batches = [
            _padded(rows, order[begin : begin + batch_size], pad) for begin in range(0, len(rows), batch_size)
        ]

    def __call__(self, model: Any) -> Float[np.ndarray, " test"]:
        """The losses, in nats a token."""
        losses = np.empty(self.count)
        device = next(model.parameters()).device
        with torch.no_grad(), self.around():
            for places, ids, mask, labels in self.batches:
                output = model(input_ids=ids.to(device), attention_mask=mask.to(device), use_cache=False)
                losses[places] = row_losses(output.logits, labels.to(device)).cpu().numpy()
        return losses


def row_losses(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The mean loss over the labels of each row; NaN for a row without any."""
    each, is_label = label_losses(logits, labels)
    return each.sum(dim=1) / is_label.sum(dim=1)


def label_losses(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss of each label but the first, (row, token - 1), 0 where there is no label; and where there is one."""
    is_label = labels[:, 1:] != IGNORED
    found = torch.nn.functional.cross_entropy(
        logits[:, :-1][is_label].float(), labels[:, 1:][is_label], reduction="none"
    ).double()
    each = torch.zeros(is_label.shape, dtype=torch.float64, device=found.device)
    each[is_label] = found
    return each, is_label


def _padded(
    rows: Sequence[LabelledTokens], places: list[int], pad: int
) -> tuple[list[int], torch.Tensor, torch.Tensor, torch.Tensor]:
    longest = max(len(rows[place].ids) for place in places)
    shape = (len(places), longest)
    ids, mask = torch.full(shape, pad), torch.zeros(shape, dtype=torch.long)
    labels = torch.full(shape, IGNORED)
    for number, place in enumerate(places):
        row = rows[place]
        length = len(row.ids)
        ids[number, :length] = torch.tensor(list(row.ids))
        labels[number, :length] = torch.tensor(list(row.labels))
        mask[number, :length] = 1
    return places, ids, mask, labels


def model_fingerprint(model: Any) -> str:
    """Hash of the weights that a run starts from.

    Adapters are left out: each run draws its own, and they change nothing before the first step.
    """
    import hashlib

    digest = hashlib.sha256()
    for name, value in sorted(model.named_parameters()):
        if "lora_" in name:
            continue
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]
