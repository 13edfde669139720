"""The reference run of a recording, and what is taken along it: gradient products and gradient sketches."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gptfl.core import Dynamics, GradientSketches, Progress
from gptfl.core.curriculum import run_seed, spread_points
from gptfl.core.packing import Batching
from gptfl.errors import DataError
from gptfl.plugins.interfaces import Executor, Plan
from gptfl.plugins.work import DescribesWork
from gptfl.recording.gradient_request import GradientCost, products_bytes
from gptfl.recording.sketch_request import SketchCost, SketchRequest
from gptfl.recording.sketch_units import shares_out, sketch_by_units
from gptfl.store.recordings import append_gradients, append_sketches
from gptfl.store.workspace import reference_folder

if TYPE_CHECKING:
    from torch import Tensor

    from gptfl.training.gradient_sketches import SketchSetup
    from gptfl.training.kept_sketches import KeptSketching
    from gptfl.training.reference_run import Moment, Setup
    from gptfl.training.trainer import RecordingTrainer


GRADIENTS = "choose another model, or leave --gradients out; --gradients own takes derivatives along each run"
_OTHERS = "choose another model, adapters (--lora), or weights whose gradients can be told (--sketch-modules '*attn*')"
SKETCHES = {
    "--sketches": f"{_OTHERS}, or leave --sketches out",
    "--recipe": "use another encoder, such as --encoder tfidf-svd",
    "--few-runs": f"{_OTHERS}; or record such runs without gradients: --runs 6 --design contrast instead of --few-runs",
}
"""What to ask for where the gradients of single examples can't be told, by the option that asks for them."""
REFERENCE = 2**40
"""The reference run's place in the order of seeds: no recorded run has it."""


