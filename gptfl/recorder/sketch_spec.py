"""At which steps of a run sketches of gradients are wanted, and how large."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

import numpy as np

from gptfl.core.curriculum import spread_points
from gptfl.errors import UsageError
from gptfl.recording.sketch_request import DIMENSIONS, POINTS, SketchRequest
from gptfl.store.safety import MAX_BYTES

AUTO = "auto"
At = Iterable[int] | int | Literal["auto"]


class SketchOptions(TypedDict, total=False):
    """What of gradients is sketched along a run."""

    sketches_at: At | None
    sketch_dimensions: int
    sketch_modules: str | None


@dataclass(frozen=True, slots=True)
class SketchSpec:
    """Sketches of so many ``dimensions`` at the steps ``at``: these, each so many, or four that are spread evenly."""

    at: tuple[int, ...] | int | Literal["auto"]
    dimensions: int
    modules: str | None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "SketchSpec | None":
        """What the options ask for; None for no sketches. Raises ``UsageError`` for what is no step or number."""
        at = given.get("sketches_at")
        dimensions, modules = given.get("sketch_dimensions", DIMENSIONS), given.get("sketch_modules")
        if at is None:
            named = [name for name in ("sketch_dimensions", "sketch_modules") if given.get(name) is not None]
            if named:
                raise UsageError(f"{named[0]} without sketches_at says nothing", "give sketches_at='auto'")
            return None
        if not _is_count(dimensions):
            raise UsageError(f"sketch_dimensions={dimensions!r}", "give a whole number, at least 1")
        if modules is not None and not (isinstance(modules, str) and modules):
            raise UsageError(f"sketch_modules={modules!r}", "give a pattern such as '*mlp*', or leave it out")
        remedy = "give steps such as [0, 20, 40], a number of steps from one to the next, or 'auto'"
        if isinstance(at, str) or _is_count(at):
            if isinstance(at, str) and at != AUTO:
                raise UsageError(f"sketches_at={at!r}", remedy)
            return cls(at, dimensions, modules)
        steps = list(at) if isinstance(at, Iterable) else []
        if not steps or not all(one == 0 or _is_count(one) for one in steps) or len(set(steps)) < len(steps):
            raise UsageError(f"sketches_at={at!r}", remedy)
        return cls(tuple(sorted(int(one) for one in steps)), dimensions, modules)

    def points(self, steps: int | None, pool: int, test: int) -> tuple[int, ...]:
        """The steps, in a run of so many. Raises ``UsageError`` where they can't be told, or make too large a file."""
        if isinstance(self.at, tuple):
            found = self.at
            if steps is not None and found[-1] > steps:
                raise UsageError(
                    f"sketches_at names step {found[-1]}, and the run has {steps}", "name steps of the run"
                )
        elif steps is None:
            raise UsageError(
                f"sketches_at={self.at!r} of a run whose number of steps isn't known",
                "say it, recorder.run(steps=...), or name the steps",
            )
        elif self.at == AUTO:
            found = tuple(spread_points(steps, min(POINTS, steps + 1)).tolist())
        else:
            found = tuple(range(0, steps + 1, int(self.at)))
        self.check_size(found, pool, test)
        return found

    def check_size(self, points: tuple[int, ...], pool: int, test: int) -> None:
        """Raise ``UsageError`` where sketches at these points make too large a file.

        Args:
            points: the steps.
            pool: how many training examples.
            test: how many test examples.
        """
        size = SketchRequest(len(points), self.dimensions, self.modules).bytes(pool, test)
        if size > MAX_BYTES:
            raise UsageError(
                f"sketches at {len(points)} points of {pool} training and {test} test examples take {size / 2**30:.3g} GiB, "
                f"and gptfl reads up to {MAX_BYTES / 2**30:g} GiB",
                "name fewer steps with sketches_at, or lower sketch_dimensions",
            )


def _is_count(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(value >= 1)
