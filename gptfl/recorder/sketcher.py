"""Gradient sketches of a run from its beginning to its end: whether any are taken, when, and what they cost."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptfl.core import Example, GradientSketches
from gptfl.errors import DataError, UsageError
from gptfl.recorder.rows import Collate, token_rows
from gptfl.recorder.run import RunSoFar
from gptfl.recorder.sketch_files import KeptSketches
from gptfl.recorder.sketch_spec import SketchSpec

if TYPE_CHECKING:
    from gptfl.recorder.sketches import LiveSketches


class Sketcher:
    """Takes the sketches that are wished for along each run; a recording keeps those of one run.

    ``rows`` are the pool's and the test examples' as given, of which ``collate`` makes the labels that they lack.
    ``optimiser`` and ``loss_mean`` say how the training steps, and may be set until a run begins. In ``folder`` the
    sketches of runs are kept that are to go on later.
    """

    def __init__(
        self,
        spec: SketchSpec | None,
        rows: tuple[Sequence[Any], Sequence[Any]],
        say: Callable[[str], None],
        optimiser: Any = None,
        loss_mean: str | None = None,
        folder: Path | None = None,
    ) -> None:
        if spec is None and (optimiser is not None or loss_mean is not None):
            raise UsageError(
                "optimiser and loss_mean say how to sketch gradients, and none are asked for",
                "leave them out, or give sketches_at='auto'",
            )
        self.spec, self.say = spec, say
        self.rows = ((), ()) if spec is None else rows
        self.collate: Collate | None = None
        self.optimiser, self.loss_mean = optimiser, loss_mean
        self.folder = folder
        self._live: LiveSketches | None = None

    def begin(
        self,
        run: RunSoFar,
        examples: tuple[tuple[Example, ...], tuple[Example, ...]],
        model: Any,
        tokenizer: Any,
        there: bool,
    ) -> None:
        """Prepare for a run.

        Args:
            run: that begins.
            examples: pool and test.
            model: that is trained.
            tokenizer: reads rows of text.
            there: whether its recording has sketches already, so that none are taken.

        A run that goes on takes up the sketches that its checkpoint tells of; where one is missing, it says so and
        takes none. Raises ``UsageError`` where steps or the recipe aren't known, or the run began with sketches of another
        kind, and ``DataError`` where it can't be followed.
        """
        self._live = None
        if self.spec is None:
            return
        points = self.spec.points(run.planned, *map(len, examples))
        if there:
            self.say("the recording has gradient sketches of an earlier run, and none are taken of this one")
            return
        kept = run.sketches
        if run.step:
            points, missing = self._taken_up(points, kept, run.step)
            self.spec.check_size(points, *map(len, examples))
            if missing:
                what = f"{'steps' if missing[1:] else 'step'} {', '.join(map(str, missing))}"
                self.say(
                    f"the run goes on from step {run.step}, and its checkpoint has no gradient sketches of {what}: none "
                    "are taken"
                )
                return
        for what, one in (("model", model), ("optimiser", self.optimiser)):
            if one is None:
                raise UsageError(f"sketches_at without {what}", f"give the Recorder {what}=, or leave sketches_at out")
        from gptfl.recorder.sketches import LiveSketches

        pool, test = (
            token_rows(rows, some, tokenizer, self.collate, what)
            for rows, some, what in zip(self.rows, examples, ("training", "test"), strict=True)
        )
        live = LiveSketches.of(
            examples,
            (pool, test),
            model,
            self.optimiser,
            points,
            seed=run.seed,
            dimensions=self.spec.dimensions,
            modules=self.spec.modules,
            loss_mean=self.loss_mean,
            name=run.identity.model,
        )
        if kept is not None and self.folder is not None:
            try:
                live.load(kept.only(tuple(step for step in points if step <= run.step)), self.folder)
            except DataError as error:
                self.say(
                    f"the run goes on from step {run.step} without its gradient sketches, and none are taken: {error.problem}"
                )
                return
        self._live = live

    def _taken_up(
        self, points: tuple[int, ...], kept: KeptSketches | None, step: int
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The points of a run that goes on from a step, and those up to there that its checkpoint doesn't tell of."""
        assert self.spec is not None
        past = tuple(one for one in points if one <= step)
        if kept is None:
            return points, past
        if (kept.dimensions, kept.modules) != (self.spec.dimensions, self.spec.modules) and kept.points:
            raise UsageError(
                f"the run goes on with sketches of sketch_dimensions={kept.dimensions}, sketch_modules={kept.modules!r}, "
                f"not {self.spec.dimensions}, {self.spec.modules!r}",
                "give what it began with, or leave sketches_at out",
            )
        if not isinstance(self.spec.at, tuple) and kept.points:
            # Where more steps are planned by now, points are spread otherwise; those taken are good all the same.
            past = tuple(sorted(kept.points))
        return (*past, *(one for one in points if one > step)), tuple(one for one in past if one not in kept.points)

    def keep(self, run: RunSoFar) -> None:
        """Put the sketches so far into files, and say so in the run. Raises ``ResourceError`` if they can't be written."""
        run.sketches = None if self._live is None or self.folder is None else self._live.keep(self.folder)

    def look(self, run: RunSoFar, clip_factor: float | None = None) -> None:
        """Take the sketches of the step that was just taken, if it is one of the points."""
        if self._live is None:
            return
        if run.step:
            # Of the steps before a run was resumed nothing is known.
            missing = run.step - 1 - len(self._live.clipped)
            self._live.clipped += [1.0 if clip_factor is None else clip_factor] * (1 + missing)
        took = self._live(run.step, run.batches())
        if took is not None and run.step == self._live.points[0]:
            count = len(self._live.points)
            self.say(
                f"gradient sketches of {len(run.identity.pool)} training and {len(run.identity.test)} test examples: the "
                f"first took {took:.3g} s, all {count} about {count * took:.3g} s"
            )

    def finish(self, run: RunSoFar) -> GradientSketches | None:
        """What was taken along the run, None where nothing was."""
        live, self._live = self._live, None
        if live is None:
            return None
        missed = [step for step in live.points if step > run.step]
        if missed:
            self.say(f"the run ended before step {missed[0]}, and has no sketches there")
        return live.sketches(run.rates)
