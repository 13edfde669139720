"""What ``collect --sketches`` asks for: whether it makes sense, and what it costs."""

from collections.abc import Sequence
from dataclasses import dataclass

from gptfl.core import GradientSketches
from gptfl.errors import DataError, UsageError
from gptfl.recording.gradient_request import products_bytes
from gptfl.store.safety import MAX_BYTES

POINTS, DIMENSIONS = 4, 8192


@dataclass(frozen=True, slots=True)
class SketchRequest:
    """Sketches of so many ``dimensions`` at so many points of a reference run; ``modules`` as in ``GradientSketches``.

    ``option`` is the one that asks for them: --sketches, or --few-runs, which implies them. ``keep`` says whether the
    reference run is kept beside the recording.
    """

    points: int
    dimensions: int
    modules: str | None
    option: str = "--sketches"
    keep: bool = False

    def bytes(self, pool: int, test: int) -> int:
        """What they take in a file, unpacked: three of a pool example, two of a test example, in 16 bits, and products."""
        sketches = self.points * (3 * pool + 2 * test) * (2 * self.dimensions + 4)
        return sketches + products_bytes(self.points, pool, test)

    def check(self, found: GradientSketches, steps: Sequence[int], where: str) -> None:
        """Raise ``DataError`` where a recording has other sketches than these."""
        has = (tuple(found.steps.tolist()), found.dimensions, found.modules)
        if has != (tuple(steps), self.dimensions, self.modules):
            options = f"--sketch-points {len(found.steps)} --sketch-dimensions {found.dimensions}"
            options += f" --sketch-modules '{found.modules}'" if found.modules else ""
            raise DataError(
                f"{where} has gradient sketches {_described(*has)}, not {_described(tuple(steps), self.dimensions, self.modules)}",
                f"ask for {options}, or record under another --name",
            )


def _described(steps: Sequence[int], dimensions: int, modules: str | None) -> str:
    of = f"weights like {modules!r}" if modules else "all trained weights"
    return f"of {of} at steps {', '.join(map(str, steps))} in {dimensions} dimensions"


def read_sketch_request(
    option: str | None,
    points: int | None,
    dimensions: int | None,
    modules: str | None,
    *,
    steps: int,
    pool: int,
    test: int,
    keep: bool = False,
) -> SketchRequest | None:
    """What the options ask for; None where no ``option`` asks for sketches.

    Args:
        option: the flag that asks for sketches, None where none does.
        points: how many points of the reference run have sketches, None for the usual number.
        dimensions: numbers of a sketch, None for the usual number.
        modules: pattern of the modules whose weights count, None for all.
        steps: how many steps a run has.
        pool: how many training examples there are.
        test: how many test examples there are.
        keep: whether the reference run is to be kept.

    Raises ``UsageError`` where they make no sense for runs of so many steps, or make a file that gptfl doesn't read.
    """
    options = {"points": points, "dimensions": dimensions, "modules": modules}
    given = {f"--sketch-{name}": value for name, value in options.items() if value is not None}
    if option is None:
        if given:
            option, value = next(iter(given.items()))
            raise UsageError(f"{option} {value} without --sketches says nothing", "add --sketches, or leave it out")
        if keep:
            raise UsageError("--keep-reference is given without --sketches", "add --sketches, or leave it out")
        return None
    if points is not None and not 1 <= points <= steps + 1:
        raise UsageError(
            f"is {points}", f"give 1 to {steps + 1}: a run of {steps} steps has no more points", option="sketch_points"
        )
    if modules is not None and not modules:
        raise UsageError("is empty", "give a pattern such as '*mlp*', or leave it out", option="sketch_modules")
    request = SketchRequest(
        min(POINTS, steps + 1) if points is None else points,
        DIMENSIONS if dimensions is None else dimensions,
        modules,
        option,
        keep,
    )
    if request.bytes(pool, test) > MAX_BYTES:
        raise UsageError(
            f"{option}: gradient sketches at {request.points} points in {request.dimensions} dimensions of --pool {pool} and --test "
            f"{test} take {request.bytes(pool, test) / 2**30:.3g} GiB, and gptfl reads up to {MAX_BYTES / 2**30:g} GiB",
            "lower --sketch-points or --sketch-dimensions",
        )
    return request


@dataclass(frozen=True, slots=True)
class SketchCost:
    """What the sketches along the reference run come to; seconds from a timed piece, the rest by design.

    ``per_example`` are the seconds of one example at one point; ``memory_bytes`` is what gradients and the sketches
    that are in memory at a time take beside training.
    """

    points: tuple[int, ...]
    pool: int
    test: int
    dimensions: int
    per_example: float
    seconds: float
    memory_bytes: int
    file_bytes: int
    workers: int | None = 1
    """Among how many workers of an executor the examples are shared out; None where that isn't known before."""
