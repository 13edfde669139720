"""The training rows' own losses, out of what the trainer computes anyway."""

from collections.abc import Callable
from typing import Any

import torch


class OwnLosses:
    """Looks at the model's outputs as they come; nothing is computed a second time but the rows' means."""

    def __init__(self, model: Any) -> None:
        self._found: list[float] = []
        self._missing = False
        self._has_said = False
        self._hook = model.register_forward_hook(self._look, with_kwargs=True)

    def remove(self) -> None:
        """Look no longer."""
        self._hook.remove()

    def _look(self, model: Any, args: Any, kwargs: Any, output: Any) -> None:
        if not model.training:
            return
        with torch.no_grad():
            losses = _row_losses(kwargs, output)
        if losses is None:
            self._missing = True
            return
        self._found += losses.tolist()

    def taken(self, rows: int, say: Callable[[str], None]) -> list[float] | None:
        """The losses of a step's rows in their order; None where the trainer gave none, which is said once."""
        found, self._found = self._found, []
        if len(found) == rows and not self._missing:
            return found
        if not self._has_said:
            say("own_losses: this trainer gives no loss for each row, so none are recorded (no extra pass is made)")
            self._has_said = True
        self._missing = False
        return None


def _row_losses(given: dict[str, Any], output: Any) -> torch.Tensor | None:
    """The mean loss over the labels of each example in a batch; None where its outputs don't tell."""
    labels, logits = given.get("labels"), getattr(output, "logits", None)
    if labels is None:
        return None
    known, mask = getattr(output, "log_probs", None), getattr(output, "label_mask", None)
    if isinstance(known, torch.Tensor) and isinstance(mask, torch.Tensor):
        # TRL's output layer makes no logits: the log-probability of each next label, 0 where there is none.
        if known.shape != (len(labels), labels.shape[1] - 1):
            return None
        each = -known.detach().double()
    elif isinstance(logits, torch.Tensor) and logits.shape[:2] == labels.shape:
        from gptfl.recorder.losses import label_losses

        each, mask = label_losses(logits.detach(), labels)
    else:
        return None
    owners = _owners(given, each)
    sums = torch.zeros(int(owners.max()) + 1, dtype=torch.float64, device=each.device)
    counts = sums.index_add(0, owners.flatten(), mask.double().flatten())
    return sums.index_add(0, owners.flatten(), (each * mask).flatten()) / counts


def _owners(given: dict[str, Any], each: torch.Tensor) -> torch.Tensor:
    """Which example each of the losses belongs to: its row's, or where rows are strung together, its sequence's."""
    positions = given.get("position_ids")
    if given.get("attention_mask") is None and isinstance(positions, torch.Tensor) and len(positions) == len(each) == 1:
        return ((positions == 0).cumsum(dim=1) - 1)[:, 1:]
    return torch.arange(len(each), device=each.device)[:, None].expand_as(each)
