"""What ``collect --gradients`` asks for: whether it makes sense, what it costs, and the run that it takes."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gptfl.curricula import run_seed
from gptfl.errors import DataError, UsageError
from gptfl.records import Dynamics, Progress
from gptfl.store.dynamics import append_gradients
from gptfl.store.safety import MAX_BYTES

if TYPE_CHECKING:
    from gptfl.interfaces import Plan
    from gptfl.training.gradients.reference import Setup
    from gptfl.training.trainer import RecordingTrainer

KINDS = ("reference", "own", "both")
POINTS = 4
REFERENCE = 2**40
"""The reference run's place in the order of seeds: no recorded run has it."""


@dataclass(frozen=True, slots=True)
class Request:
    """What of gradients to record: products at ``points`` steps of a reference run (0 for none), and derivatives
    along the recorded runs themselves (``own``).
    """

    points: int = 0
    own: bool = False


def read_request(gradients: str | None, points: int | None, steps: int, metrics: Sequence[str]) -> Request:
    """What the options ask for. Raises ``UsageError`` where they make no sense for runs of so many steps."""
    if gradients is not None and gradients not in KINDS:
        raise UsageError(f"--gradients {gradients!r} is unknown", f"use {', '.join(KINDS)}")
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
            f"--gradient-points is {points}", f"give 1 to {steps + 1}: a run of {steps} steps has no more points"
        )
    wanted = (min(POINTS, steps + 1) if points is None else points) if reference else 0
    return Request(wanted, gradients in ("own", "both"))


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


@dataclass
class ReferenceJob:
    """The reference run of a recording, and the products along it that are to be kept in the recording's file."""

    path: Path
    pool: int
    batch_size: int
    steps: int
    seed: int
    count: int
    reserved: tuple[int, ...] = ()
    _setup: "Setup | None" = field(default=None, repr=False)

    @property
    def points(self) -> tuple[int, ...]:
        """The steps to multiply gradients at."""
        from gptfl.training.gradients.reference import spread_points

        return tuple(spread_points(self.steps, self.count).tolist())

    def plan(self) -> "Plan":
        """The reference run: it draws from the whole pool but what is reserved, by a seed of its own."""
        from gptfl.training.gradients.reference import reference_plan

        open_ = np.setdiff1d(np.arange(self.pool), self.reserved)
        plan = reference_plan(len(open_), self.batch_size, self.steps, run_seed(self.seed, REFERENCE))
        return replace(plan, batches=open_[plan.batches])

    def left(self, existing: Dynamics | None) -> bool:
        """Whether the recording still lacks the products. Raises ``DataError`` where it has them at other points."""
        if existing is None or existing.gradients is None:
            return True
        found = tuple(existing.gradients.steps.tolist())
        if found != self.points:
            raise DataError(
                f"{self.path} has gradient products at {len(found)} points (steps {_listed(found)}), not at "
                f"{len(self.points)} ({_listed(self.points)})",
                f"ask for --gradient-points {len(found)}, or record under another --name",
            )
        return False

    def cost(self, trainer: "RecordingTrainer", seconds_per_step: float) -> GradientCost:
        """Time one block of gradients on either side and their products, and scale up."""
        from gptfl.training.gradients.blocks import record_block
        from gptfl.training.gradients.products import multiply

        setup = self._set_up(trainer)
        tests, pools = setup.arrangement.tests, setup.arrangement.pools
        started = time.perf_counter()
        there = record_block(setup.tape, setup.test, tests[len(tests) // 2])
        first = time.perf_counter()
        here = record_block(setup.tape, setup.pool, pools[len(pools) // 2])
        second = time.perf_counter()
        # As dear as a point gets: with something to divide by.
        ones = [weight.detach().new_ones(()).expand_as(weight) for weight in trainer.network.trainable]
        multiply(here, there, lambda place, rows: ones[place][rows].flatten(), own=False, room=setup.arrangement.room)
        third = time.perf_counter()
        pool, test = len(setup.pool), len(setup.test)
        pairs = pool * test / (here.count * there.count)
        point = (first - started) * test / there.count
        point += (second - first) * len(tests) * pool / here.count + (third - second) * pairs
        return GradientCost(
            points=self.points,
            pool=pool,
            test=test,
            seconds=len(self.points) * point + max(self.points) * seconds_per_step,
            memory_bytes=setup.memory,
            file_bytes=products_bytes(len(self.points), pool, test),
        )

    def record(self, trainer: "RecordingTrainer", progress: Progress) -> None:
        """Carry out the reference run and put its products into the recording, whole or not at all."""
        from gptfl.training.gradients.reference import along_reference

        setup = self._set_up(trainer)
        pairs = len(setup.pool) * len(setup.test)
        total, done = pairs * len(self.points), 0

        def on_pairs(point: int, step: int, more: int) -> None:
            nonlocal done
            done += more
            progress("gradients", done, total, f"pairs; point {point + 1} of {len(self.points)}, step {step}")

        progress("gradients", 0, total, "pairs of the reference run")
        append_gradients(self.path, along_reference(trainer, self.plan(), self.points, setup, on_pairs))

    def _set_up(self, trainer: "RecordingTrainer") -> "Setup":
        from gptfl.training.gradients.reference import Setup

        if self._setup is None or self._setup.tape.network is not trainer.network:
            self._setup = Setup.of(trainer)
        return self._setup


def _listed(steps: Sequence[int]) -> str:
    return ", ".join(map(str, steps))
