"""What ``collect --gradients`` asks for: whether it makes sense, and what it costs."""

from collections.abc import Sequence
from dataclasses import dataclass

from gptfl.errors import UsageError
from gptfl.store.safety import MAX_BYTES

KINDS = ("reference", "own", "both")
POINTS = 4


@dataclass(frozen=True, slots=True)
class Request:
    """What of gradients to record: products at ``points`` steps of a reference run (0 for none), and derivatives
    along the recorded runs themselves (``own``).
    """

    points: int = 0
    own: bool = False


def read_request(gradients: str | None, points: int | None, steps: int, metrics: Sequence[str]) -> Request:
    """What the options ask for. Raises ``UsageError`` where they make no sense for runs of so many steps.

    Args:
        gradients: ``reference``, ``own`` or ``both``; None where no products of gradients are recorded.
        points: how many points of the reference run have gradients, None for the usual number.
        steps: how many steps a run has.
        metrics: names of the recorded metrics; gradients are of the loss.
    """
    if gradients is not None and gradients not in KINDS:
        raise UsageError(f"{gradients!r} is unknown", f"use {', '.join(KINDS)}", option="gradients")
    reference = gradients in ("reference", "both")
    if points is not None and not reference:
        raise UsageError(
            f"--gradient-points {points} counts points of the reference run, which wasn't asked for",
            "add --gradients reference, or leave it out",
        )
    if gradients is not None and "loss" not in metrics:
        shown = " ".join(f"--metric {name}" for name in metrics)
        raise UsageError(
            f"--gradients {gradients}: gradients are of the loss, and only {shown} is recorded", "add --metric loss"
        )
    if points is not None and not 1 <= points <= steps + 1:
        raise UsageError(
            f"is {points}",
            f"give 1 to {steps + 1}: a run of {steps} steps has no more points",
            option="gradient_points",
        )
    reference_points = (min(POINTS, steps + 1) if points is None else points) if reference else 0
    return Request(reference_points, gradients in ("own", "both"))


def check_size(points: int, pool: int, test: int) -> None:
    """Raise ``UsageError`` where the products would make a file that gptfl doesn't read."""
    if products_bytes(points, pool, test) > MAX_BYTES:
        raise UsageError(
            f"--gradients at {points} points for --pool {pool} and --test {test} take "
            f"{products_bytes(points, pool, test) / 2**30:.3g} GiB, and gptfl reads up to {MAX_BYTES / 2**30:g} GiB",
            "lower --gradient-points, --pool or --test",
        )


def products_bytes(points: int, pool: int, test: int) -> int:
    """What gradient products take in a file, unpacked: raw and preconditioned, in float32."""
    return points * pool * (test + 1) * 2 * 4


@dataclass(frozen=True, slots=True)
class GradientCost:
    """What the products along the reference run come to; seconds from timed blocks, the rest by design.

    ``memory_bytes`` are what the gradients may take beside training.
    """

    points: tuple[int, ...]
    pool: int
    test: int
    seconds: float
    memory_bytes: int
    file_bytes: int
