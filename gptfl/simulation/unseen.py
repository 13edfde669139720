"""Holds examples out of a fit, and asks about them: the paper's three scenarios of unseen data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Int

from gptfl.core import Dynamics, Example, Features, GradientProducts, Query, Unseen
from gptfl.core.curriculum import Stream, generator
from gptfl.core.examples import RESERVED
from gptfl.core.holdout import SIDES, TEST, TRAIN, HeldOutExamples, kept_places
from gptfl.core.queries import features_at
from gptfl.errors import DataError, GptflError, UsageError
from gptfl.features.whole import products_in_memory
from gptfl.plugins.interfaces import Estimator
from gptfl.plugins.registry import Registry
from gptfl.recording.recording import OpenedRecording

SHARES: Mapping[str, float] = {TRAIN: 0.2, TEST: 0.25}
"""Which share of a side is set aside unless given."""
STREAMS: Mapping[str, int] = {TRAIN: Stream.HELD_OUT_TRAIN, TEST: Stream.HELD_OUT_TEST}
FEWEST_LEFT = 2
"""With fewer examples left on a side there is nothing to carry over to others."""


def hold_out_examples(dynamics: Dynamics, unseen: str | None, share: float | None, seed: int) -> HeldOutExamples | None:
    """The examples to set aside from a fit; None where there are none.

    A larger share contains a smaller one of the same seed.

    Args:
        dynamics: the recording.
        unseen: ``train``, ``test`` or ``both``; None for nothing.
        share: of each side; by default a fifth of the pool and a quarter of the test examples, or the examples whose
            field ``reserved`` is true, where there are any.
        seed: draws them.

    Raises ``UsageError`` for another word or share, and ``DataError`` where too few would be left.
    """
    if unseen is None:
        if share is not None:
            raise UsageError(f"--unseen-share {share:g} says how much, but not of what", "add --unseen train|test|both")
        return None
    if unseen not in SIDES:
        raise UsageError(f"--unseen {unseen!r} is none of the sides", f"give one of {', '.join(SIDES)}")
    if share is not None and not 0 < share < 1:
        raise UsageError(f"is {share:g}", "give a share between 0 and 1, such as 0.25", option="unseen_share")
    examples = {TRAIN: dynamics.pool, TEST: dynamics.test}
    chosen = {side: _choose(side, examples[side], share, seed) for side in SIDES[unseen]}
    return HeldOutExamples(unseen, share, seed, chosen.get(TRAIN, ()), chosen.get(TEST, ()))


def _choose(side: str, examples: Sequence[Example], share: float | None, seed: int) -> tuple[int, ...]:
    reserved = tuple(place for place, example in enumerate(examples) if example.is_reserved)
    if reserved and share is None:
        chosen, how = reserved, f"the {side} examples marked {RESERVED!r}"
    else:
        part = SHARES[side] if share is None else share
        count = max(1, round(part * len(examples)))
        order = generator(seed, STREAMS[side]).permutation(len(examples))
        chosen, how = tuple(sorted(order[:count].tolist())), f"--unseen-share {part:g}"
    left = len(examples) - len(chosen)
    if left < FEWEST_LEFT:
        noun = "training" if side == TRAIN else "test"
        raise DataError(
            f"--unseen: {how} sets aside {len(chosen)} of {len(examples)} {noun} examples and leaves {left}",
            f"leave at least {FEWEST_LEFT}: give a smaller --unseen-share, or record more examples",
        )
    return chosen


def holdout_from_json(kept: object, dynamics: Dynamics, where: str) -> HeldOutExamples | None:
    """What a simulator's file keeps of it, as places again; None where nothing was set aside.

    Raises ``DataError``, naming ``where``, for what is malformed or not of this recording.
    """
    if kept is None:
        return None
    kept_of: Mapping[str, Any] = kept if isinstance(kept, dict) else {}
    places: dict[str, tuple[int, ...]] = {}
    for side, examples in ((TRAIN, dynamics.pool), (TEST, dynamics.test)):
        ids = kept_of.get(side)
        known = {example.id: place for place, example in enumerate(examples)}
        if not isinstance(ids, list) or not all(isinstance(id, str) and id in known for id in ids):
            raise DataError(f"{where} is damaged: what was set aside is not of its recording", "run gptfl fit again")
        places[side] = tuple(sorted({known[id] for id in ids}))
    which, share, seed = (kept_of.get(name) for name in ("side", "share", "seed"))
    if (
        not isinstance(which, str)
        or which not in SIDES
        or type(seed) is not int
        or not (share is None or isinstance(share, float))
    ):
        raise DataError(f"{where} is damaged: it doesn't say how examples were set aside", "run gptfl fit again")
    return HeldOutExamples(which, share, seed, places[TRAIN], places[TEST])


def holdout_notes(recording: OpenedRecording, features: Features | None) -> tuple[str, ...]:
    """What is set aside, and what of it features may know all the same."""
    held_out = recording.held_out
    if held_out is None:
        return ()
    share = "" if held_out.share is None else f"share {held_out.share:g}, "
    notes: tuple[str, ...] = (
        f"set aside as unseen: {held_out.described(recording.dynamics)} ({share}seed {held_out.seed})",
    )
    if features is not None and not _per_example(features.encoder, recording.registry):
        notes += (
            f"{features.encoder} fits its vectors to all texts together, also to those of the unseen examples; "
            "their recorded scores are not looked at",
        )
    return notes


def _per_example(encoder: str, registry: Registry) -> bool:
    """Whether each vector depends on its own example alone; taken as true of an encoder that isn't installed."""
    try:
        return bool(registry.make("encoder", encoder).tags.per_example)
    except GptflError:
        return True


