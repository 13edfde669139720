"""Sets examples aside from fitting, and asks about them: the paper's three scenarios of unseen data.

What is set aside is chosen by place and seed alone. An unseen test example is missing from everything that an
estimator is fitted to. An unseen training example can't be taken out of runs that were trained on it; such runs
are cut into pieces that leave out every interval between recorded scores in which one of them was seen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from gptfl.curricula import generator
from gptfl.errors import DataError, GptflError, UsageError
from gptfl.interfaces import Estimator, generalises
from gptfl.records import (
    Dynamics,
    Example,
    Features,
)
from gptfl.registry import get_registry

TRAIN, TEST, BOTH = "train", "test", "both"
SIDES: Mapping[str, tuple[str, ...]] = {TRAIN: (TRAIN,), TEST: (TEST,), BOTH: (TRAIN, TEST)}
SHARES: Mapping[str, float] = {TRAIN: 0.2, TEST: 0.25}
"""Which share of a side is set aside unless told otherwise."""
STREAMS: Mapping[str, int] = {TRAIN: 21, TEST: 22}
FEWEST_LEFT = 2
"""With fewer examples left on a side there is nothing to carry over to others."""
RESERVED = "reserved"
"""The field by which a recording's own examples say that they are to be set aside."""


@dataclass(frozen=True, slots=True)
class SetAside:
    """The examples that fitting doesn't see, as ascending places in the pool and among the test examples.

    ``share`` is the one asked for, None for the usual one of each side or what the recording itself reserves.
    """

    side: str
    share: float | None
    seed: int
    pool: tuple[int, ...]
    test: tuple[int, ...]

    @property
    def sides(self) -> tuple[str, ...]:
        """The sides on which examples are set aside."""
        return SIDES[self.side]

    def told(self, dynamics: Dynamics) -> str:
        """What is set aside, in words."""
        parts = (("training", self.pool, dynamics.pool), ("test", self.test, dynamics.test))
        counts = [f"{len(places)} of {len(examples)} {noun} examples" for noun, places, examples in parts if places]
        return " and ".join(counts)

    def to_json(self, dynamics: Dynamics) -> dict[str, Any]:
        """What a file keeps of it: the ids set aside, the share and the seed."""
        ids = {TRAIN: [dynamics.pool[i].id for i in self.pool], TEST: [dynamics.test[i].id for i in self.test]}
        return {"side": self.side, "share": self.share, "seed": self.seed, **ids}


def set_aside(dynamics: Dynamics, unseen: str | None, share: float | None, seed: int) -> SetAside | None:
    """Choose what ``unseen`` (train, test or both) sets aside; None where nothing is.

    ``share`` holds for each side; by default it is a fifth of the pool and a quarter of the test examples, or the
    examples whose field ``reserved`` is true, where there are any. A larger share contains a smaller one of the
    same seed. Raises ``UsageError`` for another word or share, and ``DataError`` where too few would be left.
    """
    if unseen is None:
        if share is not None:
            raise UsageError(f"--unseen-share {share:g} says how much, but not of what", "add --unseen train|test|both")
        return None
    if unseen not in SIDES:
        raise UsageError(f"--unseen {unseen!r} is none of the sides", f"give one of {', '.join(SIDES)}")
    if share is not None and not 0 < share < 1:
        raise UsageError(f"--unseen-share is {share:g}", "give a share between 0 and 1, such as 0.25")
    examples = {TRAIN: dynamics.pool, TEST: dynamics.test}
    chosen = {side: _choose(side, examples[side], share, seed) for side in SIDES[unseen]}
    return SetAside(unseen, share, seed, chosen.get(TRAIN, ()), chosen.get(TEST, ()))


def _choose(side: str, examples: Sequence[Example], share: float | None, seed: int) -> tuple[int, ...]:
    reserved = tuple(place for place, example in enumerate(examples) if example.fields.get(RESERVED) is True)
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


def aside_from_json(told: object, dynamics: Dynamics, where: str) -> SetAside | None:
    """What a simulator's file keeps of it, as places again; None where nothing was set aside.

    Raises ``DataError``, naming ``where``, for what is malformed or not of this recording.
    """
    if told is None:
        return None
    kept_of: Mapping[str, Any] = told if isinstance(told, dict) else {}
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
    return SetAside(which, share, seed, places[TRAIN], places[TEST])


def refusal(estimator: Estimator, sides: Sequence[str]) -> DataError | None:
    """Why an estimator can't answer about unseen examples of these sides, if so."""
    lacking = [side for side in sides if side not in generalises(estimator)]
    if not lacking:
        return None
    noun = {TRAIN: "training", TEST: "test"}[lacking[0]]
    return DataError(
        f"{estimator.name} answers only about the {noun} examples that it was fitted to",
        "use an estimator that generalises, such as gptfluence",
    )


def kept(count: int, aside: Sequence[int]) -> Int[np.ndarray, " kept"]:
    """The places that aren't set aside."""
    return np.setdiff1d(np.arange(count), np.asarray(aside, dtype=np.int64))


def aside_notes(dynamics: Dynamics, aside: SetAside | None, features: Features | None) -> tuple[str, ...]:
    """What is set aside, and what of it features may know all the same."""
    if aside is None:
        return ()
    share = "" if aside.share is None else f"share {aside.share:g}, "
    notes: tuple[str, ...] = (f"set aside as unseen: {aside.told(dynamics)} ({share}seed {aside.seed})",)
    if features is not None and not _per_example(features.encoder):
        notes += (
            f"{features.encoder} fits its vectors to all texts together, also to those of the unseen examples; "
            "their recorded scores are not looked at",
        )
    return notes


def _per_example(encoder: str) -> bool:
    """Whether each vector depends on its own example alone; taken as true of an encoder that isn't installed."""
    try:
        return bool(get_registry().make("encoder", encoder).per_example)
    except GptflError:
        return True
