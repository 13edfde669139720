"""Whether a run goes on with the very weights that it had when its state was saved."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

NAMED = 3
"""Weights that a message names."""


def trained_digests(model: Any) -> dict[str, str]:
    """A hash of each trained weight of a model, by its name; none where there is no model of torch."""
    import torch

    if not isinstance(model, torch.nn.Module):
        return {}
    found = {}
    for name, value in model.named_parameters():
        if value.requires_grad:
            data = value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data
            found[name] = hashlib.sha256(data).hexdigest()[:16]
    return found


def say_other_weights(model: Any, known: Mapping[str, str], step: int, say: Callable[[str], None]) -> None:
    """Say so where a model has other weights than those of a run's step.

    Args:
        model: that is trained from there on.
        known: what ``trained_digests`` gave of it then; nothing is said of weights that it doesn't name.
        step: at which that was.
        say: what prints a line.
    """
    if not known:
        return
    now = trained_digests(model)
    changed = [name for name, digest in known.items() if now.get(name) != digest]
    if not changed:
        return
    more = f" and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
    say(
        f"{', '.join(changed[:NAMED])}{more} {'is' if len(changed) == 1 else 'are'} not as at step {step} of the run, as "
        "where a trainer doesn't find them in its checkpoint: what is recorded from here on is of another training than one "
        "that wasn't interrupted"
    )
