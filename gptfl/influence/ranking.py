"""Training examples in order of influence."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from gptfl.core import Example, MetricInfo
from gptfl.core.display import Displayed
from gptfl.influence.group_effects import GroupEffects
from gptfl.influence.kept import KeptSide
from gptfl.influence.verdicts import Verdicts
from gptfl.scores.detection import Detection


@dataclass(frozen=True, slots=True)
class Ranking:
    """One estimator's influences of all pool examples, positive where an example makes the metric better.

    ``label`` tells it from the others of a result; ``order`` are places in the pool, highest influence first,
    ties by place. ``step`` is the step that it is told for, None where the estimator told it to first order.
    ``low`` and ``high`` bound each influence with probability ``LEVEL``, where the estimator says how sure it is.
    """

    label: str
    estimator: str
    how: str
    influence: Float[np.ndarray, " pool"]
    step: int | None
    simulator: Path
    low: Float[np.ndarray, " pool"] | None = None
    high: Float[np.ndarray, " pool"] | None = None
    meaning: str = ""
    """What a positive number is, in a sentence."""
    verdicts: Verdicts | None = None
    """What is known of each example, where the estimator says how sure it is."""
    groups: GroupEffects | None = None
    """What whole groups of examples do, where that was asked for."""
    kept: KeptSide | None = None
    """What each example does to the test examples that must not get worse, where that was asked for."""

    @property
    def order(self) -> list[int]:
        """Places in the pool, highest influence first, ties in the pool's order."""
        return [int(place) for place in np.argsort(-self.influence, kind="stable")]


@dataclass(frozen=True, slots=True)
class TokenInfluence:
    """The influence of each pool example on the loss of each target token, to first order, in the simulator's scale.

    The mean over the tokens is what first order says of the whole example.
    """

    tokens: tuple[str, ...]
    influence: Float[np.ndarray, "pool token"]


@dataclass(frozen=True, slots=True)
class RankResult(Displayed):
    """Rankings of one recording's pool by one or more estimators.

    ``on`` is what was asked for, ``subject`` says it in words. ``flipped`` says whose label was flipped, None where
    none was; ``detections`` then maps each way of checking to how early it finds them.
    """

    recording: str
    metric: MetricInfo
    on: str
    subject: str
    pool: tuple[Example, ...]
    rankings: tuple[Ranking, ...]
    flipped: Bool[np.ndarray, " pool"] | None = None
    detections: Mapping[str, Detection] = field(default_factory=dict)
    output: Path | None = None
    figure: Path | None = None
    notes: tuple[str, ...] = ()
    imported: bool = False
    """Whether the recording was imported, and nothing can be trained by its recipe."""
    tokens: TokenInfluence | None = None
    """Influence by target token of the test example, where it was asked for."""
    new: str | None = None
    """The file of the rows, where they are in no run and ``pool`` is these."""
    unkept: tuple[str, ...] = ()
    """What couldn't be written beside the result, and why."""
    signs: Mapping[str, Float[np.ndarray, " pool"]] | None = None
    """Of a ranking for cleaning, what makes rows suspicious, by name; its influences are then how suspicious all make them."""
