"""Sets examples aside from fitting, and asks about them: the paper's three scenarios of unseen data.

What is set aside is chosen by place and seed alone. An unseen test example is missing from everything that an
estimator is fitted to. An unseen training example can't be taken out of runs that were trained on it; such runs
are cut into pieces that leave out every interval between recorded scores in which one of them was seen.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from gptfl.curricula import generator
from gptfl.errors import DataError, UsageError
from gptfl.interfaces import Estimator, generalises, is_blind
from gptfl.records import (
    Curriculum,
    Dynamics,
    Example,
    Features,
    FeatureSet,
    FitData,
    GradientProducts,
    Query,
    Run,
    Unseen,
    examples_fingerprint,
)
from gptfl.stages.splits import cut_run

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
    if which not in SIDES or type(seed) is not int or not (share is None or isinstance(share, float)):
        raise DataError(f"{where} is damaged: it doesn't say how examples were set aside", "run gptfl fit again")
    return SetAside(str(which), share, seed, places[TRAIN], places[TEST])


def refusal(estimator: Estimator, sides: Sequence[str]) -> DataError | None:
    """Why an estimator can't answer about unseen examples of these sides, if so."""
    lacking = [side for side in sides if side not in generalises(estimator)]
    if not lacking:
        return None
    noun = {TRAIN: "training", TEST: "test"}[lacking[0]]
    return DataError(
        f"{estimator.name} answers only about the {noun} examples that it was fitted to",
        f"leave out --unseen and --new-{lacking[0]}, or use an estimator that generalises, such as gptfluence",
    )


def kept(count: int, aside: Sequence[int]) -> Int[np.ndarray, " kept"]:
    """The places that aren't set aside."""
    return np.setdiff1d(np.arange(count), np.asarray(aside, dtype=np.int64))


def of_tests(run: Run, tests: Int[np.ndarray, " chosen"]) -> Run:
    """The same run with what was recorded of some test examples."""
    return replace(
        run,
        metrics={name: values[:, tests] for name, values in run.metrics.items()},
        derivatives={name: changes[:, tests] for name, changes in run.derivatives.items()},
    )


def without(data: FitData, aside: SetAside | None, estimator: Estimator) -> FitData:
    """What the estimator may be fitted to when these examples are set aside.

    Pool, batches, test examples, metrics, features and gradients are those of the others alone, renumbered; runs
    become pieces (see ``pieces``). An estimator that is ``blind`` keeps the pool and the runs whole. Raises
    ``DataError`` where no piece to fit is left.
    """
    if aside is None:
        return data
    hidden = () if is_blind(estimator) else aside.pool
    pool, tests = kept(len(data.pool), hidden), kept(len(data.test), aside.test)
    place = np.full(len(data.pool) + 1, -1)  # the last entry is for padding
    place[pool] = np.arange(len(pool))
    gone = np.zeros(len(data.pool) + 1, dtype=bool)
    gone[list(hidden)] = True

    def reduced(runs: Sequence[Run]) -> tuple[Run, ...]:
        return tuple(_renumbered(of_tests(piece, tests), place) for run in runs for piece in pieces(run, gone))

    fit_runs = reduced(data.fit_runs)
    if not fit_runs:
        raise DataError(
            f"between any two recorded scores of the runs to fit, one of the {len(hidden)} training examples set "
            "aside was trained on",
            "give a smaller --unseen-share, or record more often (gptfl collect --record-every)",
        )
    seen_pool, seen_test = tuple(data.pool[i] for i in pool), tuple(data.test[i] for i in tests)
    return replace(
        data,
        pool=seen_pool,
        test=seen_test,
        fit_runs=fit_runs,
        validation_runs=reduced(data.validation_runs),
        features=None if data.features is None else features_of(data.features, seen_pool, seen_test, pool, tests),
        gradients=None if data.gradients is None else _gradients_of(data.gradients, pool, tests),
    )


