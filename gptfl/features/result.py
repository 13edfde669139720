"""What ``gptfl featurize`` came to."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gptfl.core.display import Listed


@dataclass(frozen=True, slots=True)
class FeaturizeResult(Listed):
    """Where the features are, how many numbers an example each set has, and how many rows were new.

    ``notes`` say what was cut or chosen on the way.
    """

    path: Path
    encoder: str
    dims: Mapping[str, int]
    embedded: int
    reused: int
    notes: tuple[str, ...] = ()
