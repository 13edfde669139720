"""Records the runs of any training loop into a recording that every command takes."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from jaxtyping import Int

from gptfl.core import Dynamics, MetricInfo
from gptfl.core.texts import counted
from gptfl.errors import DataError, GptflError, UsageError
from gptfl.plugins.registry import get_registry
from gptfl.recorder import inputs
from gptfl.recorder.file import Identity, RunFile
from gptfl.recorder.forecast import Course, Forecast, Forecaster, planned_batches, usual_rates, usual_steps
from gptfl.recorder.inputs import LoopOptions, check_names, listed, names_of
from gptfl.recorder.measures import Measure, Measured, infos_of, measures_of, numbers_of
from gptfl.recorder.resumed_weights import say_other_weights, trained_digests
from gptfl.recorder.rows import examples_of, id_of
from gptfl.recorder.run import RunSoFar
from gptfl.recorder.sketch_spec import SketchSpec
from gptfl.recorder.sketcher import Sketcher

Rates = Callable[[int], float] | Sequence[float]


class Recorder:
    """Records each run of a training loop: the ids of every step, its step size, and the test examples' metrics.

    ``with recorder.run(): ... recorder.step(ids, lr)``. A run is on disk as soon as its block has ended.

    Args:
        name: what the recording's files are called in the workspace.
        pool: every training example that any run may see: gptfl's examples, or rows with an id and a text.
        test: the test examples, alike.
        every: after how many steps they are measured; also before the first and after the last.
        model: the model that is trained. Its losses on ``test`` are measured unless ``measure`` says otherwise.
        tokenizer: makes tokens of test examples that are texts.
        measure: gives one number for each test example: a function without arguments, or several by the names of metrics.
        higher_is_better: the names of those of which more is better.
        workspace: the folder, by default that of the commands.
        batch_size: how many test examples are measured at a time.
        id_column: the key of a row's id.
        groups: names of groups of test ids, each of which is forecast, too.
        forecast: whether to say after each measurement where the run will end, once there are two earlier runs.
        simulator: the file of one to forecast with, rather than one fitted to the earlier runs on the spot.
        stop_when: a function of the forecast, or a number: stop once the whole 90 % band is worse than that.
        say: what prints a line.
        model_name: what the model is called.
        sketches_at: at which steps to take gradient sketches of the pool and the test examples: steps, a number of steps
            from one to the next, or ``"auto"`` for four. A recording keeps those of one run.
        sketch_dimensions: numbers of a sketch.
        sketch_modules: a shell pattern for the names of the trained weights that count.
        optimiser: the training's optimiser, which sketches follow.
        loss_mean: what the training's loss is the mean over, ``"tokens"`` of a batch or its ``"examples"``.

    Raises ``DataError`` for examples that make no sense, ``UsageError`` for options that don't go together, and
    ``TypeError`` for a name that is no option.
    """

    made_by = "gptfl.Recorder"

    def __init__(
        self,
        name: str,
        *,
        pool: Iterable[Any],
        test: Iterable[Any],
        every: int = 10,
        model: Any = None,
        tokenizer: Any = None,
        measure: Measure | Mapping[str, Measure] | None = None,
        higher_is_better: Iterable[str] = (),
        workspace: str | Path | None = None,
        batch_size: int = 8,
        id_column: str = "id",
        **more: Unpack[LoopOptions],
    ) -> None:
        check_names(more, type(self).__init__, self.made_by, LoopOptions)
        inputs.check_count(every, "every", " of steps")
        inputs.check_count(batch_size, "batch_size")
        inputs.check_texts(name=name, id_column=id_column)
        self.every, self.say, self.stop_when = every, more.get("say", inputs.say), inputs.stop_of(more)
        self.file = RunFile(name, workspace)
        rows, pool = listed(test, "test"), listed(pool, "pool")
        self.pool = examples_of(pool, "training example", tokenizer, id_column, own_ids=False)
        self.test = examples_of(rows, "test example", tokenizer, id_column)
        self.places = {example.id: place for place, example in enumerate(self.pool)}
        self.model, self.tokenizer = model, tokenizer
        training = more.get("optimiser"), more.get("loss_mean")
        self.sketcher = Sketcher(SketchSpec.of(more), (pool, rows), self.say, *training, self.file.sketches_folder)
        self.measures = measures_of(measure, model, tokenizer, rows, self.test, batch_size)
        self.metrics: dict[str, MetricInfo] = infos_of(self.measures, names_of(higher_is_better, "higher_is_better"))
        tests = {example.id: place for place, example in enumerate(self.test)}
        self.groups = inputs.group_places(more.get("groups") or {}, tests)
        self.wants_forecast, self.simulator = more.get("forecast", True), more.get("simulator")
        self.model_name = more.get("model_name") or inputs.name_of(model)
        self.forecast: Forecast | None = None
        """The last forecast of the run; None where there is none."""
        self.should_stop = False
        """Whether ``stop_when`` said so."""
        self._run: RunSoFar | None = None
        self._earlier: Dynamics | None = None
        self._forecaster: Forecaster | None = None
        self._quiet = False

    @property
    def path(self) -> Path:
        """The recording."""
        return self.file.path

    @contextmanager
    def run(
        self,
        *,
        steps: int | None = None,
        ids: Iterable[Any] | None = None,
        rates: Rates | None = None,
        seed: int = 0,
        resume: Mapping[str, Any] | None = None,
    ) -> Iterator["Recorder"]:
        """Record one run: measures the test examples, takes the block's steps, and writes the run when the block ends.

        Args:
            steps: how many the run will take, where that is known; the forecast is for that step.
            ids: the ids of the training examples that it passes through; those seen so far where it isn't said.
            rates: the step sizes planned, or a function of the step from 0; as in earlier runs where it isn't said.
            seed: the number that the run was drawn by, which is kept.
            resume: what ``state_dict`` gave: the run goes on from there.

        A block that ends by an exception isn't recorded. Raises ``UsageError`` for a run within a run, and ``DataError``
        where the recording is of other examples, another model or another ``every``, or the run took no step.
        """
        self.begin(steps=steps, ids=ids, rates=rates, seed=seed, resume=resume)
        try:
            yield self
        except BaseException as error:
            self.abandon(f"by {type(error).__name__}")
            raise
        self.finish()

    def begin(
        self,
        *,
        steps: int | None = None,
        ids: Iterable[Any] | None = None,
        rates: Rates | None = None,
        seed: int = 0,
        resume: Mapping[str, Any] | None = None,
    ) -> None:
        """What ``run`` does before its block.

        Args:
            steps: how many the run will take, where that is known.
            ids: the ids of the training examples that it passes through; those seen so far where it isn't said.
            rates: the step sizes planned, or a function of the step from 0.
            seed: the number that the run was drawn by, which is kept.
            resume: what ``state_dict`` gave: the run goes on from there.

        Raises as ``run`` does.
        """
        if self._run is not None:
            raise UsageError("a run is being recorded already", "end its block before the next recorder.run()")
        members = None if ids is None else self._places(ids)
        identity = self._identity(resume)
        earlier = self.file.read(identity)
        run = RunSoFar(identity, seed, steps, members, rates, tuple(self.metrics), started=time.perf_counter())
        if resume is not None:
            run.load(resume)
            say_other_weights(self.model, run.weights, run.step, self.say)
        self._earlier, self._forecaster, self._quiet = earlier, None, False
        self.forecast, self.should_stop, self._run = None, False, run
        try:
            self._announce(run)
            there = earlier is not None and earlier.sketches is not None
            self.sketcher.begin(run, (self.pool, self.test), self.model, self.tokenizer, there)
            if resume is None:
                self._measure(run)
                self.sketcher.look(run)
        except BaseException:
            self._run = None
            raise

    def step(
        self,
        ids: Iterable[Any] | Any,
        lr: float | Any,
        losses: Iterable[Any] | None = None,
        last: bool = False,
        clip_factor: float | None = None,
    ) -> None:
        """Record one optimiser step that was just taken.

        Args:
            ids: the ids of all examples in the step's batches, accumulated ones together.
            lr: the optimiser's step size at this step.
            losses: each one's own loss, where the loop has computed it; kept in a table beside the recording.
            last: measure now, since no other step follows.
            clip_factor: by what clipping shortened the step's gradient, from 0 to 1, for sketches.

        Raises ``UsageError`` without a run or for a step size that is no number, and ``DataError`` for no ids, for a
        text in place of a list of them, and for an id that isn't in the pool.
        """
        run = self._running()
        rate = inputs.rate_of(lr)
        places = self._places(ids)
        if not len(places):
            raise DataError(f"step {run.step + 1} has no ids", "give the ids of the examples in its batch")
        run.add(places, rate, None if losses is None else [float(one) for one in losses])
        if last or run.step % self.every == 0 or run.step == run.planned:
            self._measure(run)
        self.sketcher.look(run, clip_factor)

    def finish(self) -> None:
        """What ``run`` does after its block: measures if the last step wasn't, and appends the run to the recording."""
        run = self._running()
        try:
            if run.step == 0:
                raise DataError("the run took no step, and nothing is recorded", "call recorder.step after each one")
            if run.measured[-1] != run.step:
                self._measure(run)
            self._keep(run)
        finally:
            self._run = None

    def finish_as_measured(self) -> None:
        """``finish`` without another measurement, where the model is no longer that of the last step."""
        run = self._running()
        run.cut()
        self.finish()

    def abandon(self, why: str) -> None:
        """Forget the run, which isn't recorded."""
        run, self._run = self._run, None
        if run is not None:
            self.say(f"the run ended {why} after {run.step} steps and isn't recorded")

    @property
    def running(self) -> bool:
        """Whether a run is being recorded."""
        return self._run is not None

    def state_dict(self) -> dict[str, Any]:
        """What it takes to go on with this very run (``run(resume=...)``): JSON-able, to be saved with a checkpoint.

        Gradient sketches so far are put into files beside the recording. Raises ``ResourceError`` if they can't be.
        """
        run = self._running()
        self.sketcher.keep(run)
        run.weights = trained_digests(self.model)
        return run.state()

    def _running(self) -> RunSoFar:
        if self._run is None:
            raise UsageError("there is no run to record", "call it within `with recorder.run():`")
        return self._run

    def _identity(self, resume: Mapping[str, Any] | None) -> Identity:
        known = None
        if self.model is not None:
            from gptfl.recorder.losses import model_fingerprint

            # A run that goes on began from weights that are gone.
            known = model_fingerprint(self.model) if resume is None else resume.get("model_fingerprint")
        return Identity(self.pool, self.test, self.metrics, self.every, self.made_by, self.model_name, known)

    def _places(self, ids: Iterable[Any] | Any) -> Int[np.ndarray, " id"]:
        found = []
        for number, one in enumerate(inputs.ids_of_batch(ids)):
            name = id_of(one, f"training example {number} of the batch")
            if name not in self.places:
                raise DataError(f"the id {name!r} is not in the pool", "give every example that a run may see as pool=")
            found.append(self.places[name])
        return np.array(found, dtype=np.int64)

    def _announce(self, run: RunSoFar) -> None:
        count = len(self.test)
        if run.evaluations is None:
            self.say(f"{count} test examples are measured every {self.every} steps, at the start and at the end")
            return
        self.say(f"{run.evaluations} evaluations of {count} test examples, every {self.every} steps of {run.planned}")

    def _measure(self, run: RunSoFar) -> None:
        from gptfl.recorder.losses import undisturbed

        with undisturbed(self.model):
            begun = time.perf_counter()
            run.keep(self._values())
            took, count = time.perf_counter() - begun, run.evaluations
            if len(run.measured) == 1:
                whole = "" if count is None else f", all {count} about {count * took:.3g} s"
                self.say(f"the first evaluation took {took:.3g} s{whole}")
            if run.step:
                self._forecast(run)

    def _values(self) -> dict[str, Measured]:
        return {name: numbers_of(measure(), name, len(self.test)) for name, measure in self.measures.items()}

    def _keep(self, run: RunSoFar) -> None:
        recorded = self.file.append(run.identity, run.run(), self.sketcher.finish(run))
        if run.losses:
            path = self.path.with_name(f"{self.file.name}.own-losses") / f"{recorded.name}.csv"
            run.write_losses(path, [example.id for example in self.pool])
        off = "" if run.planned in (None, run.step) else f", where steps={run.planned} was said"
        self.say(f"recorded {recorded.name} ({counted(run.step, 'step')}{off}) in {self.path}")

    def _forecast(self, run: RunSoFar) -> None:
        """Forecast the end of the run, where earlier runs tell of it."""
        if not self.wants_forecast or self._quiet or self._earlier is None:
            return
        if run.step >= (run.planned or usual_steps(self._earlier.runs)):  # the end is known
            return
        metric = self.metrics.get("loss") or next(iter(self.metrics.values()))
        try:
            if self._forecaster is None:
                given = self._earlier, metric, self.groups, self.path, get_registry(), self.simulator
                self._forecaster = Forecaster(*given)
            found = self._forecaster.forecast(self._course(run, self._earlier, metric))
        except GptflError as error:
            # The training goes on without a forecast.
            self.say(f"no forecast: {error.problem}")
            self._quiet = True
            return
        self.forecast = found
        self.say(str(found))
        if (stop := self.stop_when) is not None and found.step < found.end and _stops(stop, found, metric):
            self.should_stop = True
            self.say(f"stop_when holds at step {found.step}: the run should stop")

    def _course(self, run: RunSoFar, earlier: Dynamics, metric: MetricInfo) -> Course:
        steps = run.planned or usual_steps(earlier.runs)
        done, taken = run.batches(), np.array(run.rates)
        members = np.unique(done[done >= 0]) if run.members is None else run.members
        batches = planned_batches(done, members, steps, run.seed)
        rates = usual_rates(earlier.runs, taken, steps)
        if run.plan is not None:
            plan = run.plan if callable(run.plan) else run.plan.__getitem__
            rates[run.step :] = [float(plan(step)) for step in range(run.step, steps)]
        return Course(batches, rates, np.array(run.measured), np.stack(run.values[metric.name]), self.every)


def _stops(stop: inputs.Stop, found: Forecast, metric: MetricInfo) -> bool:
    if callable(stop):
        return bool(stop(found))
    return found.high < stop if metric.higher_is_better else found.low > stop
