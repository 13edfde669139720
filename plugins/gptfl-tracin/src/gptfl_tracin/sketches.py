"""Points of a reference run whose products are those of sketches, from the sets of the encoder ``gradients``."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from gptfl.core.blocked_rows import row_blocks
from gptfl.plugins import DataError, Features, FeatureSet, Run
from gptfl_tracin.products import SketchedProducts

_POINT = re.compile(r"(raw|preconditioned|split)-(\d{1,9})")
KINDS = {False: ("raw",), True: ("split", "preconditioned")}
"""Whose sketches tell products as they are and preconditioned ones, the more precise first."""


@dataclass(frozen=True, slots=True)
class SketchedPoints:
    """Products at each point that was sketched, and each training example's with its own gradient."""

    steps: Int[np.ndarray, " point"]
    products: tuple[SketchedProducts, ...]
    kind: str

    @classmethod
    def of(cls, name: str, features: Features | None, preconditioned: bool) -> "SketchedPoints":
        """From the sets of one kind. Raises ``DataError`` where there are none."""
        sets: Mapping[str, FeatureSet] = {} if features is None else features.sets
        for kind in KINDS[preconditioned]:
            named = {int(found[2]): one for found, one in _points(sets) if found[1] == kind}
            if named:
                steps = np.array(sorted(named), dtype=np.int64)
                products = tuple(SketchedProducts(named[step].train, named[step].test) for step in steps.tolist())
                return cls(steps, products, kind)
        which = "preconditioned gradients" if preconditioned else "gradients"
        raise DataError(
            f"{name} finds no sketches of {which} in the features that it is given",
            "run gptfl featurize --encoder gradients, and name these features (--encoder gradients)",
        )

    def itself(self, features: Features) -> Float[np.ndarray, "point pool"]:
        """Each training example's product with its own gradient. Raises ``DataError`` where one isn't finite."""
        found = np.empty((len(self.steps), len(self.products[0])))
        for place, (step, one) in enumerate(zip(self.steps.tolist(), self.products, strict=True)):
            # Of what is divided on one side alone, the other side's sketch is the plain one.
            plain = features.sets.get(f"raw-{step}") if self.kind == "preconditioned" else None
            for start, rows in row_blocks(one.train):
                ours = rows.astype(np.float32)
                theirs = ours if plain is None else np.asarray(plain.train[start : start + len(rows)], np.float32)
                found[place, start : start + len(rows)] = np.einsum("rd,rd->r", ours, theirs)
        if not np.isfinite(found).all() or not all(np.isfinite(one.test).all() for one in self.products):
            raise DataError("the sketches of gradients hold numbers that aren't finite", "featurize again")
        return found

    def at(self, places: Int[np.ndarray, " used"]) -> "SketchedPoints":
        """Some of the points."""
        return SketchedPoints(self.steps[places], tuple(self.products[place] for place in places), self.kind)


def _points(sets: Mapping[str, FeatureSet]) -> list[tuple[re.Match[str], FeatureSet]]:
    found = [(_POINT.fullmatch(name), one) for name, one in sets.items() if one.kind == "gradient"]
    return [(match, one) for match, one in found if match is not None]


def usual_rates(runs: Sequence[Run]) -> Float[np.ndarray, " step"]:
    """The mean step size of runs at each step, of those that went so far: sketches don't tell their own run's."""
    longest = max(run.curriculum.steps for run in runs)
    total, count = np.zeros(longest), np.zeros(longest)
    for run in runs:
        total[: run.curriculum.steps] += run.curriculum.learning_rates
        count[: run.curriculum.steps] += 1
    return np.asarray(total / np.maximum(count, 1))
