"""What collecting comes to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gptfl.recording.cost import CostEstimate


@dataclass(frozen=True, slots=True)
class CollectResult:
    """What ``collect`` leaves: the recording's path, how many runs it holds and how many of them are new.

    ``moved`` maps each metric to its mean over runs and test examples at the first and at the last step; ``sketched``
    says whether the recording holds gradient sketches.
    """

    path: Path
    runs: int
    recorded_now: int
    estimate: "CostEstimate | None"
    notes: tuple[str, ...] = ()
    moved: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    sketched: bool = False
