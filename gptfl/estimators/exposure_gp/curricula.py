"""What runs have seen, and what is known of the examples in it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from gptfl.core.curriculum import presentation_weights
from gptfl.estimators.exposure_gp.accumulation import Vectors

RECENT = (3.0, 12.0)
"""What was seen lately counts by itself, fading by a factor of e within so many steps: a fresh batch pulls hard, and
much of it is soon undone by others."""
MOST_FADED = 300.0
"""Powers of e by which effects fade at most, so that no number overflows."""


@dataclass(frozen=True, slots=True)
class Curricula:
    """Batches (-1 is padding) and step sizes of several runs.

    ``per`` is how many examples a batch is taken to have; None is as many as it has. ``relative`` is how much each
    example that batches name counts in the loss of one (``relative_weights``); None where all count alike.
    """

    batches: Int[np.ndarray, "run step batch"]
    learning_rates: Float[np.ndarray, "run step"]
    per: int | None = None
    relative: Float[np.ndarray, " example"] | None = None
    unit: float = 1.0
    """The weight of an example that counts 1."""
    fading: float | Float[np.ndarray, " run"] | None = None
    """What a batch did fades by a factor of e while step sizes add up to so much, in all runs or each; None: it stays."""

    @property
    def weights(self) -> Float[np.ndarray, "run step"]:
        """How much seeing an example once at each step counts.

        Where effects fade, that is in units of which one is worth less and less: sums of these up to a step are what is left
        there once they are multiplied by ``kept``.
        """
        if self.per is not None:
            found = self.learning_rates / self.per
        else:
            found = presentation_weights(self.batches, self.learning_rates, self.relative)
        return found if self.fading is None else found * np.exp(self._faded[:, 1:])

    @property
    def _faded(self) -> Float[np.ndarray, "run step_and_end"]:
        """What step sizes have added up to before each step, and at the end, by what effects fade in."""
        assert self.fading is not None  # asked only where they do
        taken = np.where((self.batches >= 0).any(axis=2), self.learning_rates, 0.0)
        passed = np.concatenate([np.zeros((len(taken), 1)), np.cumsum(taken, axis=1)], axis=1)
        return np.asarray(np.minimum(passed / np.reshape(self.fading, (-1, 1)), MOST_FADED))

    def kept(self, steps: Int[np.ndarray, " asked"]) -> Float[np.ndarray, "asked run"]:
        """What sums of ``weights`` are multiplied by at these steps; 1 where effects stay."""
        if self.fading is None:
            return np.ones((len(steps), len(self.batches)))
        return np.asarray(np.exp(-self._faded[:, np.minimum(steps, self.batches.shape[1])]).T)

    def left_at(self, step: int) -> Float[np.ndarray, "run step"]:
        """How much seeing an example once at each step up to this one still counts there."""
        if self.fading is None:
            return self.weights
        lasting = self.lasting.weights
        faded = self._faded
        end = faded[:, min(step, self.batches.shape[1])][:, None]
        return np.asarray(lasting * np.exp(np.minimum(faded[:, 1:] - end, 0.0)))

    @property
    def lasting(self) -> "Curricula":
        """The same runs if effects stayed."""
        return replace(self, fading=None)

    def of(self, runs: Int[np.ndarray, " kept"]) -> "Curricula":
        """Some of the runs."""
        fading = self.fading[runs] if isinstance(self.fading, np.ndarray) else self.fading
        return replace(self, batches=self.batches[runs], learning_rates=self.learning_rates[runs], fading=fading)

    def at_each(self, fadings: Sequence[float]) -> "Curricula":
        """These runs with each of several fadings, one after the other."""
        times = len(fadings)
        return replace(
            self,
            batches=np.concatenate([self.batches] * times),
            learning_rates=np.concatenate([self.learning_rates] * times),
            fading=np.repeat(np.asarray(fadings, dtype=np.float64), len(self.batches)),
        )

    def like(
        self,
        batches: Int[np.ndarray, "other step batch"],
        learning_rates: Float[np.ndarray, "other step"],
        relative: Float[np.ndarray, " example"] | None = None,
    ) -> "Curricula":
        """Other runs, their examples counted in the same way; those of others count by ``relative``."""
        relative = self.relative if relative is None else relative
        return replace(self, batches=batches, learning_rates=learning_rates, relative=relative)


@dataclass(frozen=True, slots=True)
class Examples:
    """What is known of the training examples that batches name.

    ``own`` numbers those with an effect of their own (their place among the examples fitted, or beyond);
    ``shared`` are vectors whose products are covariances of effects, ``recent`` (None: none) those of which what was
    seen lately counts by itself as well; ``expected`` vectors with one entry a test example: the expected change for
    a unit of step size.
    """

    own: Int[np.ndarray, " example"]
    shared: tuple[Vectors, ...]
    expected: tuple[Vectors, ...]
    recent: Vectors | None = None
    relative: Float[np.ndarray, " example"] | None = None
    """How much each counts in the loss of a batch; their vectors count by it already."""

    @property
    def effects(self) -> tuple[tuple[Vectors, float | None], ...]:
        """The vectors of every source but the examples' own, each with its reach."""
        lately = () if self.recent is None else tuple((self.recent, reach) for reach in RECENT)
        return (*((vectors, None) for vectors in self.shared), *lately)
