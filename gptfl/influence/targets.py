"""What an influence is measured on, and how."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import Dynamics
from gptfl.core.texts import counted, id_on, written_id
from gptfl.errors import UsageError
from gptfl.plugins.registry import suggest
from gptfl.store.id_files import ExampleIndex

SELF, MEAN = "self", "mean"
REMOVE, REPLACE, DROP, DERIVATIVE, CLOSED_FORM = "remove", "replace", "drop", "derivative", "closed-form"
ADD = "add"
"""How the influence of rows that no run has seen is told, which nobody asks for by name."""
HOWS = (REMOVE, REPLACE, DROP, CLOSED_FORM, DERIVATIVE)


@dataclass(frozen=True, slots=True)
class InfluenceTarget:
    """On what influence is told: the mean of the test examples at ``tests``, or, if None, each example itself."""

    name: str
    tests: Int[np.ndarray, " chosen"] | None

    @property
    def itself(self) -> bool:
        """Whether each training example's influence on itself is asked for."""
        return self.tests is None

    @property
    def text(self) -> str:
        """How messages and tables call it."""
        if self.tests is None:
            return "itself"
        if self.name == MEAN and len(self.tests) == 1:
            return "the only test example"
        if self.name == MEAN:
            return f"the mean of all {len(self.tests)} test examples"
        if self.name.startswith("test:"):
            return f"test example {written_id(self.name.removeprefix('test:'))}"
        return f"the mean of {counted(len(self.tests), 'test example')}"


def influence_target(on: str | Sequence[str], dynamics: Dynamics, option: str = "on") -> InfluenceTarget:
    """Read ``--on``: ``self``, ``mean``, ``test:ID`` or ``group:FILE`` (test ids, one a line), or a sequence of ids.

    ``option`` is the one that messages name.

    Raises ``UsageError`` for another word and ``DataError`` for an id that no test example has.
    """
    if on == SELF:
        return InfluenceTarget(SELF, None)
    if on == MEAN:
        return InfluenceTarget(MEAN, np.arange(len(dynamics.test)))
    tests = ExampleIndex(dynamics.test, "test set", others=("a training example", dynamics.pool))
    if not isinstance(on, str):
        return InfluenceTarget("group", tests.select(tuple(on), f"--{option}"))
    kind, _, rest = on.partition(":")
    if kind == "test" and rest:
        found = id_on(rest, tests.places)
        named = rest if found is None else found
        return InfluenceTarget(f"{kind}:{named}", np.array([tests.place(named, f"--{option} {on}")]))
    if kind == "group" and rest:
        return InfluenceTarget(on, tests.select(Path(rest), f"--{option}"))
    hint = f"did you mean test:{on}?" if on in tests.places else ""
    raise UsageError(
        f"{on!r} is unknown", hint or "use mean, self, test:ID or group:FILE (test ids, one a line)", option=option
    )


def kept_target(keep: str | Sequence[str], subject: InfluenceTarget, dynamics: Dynamics) -> InfluenceTarget:
    """Read ``--keep``, the test examples that must not get worse, as ``influence_target`` reads ``--on``.

    Raises as it does, and ``UsageError`` for ``self``, and where a test example is on both sides.
    """
    kept = influence_target(keep, dynamics, "keep")
    if kept.tests is None or subject.tests is None:
        named = "--keep" if kept.tests is None else "--on"
        raise UsageError(f"{named} self names no test examples", "use test:ID or group:FILE for both sides")
    both = np.intersect1d(kept.tests, subject.tests)
    if len(both):
        first = written_id(dynamics.test[int(both[0])].id)
        raise UsageError(
            f"{len(both)} test examples are on both sides, {first} the first: it can't be to get better and to be kept",
            "name some by --on (test:ID or group:FILE) and others by --keep",
        )
    return kept


def check_how(how: str | None) -> None:
    """Raise ``UsageError`` for an unknown way to tell influence."""
    if how is not None and how not in HOWS:
        close = suggest(how, HOWS)
        raise UsageError(
            f"{how!r} is unknown", close if close.startswith("did") else f"use {', '.join(HOWS)}", option="how"
        )


@dataclass(frozen=True, slots=True)
class Influence:
    """The influence of each pool example, positive where it makes the metric better, and how it was found.

    ``spread`` is its standard deviation, where the estimator tells one. Of influence as if a row were not there,
    ``before`` is what it was before any run was recorded, infinite where that isn't known, and ``common`` the part of it
    that is about the mean over runs, ``lasting`` that which stays however many runs there are.
    """

    influence: Float[np.ndarray, " pool"]
    how: str
    step: int | None
    notes: tuple[str, ...] = ()
    spread: Float[np.ndarray, " pool"] | None = None
    before: Float[np.ndarray, " pool"] | None = None
    common: Float[np.ndarray, " pool"] | None = None
    lasting: Float[np.ndarray, " pool"] | None = None

    def cautious(self, deviations: float) -> Float[np.ndarray, " pool"]:
        """The influence less so many of its standard deviations, where there are any."""
        return self.influence if self.spread is None else self.influence - deviations * self.spread


LEVEL = 0.9
"""The level of the intervals of influences."""