@dataclass(frozen=True, slots=True)
class Scope:
    """The examples that questions are about, and the place of each among those that an estimator was fitted to.

    ``pool_seen`` and ``test_seen`` are -1 where it was fitted without one.
    """

    pool: tuple[Example, ...]
    test: tuple[Example, ...]
    pool_seen: Int[np.ndarray, " pool"]
    test_seen: Int[np.ndarray, " test"]
    features: Features | None = None
    gradients: GradientProducts | None = None

    @property
    def sides(self) -> tuple[str, ...]:
        """On which sides there are unseen examples."""
        return tuple(side for side, seen in ((TRAIN, self.pool_seen), (TEST, self.test_seen)) if (seen < 0).any())

    def about(self, query: Query) -> Query:
        """The query as the estimator is to get it; the same where it was fitted to all the examples."""
        if not self.sides:
            return query
        given = (self.pool, self.test, self.pool_seen, self.test_seen, self.features, self.gradients)
        return replace(query, unseen=Unseen(*given))


def scope_of(
    dynamics: Dynamics,
    held_out: HeldOutExamples | None,
    estimator: Estimator,
    features: Features | None,
    tests: Int[np.ndarray, " chosen"] | None = None,
) -> Scope:
    """The examples that questions are about: a recording's whole pool and its test examples.

    Args:
        dynamics: the recording.
        held_out: what was set aside from the fit, None where nothing was.
        estimator: its tags say whether examples set aside are hidden from it, and whether it takes gradient products.
        features: of the whole recording, None where it works without.
        tests: places of the test examples, None for all.
    """
    pool, test = len(dynamics.pool), len(dynamics.test)
    products = dynamics.known_products if held_out is not None and "gradients" in estimator.tags.uses else None
    if products is not None and not estimator.tags.blocks:
        products = products_in_memory(products, estimator.name)
    hidden = () if held_out is None or estimator.tags.blind else held_out.pool
    chosen = np.arange(test) if tests is None else tests
    examples = tuple(dynamics.test[i] for i in chosen)
    return Scope(
        dynamics.pool,
        examples,
        _seen(pool, hidden),
        _seen(test, () if held_out is None else held_out.test)[chosen],
        None if features is None else features_at(features, dynamics.pool, examples, np.arange(pool), chosen),
        None if products is None else products.of_examples(np.arange(pool), chosen),
    )


def _seen(count: int, held_out: Sequence[int]) -> Int[np.ndarray, " example"]:
    places = np.full(count, -1, dtype=np.int64)
    there = kept_places(count, held_out)
    places[there] = np.arange(len(there))
    return places