def pieces(run: Run, gone: Bool[np.ndarray, " pool_and_padding"]) -> Iterator[Run]:
    """The stretches of a run, of two recorded scores or more, in which no example of ``gone`` was trained on.

    A piece begins at a recorded step, whatever led there; its batches outside the stretch are empty. A run
    without such examples is its own only piece.
    """
    batches = run.curriculum.batches
    touched = gone[batches].any(axis=1)
    if not touched.any():
        yield run
        return
    edges = run.steps
    dirty = np.array([touched[a:b].any() for a, b in itertools.pairwise(edges)], dtype=bool)
    begin = 0
    for interval in range(len(dirty) + 1):
        if interval < len(dirty) and not dirty[interval]:
            continue
        if interval > begin:
            cut = cut_run(run, np.arange(begin, interval + 1))
            inside = np.arange(len(batches))[:, None]
            within = (inside >= edges[begin]) & (inside < edges[interval])
            yield replace(cut, curriculum=Curriculum(np.where(within, batches, -1), run.curriculum.learning_rates))
        begin = interval + 1


def _renumbered(run: Run, place: Int[np.ndarray, " pool_and_padding"]) -> Run:
    return replace(run, curriculum=Curriculum(place[run.curriculum.batches], run.curriculum.learning_rates))


def features_of(
    features: Features,
    pool: tuple[Example, ...],
    test: tuple[Example, ...],
    pool_rows: Int[np.ndarray, " kept"],
    test_rows: Int[np.ndarray, " chosen"],
) -> Features:
    """The features of some of the examples."""
    sets = {
        name: FeatureSet(one.train[pool_rows], one.test[test_rows], one.kind) for name, one in features.sets.items()
    }
    return Features(features.encoder, features.identity, examples_fingerprint(pool, test), sets)


def _gradients_of(
    gradients: GradientProducts, pool: Int[np.ndarray, " kept"], tests: Int[np.ndarray, " chosen"]
) -> GradientProducts:
    return replace(
        gradients,
        raw=gradients.raw[:, pool][:, :, tests],
        preconditioned=gradients.preconditioned[:, pool][:, :, tests],
        self_raw=gradients.self_raw[:, pool],
        self_preconditioned=gradients.self_preconditioned[:, pool],
    )


def left_note(whole: FitData, data: FitData) -> tuple[str, ...]:
    """How much of the runs to fit their pieces hold; nothing where nothing was cut away."""
    before, after = (sum(len(run.steps) - 1 for run in one.fit_runs) for one in (whole, data))
    if before == after:
        return ()
    return (
        f"{after} of the {before} intervals between recorded scores are left to learn from; in the others a training "
        "example that was set aside was trained on",
    )


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

    @property
    def sides(self) -> tuple[str, ...]:
        """On which sides there are unseen examples."""
        return tuple(side for side, seen in ((TRAIN, self.pool_seen), (TEST, self.test_seen)) if (seen < 0).any())

    def about(self, query: Query) -> Query:
        """The query as the estimator is to get it; the same where it was fitted to all the examples."""
        if not self.sides:
            return query
        return replace(query, unseen=Unseen(self.pool, self.test, self.pool_seen, self.test_seen, self.features))


def scope_of(
    dynamics: Dynamics,
    aside: SetAside | None,
    estimator: Estimator,
    features: Features | None,
    tests: Int[np.ndarray, " chosen"] | None = None,
) -> Scope:
    """Questions about a recording's whole pool and its test examples, or those at ``tests``.

    ``features`` are of the whole recording.
    """
    pool, test = len(dynamics.pool), len(dynamics.test)
    hidden = () if aside is None or is_blind(estimator) else aside.pool
    chosen = np.arange(test) if tests is None else tests
    asked = tuple(dynamics.test[i] for i in chosen)
    return Scope(
        dynamics.pool,
        asked,
        _seen(pool, hidden),
        _seen(test, () if aside is None else aside.test)[chosen],
        None if features is None else features_of(features, dynamics.pool, asked, np.arange(pool), chosen),
    )


def _seen(count: int, aside: Sequence[int]) -> Int[np.ndarray, " example"]:
    places = np.full(count, -1, dtype=np.int64)
    there = kept(count, aside)
    places[there] = np.arange(len(there))
    return places
