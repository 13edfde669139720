"""Flipped labels: flips those of part of a pool, and finds and corrects them in a recording."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool

from gptfl.core import Example, fingerprint
from gptfl.core.examples import CLEAN, FLIPPED
from gptfl.core.many_examples import ManyExamples
from gptfl.errors import DataError, UsageError


def check_share(share: float | None) -> None:
    """Raise ``UsageError`` unless a share of labels to flip lies between 0 and 1."""
    if share is not None and not (math.isfinite(share) and 0 < share < 1):
        raise UsageError(
            f"is {share:g}", "give the share of the pool to flip, between 0 and 1, as in 0.4", option="flip_labels"
        )


def flip_labels(pool: Sequence[Example], share: float, seed: int) -> tuple[Example, ...]:
    """The pool with the labels of ``share`` of its examples changed to another of their choices.

    The target becomes the text of that choice; prompts, ids and order stay. Seed and ids decide which ones and to
    what, whatever else is in the pool. Raises ``DataError`` for an example without classes, and where the share is
    less than half an example.
    """
    check_share(share)
    for example in pool:
        _check_classes(example)
    count = round(share * len(pool))
    if count == 0:
        raise DataError(
            f"--flip-labels {share:g} of {len(pool)} pool examples flips none", "use a larger share or a larger --pool"
        )
    ranks = sorted(range(len(pool)), key=lambda place: fingerprint("flip", seed, pool[place].id))
    chosen = set(ranks[:count])
    return tuple(_flipped(example, seed) if place in chosen else example for place, example in enumerate(pool))


def _check_classes(example: Example) -> None:
    if example.label is None or len(set(example.choices)) < 2:
        raise DataError(
            f"--flip-labels: pool example {example.id!r} has no classes to choose from",
            "use a classification task (rte, sst2, boolq, or jsonl with choices)",
        )
    if not 0 <= example.label < len(example.choices) or example.choices[example.label] != example.target:
        raise DataError(
            f"--flip-labels: the target of pool example {example.id!r} is not the choice that its label names",
            "mend the task that it comes from",
        )


def _flipped(example: Example, seed: int) -> Example:
    clean = example.label or 0
    count = len(example.choices)
    after = [(clean + shift) % count for shift in range(1, count)]
    others = [place for place in after if example.choices[place] != example.target]
    label = others[int(fingerprint("flip to", seed, example.id), 16) % len(others)]
    fields = {**example.fields, FLIPPED: True, CLEAN: clean}
    return replace(example, target=example.choices[label], label=label, fields=fields, digest="")


def flipped_of(pool: Sequence[Example]) -> Bool[np.ndarray, " pool"]:
    """Which examples of a pool carry another label than their own."""
    if isinstance(pool, ManyExamples) and pool.plain:
        return np.zeros(len(pool), dtype=bool)
    return np.array([example.fields.get(FLIPPED) is True for example in pool], dtype=bool)


def corrected(example: Example) -> Example:
    """A flipped example with its own label and target. Raises ``DataError`` where it doesn't say which."""
    label = example.fields.get(CLEAN)
    if type(label) is not int or not 0 <= label < len(example.choices):
        raise DataError(
            f"pool example {example.id!r} is flipped, and its clean_label {label!r} is none of its "
            f"{len(example.choices)} choices",
            "record again with gptfl collect --flip-labels",
        )
    kept = {name: value for name, value in example.fields.items() if name not in (FLIPPED, CLEAN)}
    return replace(example, target=example.choices[label], label=label, fields=kept, digest="")