@dataclass
class ReferenceJob:
    """The reference run of a recording, and what is to be kept of it in the recording's file.

    ``count`` is at how many points products are wanted (0 for none); ``sketches`` what of sketches is. Both are
    taken along one run.
    """

    path: Path
    pool: int
    batching: Batching
    steps: int
    seed: int
    count: int
    sketches: SketchRequest | None = None
    reserved: tuple[int, ...] = ()
    _setup: "Setup | None" = field(default=None, repr=False)
    _sketching: "SketchSetup | None" = field(default=None, repr=False)

    @property
    def points(self) -> tuple[int, ...]:
        """The steps to multiply gradients at."""
        return self._spread(self.count)

    @property
    def sketch_points(self) -> tuple[int, ...]:
        """The steps to sketch gradients at."""
        return self._spread(0 if self.sketches is None else self.sketches.points)

    def _spread(self, count: int) -> tuple[int, ...]:
        return tuple(spread_points(self.steps, count).tolist()) if count else ()

    def plan(self) -> "Plan":
        """The reference run: it draws from the whole pool but what is reserved, by a seed of its own."""
        from gptfl.training.reference_run import reference_plan

        open_ = np.setdiff1d(np.arange(self.pool), self.reserved)
        return reference_plan(open_, self.batching, self.steps, run_seed(self.seed, REFERENCE))

    def left(self, existing: Dynamics | None) -> tuple[bool, bool]:
        """Whether the recording still lacks products, and sketches, that are wanted.

        Raises ``DataError`` where it has others.
        """
        products = sketches = None
        if existing is not None:
            products, sketches = existing.gradients, existing.sketches
        if self.points and products is not None:
            found = tuple(products.steps.tolist())
            if found != self.points:
                raise DataError(
                    f"{self.path} has gradient products at {len(found)} points (steps {_listed(found)}), not at "
                    f"{len(self.points)} ({_listed(self.points)})",
                    f"ask for --gradient-points {len(found)}, or record under another --name",
                )
        if self.sketches is not None and sketches is not None:
            self.sketches.check(sketches, self.sketch_points, str(self.path))
        return bool(self.points) and products is None, self.sketches is not None and sketches is None

    def lacks_reference(self, existing: Dynamics | None) -> bool:
        """Whether the reference run of a recording is to be kept, and isn't yet. Raises ``DataError`` where another one is."""
        from gptfl.training.reference_points import REMEDY, is_of_recording, read_about

        if self.sketches is None or not self.sketches.keep:
            return False
        about = read_about(reference_folder(self.path))
        if about is None:
            return True
        same = existing is not None and is_of_recording(about, existing)
        if not same or about.seed != self.plan().seed or about.steps != self.sketch_points:
            raise DataError(f"{reference_folder(self.path)} keeps another reference run", REMEDY)
        return False

    def lacks(self, existing: Dynamics | None) -> bool:
        """Whether anything is wanted that isn't there yet. Raises ``DataError`` as ``left`` and ``lacks_reference``."""
        return any(self.left(existing)) or self.lacks_reference(existing)

    def kept_bytes(self, trainer: "RecordingTrainer", existing: Dynamics | None) -> int:
        """What keeping the reference run of a recording takes on disk, 0 where it isn't to be kept, or is already."""
        from gptfl.training.reference_points import kept_bytes

        return kept_bytes(trainer, self.sketch_points) if self.lacks_reference(existing) else 0

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

        def divisor(place: int, rows: slice, gradients: "Tensor") -> "Tensor":
            return gradients.square().add_(ones[place][rows].flatten()).sqrt_()

        multiply(here, there, divisor, own=False, room=setup.arrangement.room)
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

    def sketch_cost(self, trainer: "RecordingTrainer", seconds_per_step: float) -> SketchCost:
        """Time one piece of examples, and scale up; ``seconds_per_step`` is 0 where another has the run's cost."""
        from gptfl.training.kept_sketches import kept_memory

        assert self.sketches is not None  # asked only where sketches are
        setup = self._set_up_sketches(trainer)
        work = setup.piece(self.plan().seed)
        work()  # a warm-up
        started = time.perf_counter()
        examples = work()
        each = (time.perf_counter() - started) / examples
        pool, test, count = len(setup.pool), len(setup.test), len(self.sketch_points)
        return SketchCost(
            points=self.sketch_points,
            pool=pool,
            test=test,
            dimensions=setup.dimensions,
            per_example=each,
            seconds=count * (pool + test) * each + max(self.sketch_points) * seconds_per_step,
            memory_bytes=setup.held + kept_memory(setup),
            file_bytes=self.sketches.bytes(pool, test),
        )

    def record(
        self,
        trainer: "RecordingTrainer",
        existing: Dynamics | None,
        progress: Progress,
        executor: Executor | None = None,
        maker: DescribesWork | None = None,
    ) -> tuple[str, ...]:
        """Carry out the reference run and put what is lacking into the recording, whole or not at all.

        Returns what was added, in words.

        Args:
            trainer: carries it out.
            existing: the recording so far.
            progress: called along the way.
            executor: has several workers sketch where nothing but sketches is lacking; None for this process alone.
            maker: makes their trainers.
        """
        from gptfl.training.kept_products import KeptMultiplying
        from gptfl.training.reference_run import follow_reference

        lacks_products, lacks_sketches = self.left(existing)
        visits: dict[int, list[Callable[[Moment], None]]] = {}
        plan, added = self.plan(), self._keep(trainer, existing)
        if lacks_products:
            setup = self._set_up(trainer)
            multiplying = KeptMultiplying(trainer, plan, self.points, setup, self.path)
            total = len(self.points), len(setup.pool) * len(setup.test)
            multiplying.on_pairs = counting(progress, "gradients", "pairs", *total, multiplying.done)
            added += multiplying.notes
            for step in self.points:
                visits.setdefault(step, []).append(multiplying)
        if lacks_sketches:
            sketching = self._sketching_of(trainer, progress)
            added += sketching.notes
            for step in self.sketch_points:
                visits.setdefault(step, []).append(sketching)

        def visit(moment: "Moment") -> None:
            for one in visits[moment.step]:
                one(moment)

        if not visits:
            return tuple(added)
        rates = None
        if maker is not None and executor is not None and shares_out(executor) and not lacks_products:
            rates = sketch_by_units(executor, maker, sketching, progress)
        if rates is None:
            rates = follow_reference(trainer, plan, visits, visit)
        if lacks_products:
            append_gradients(self.path, multiplying.products(rates))
            multiplying.kept.remove()
            added.append(f"gradient products at steps {_listed(self.points)} of a reference run added")
        if lacks_sketches:
            append_sketches(self.path, sketching.sketches(rates))
            sketching.kept.remove()
            added.append(f"gradient sketches at steps {_listed(self.sketch_points)} of a reference run added")
        return tuple(added)

    def _keep(self, trainer: "RecordingTrainer", existing: Dynamics | None) -> list[str]:
        """Keep the reference run where that is wanted and it isn't yet; what to tell of it.

        It is followed for this alone: beside the gradients of a pool that takes little.
        """
        from gptfl.training.reference_points import ReferenceKeeper
        from gptfl.training.reference_run import follow_reference

        if not self.lacks_reference(existing):
            return []
        assert existing is not None  # its runs are recorded before
        keeper, plan = ReferenceKeeper(reference_folder(self.path), trainer), self.plan()
        run, examples = follow_reference(trainer, plan, self.sketch_points, keeper), existing.examples
        keeper.finish(run, examples, plan.seed, existing.settings.identity(examples))
        return [f"the reference run is kept in {reference_folder(self.path)}"]

    def sketched(self, trainer: "RecordingTrainer", progress: Progress) -> tuple[GradientSketches, "KeptSketching"]:
        """Carry out the reference run for its sketches alone, which lie in blocks beside the recording until these are removed.

        Blocks that an earlier call left there are taken.
        """
        sketching = self._sketching_of(trainer, progress)
        return sketching.follow(), sketching

    def _sketching_of(self, trainer: "RecordingTrainer", progress: Progress) -> "KeptSketching":
        from gptfl.training.kept_sketches import KeptSketching

        setup = self._set_up_sketches(trainer)
        sketching = KeptSketching(trainer, self.plan(), self.sketch_points, setup, self.path)
        total = len(self.sketch_points), len(setup.pool) + len(setup.test)
        sketching.on_examples = counting(progress, "sketches", "examples", *total, sketching.done)
        return sketching

    def _set_up(self, trainer: "RecordingTrainer") -> "Setup":
        from gptfl.training.reference_run import Setup

        if self._setup is None or self._setup.tape.network is not trainer.network:
            with advised(trainer, GRADIENTS):
                self._setup = Setup.of(trainer)
        return self._setup

    def _set_up_sketches(self, trainer: "RecordingTrainer") -> "SketchSetup":
        from gptfl.training.gradient_sketches import SketchSetup

        assert self.sketches is not None  # asked only where sketches are
        if self._sketching is None or self._sketching.tape.network is not trainer.network:
            test = None if self._setup is None else self._setup.test
            with advised(trainer, SKETCHES[self.sketches.option]):
                self._sketching = SketchSetup.of(trainer, self.sketches.dimensions, self.sketches.modules, test)
        return self._sketching


@contextlib.contextmanager
def advised(trainer: "RecordingTrainer", instead: str) -> Iterator[None]:
    """Within, a model whose gradients can't be taken apart is named, with what may be asked for ``instead``."""
    from gptfl.training.gradients.layers import InseparableError

    try:
        yield
    except InseparableError as error:
        raise DataError(f"{trainer.network.loaded.source.name}: {error.problem}", instead) from error


def counting(
    progress: Progress, what: str, unit: str, points: int, each: int, done: int = 0
) -> Callable[[int, int, int], None]:
    """A callback that adds up what is done at each point of the reference run; it takes point, step and how much more is
    done.

    Args:
        progress: called with the sum.
        what: the stage, as ``progress`` shows it.
        unit: what is counted, such as "examples".
        points: how many points the reference run has.
        each: how much there is to do at each.
        done: how much was there before.
    """

    def on_done(point: int, step: int, more: int) -> None:
        nonlocal done
        done += more
        progress(what, done, points * each, f"{unit}; point {point + 1} of {points}, step {step}")

    progress(what, done, points * each, f"{unit} of the reference run")
    return on_done


def _listed(steps: Sequence[int]) -> str:
    return ", ".join(map(str, steps))
