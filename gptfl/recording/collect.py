"""Records how fine-tuning on random subsets of a pool moves every test example's metrics."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gptfl.core import Progress, TaskData, silent
from gptfl.designs.draws import Draw
from gptfl.interruption import leaving
from gptfl.options.base import make
from gptfl.options.recording import CollectOptions
from gptfl.options.signature import takes
from gptfl.plugins.guards import runs_of
from gptfl.plugins.interfaces import Executor
from gptfl.plugins.registry import get_registry
from gptfl.recording.design import make_plans
from gptfl.recording.group_design import with_clusters
from gptfl.recording.launch import join_others, launch, starts_others
from gptfl.recording.movement import movement_of
from gptfl.recording.next_runs import Choose, check_next, draws_with_next
from gptfl.recording.plan import RecordingPlan, plan_recording
from gptfl.recording.reference_run import ReferenceJob
from gptfl.recording.result import CollectResult
from gptfl.recording.resume import RecordingJob, left_at
from gptfl.recording.trainers import TrainerMaker
from gptfl.store.examples import check_examples
from gptfl.store.workspace import Workspace

if TYPE_CHECKING:
    from gptfl.recording.cost import Announce, CostEstimate
    from gptfl.training.checkpoints import CheckpointWriter
    from gptfl.training.distributed import ProcessGroup


@takes(CollectOptions)
def collect(
    model: str,
    task: str | None = None,
    *groups: object,
    progress: Progress = silent,
    announce: "Announce | None" = None,
    **options: Any,
) -> CollectResult:
    """Fine-tune ``model`` on random subsets of the task's pool and record every test example.

    The defaults are the paper's recipe. Finished runs are on disk at once; the same call again finishes what an
    interrupted one left, with the same outcome, and more ``runs`` keep the first.

    Args:
        model: a short name, a Hub id or a folder.
        task: a task's name; several, separated by commas, are a mixture. None for data of one's own, which ``data``,
            ``train`` or ``dataset`` then names.
        groups: options in groups, such as ``gptfl.options.recording.TrainingOptions(lr=1e-4)``.
        progress: called along the way.
        announce: called with the estimate before the recording starts; ``dry_run=True`` stops there.
        options: single options by name, as ``lr=1e-4, few_runs=True``, which go before those of groups. They are
            those of ``gptfl collect`` (docs/cli.md) with underscores; ``metrics`` are a sequence.

    Raises ``TypeError`` for a name that is no option, ``UsageError`` for settings that make no sense, ``DataError``
    where data, model or an existing recording don't fit or a run diverges, ``PluginError`` for an unknown name, and
    ``ResourceError`` where disk, network or another process is in the way.
    """
    all_options = make(CollectOptions, *groups, model=model, task=task, **options)
    return record(all_options, progress=progress, announce=announce)


def record(
    options: CollectOptions,
    *,
    progress: Progress = silent,
    announce: "Announce | None" = None,
    choose: Choose | None = None,
) -> CollectResult:
    """``collect`` with all options in one object, from which the processes of a recording start, too.

    Args:
        options: what was asked for.
        progress: called along the way.
        announce: called with the estimate before the recording starts.
        choose: chooses the runs of ``--next``; None where none are asked for, or some that were chosen are left.
    """
    check_next(options)
    plan = plan_recording(options, get_registry())
    space = Workspace.resolve(options.output.workspace)
    path = space.dynamics_path(plan.stem)
    execution = options.execution
    if starts_others(execution.processes):
        # They load the examples, and refuse what can't be recorded, before any of them loads a model.
        return launch(options, progress, announce, lambda: left_at(path))
    examples = plan.load()
    check_examples(examples, f"task {plan.task!r}")
    pool = plan.design.reserved(examples.pool)
    examples = replace(examples, pool=with_clusters(pool, plan.design.by, plan.design.seed, path))
    # Refuses a pool that the design can't be made on before the processes meet.
    plan.design.layout(examples.pool, plan.task)
    for metric in plan.metrics:
        metric.check(examples.test)
    group = join_others(plan.device, execution.shard)
    if not group.main:
        progress, announce = silent, None
    if not group.main:
        job, make_trainer = _job(plan, examples, group, path, progress)
        _take_part(job, plan.executor, make_trainer, options.output.dry_run)
        return CollectResult(path, plan.design.runs, 0, None)
    if options.output.dry_run:
        job, make_trainer = _with_next(plan, examples, group, path, progress, choose)
        left = group.broadcast(job.left())
        trainer = make_trainer()
        job.left_by(trainer)
        return CollectResult(path, plan.design.runs, 0, job.estimate(trainer, left, announce, plan.executor))
    with leaving(lambda: left_at(path)), space.lock("gptfl collect"):
        # What is recorded is read under the lock, so that nothing is added to it meanwhile.
        job, make_trainer = _with_next(plan, examples, group, path, progress, choose)
        return execute_job(job, plan.executor, make_trainer, announce, progress)


def _take_part(job: RecordingJob, executor: Executor, make_trainer: TrainerMaker, dry_run: bool) -> None:
    """What the other processes do of a recording: compute their share of every run, and write nothing.

    Args:
        job: the recording; the first process decides which runs are left, which the others receive.
        executor: carries out the runs.
        make_trainer: makes this process's trainer, of the group of all of them.
        dry_run: whether only the cost is estimated.
    """
    from gptfl.training.trainer import DivergedError

    group = make_trainer.group
    left = group.broadcast(job.plans)
    if not left and not dry_run:
        return
    trainer = make_trainer()
    if dry_run:
        job.estimate(trainer, left, None)
        return
    left = group.broadcast(job.plans)
    job.estimate(trainer, left, None)
    with suppress(DivergedError):  # the first process knows as much, and tells
        for _ in runs_of(executor, make_trainer, left, lambda index, done, total: None):
            pass


def _with_next(
    plan: RecordingPlan,
    examples: TaskData,
    group: "ProcessGroup",
    path: Path,
    progress: Progress,
    choose: Choose | None,
) -> tuple[RecordingJob, TrainerMaker]:
    """As ``_job``; where runs are to be chosen, they are once the recording is known to be the one asked for."""
    job, maker = _job(plan, examples, group, path, progress)
    if plan.options.design.next is None:
        return job, maker
    job.left()
    return _job(plan, examples, group, path, progress, draws_with_next(plan, path, job.reserved, choose))


def _job(
    plan: RecordingPlan,
    examples: TaskData,
    group: "ProcessGroup",
    path: Path,
    progress: Progress,
    draws: Sequence[Draw] | None = None,
) -> tuple[RecordingJob, TrainerMaker]:
    """What is to be recorded, and what trains for it in this process; ``draws`` are the design's unless given."""
    options = plan.options
    recipe = replace(plan.trainer, processes=group.size)
    draws = plan.design.draws(examples.pool, plan.task) if draws is None else draws
    batching, seed = plan.batching, options.execution.seed
    reserved = plan.design.places(examples.pool)
    reference = None
    if plan.gradients.points or plan.sketches is not None:
        points = plan.gradients.points
        reference = ReferenceJob(
            path,
            plan.design.pool,
            batching=batching,
            steps=plan.steps,
            seed=seed,
            count=points,
            sketches=plan.sketches,
            reserved=reserved,
        )
    job = RecordingJob(
        path=path,
        settings=plan.settings(examples, recipe),
        data=examples,
        metrics=plan.metrics,
        plans=make_plans(draws, batching, plan.steps),
        texts=options.output.texts,
        reference=reference,
        draws=draws,
        reserved=reserved,
        whole_steps=plan.whole_steps,
    )
    if plan.checkpoints is not None:
        job.checkpoint_writer = _checkpoint_writer(
            path.with_name(f"{plan.stem}.checkpoints"), plan.checkpoints, job.mark()
        )
    maker = TrainerMaker(
        options.examples.model,
        options.execution.device,
        data=examples,
        metrics=plan.metrics,
        recipe=recipe,
        progress=progress,
        group=group,
        checkpoint_writer=job.checkpoint_writer,
    )
    return job, maker


def execute_job(
    job: RecordingJob,
    runner: Executor,
    make_trainer: TrainerMaker,
    announce: "Announce | None",
    progress: Progress,
) -> CollectResult:
    """Record what is left: what came of it. The model is loaded only if something is.

    Args:
        job: what is to be recorded.
        runner: carries out the runs.
        make_trainer: loads the model.
        announce: called with the estimate before the recording starts, None for nobody.
        progress: called along the way.
    """
    left = make_trainer.group.broadcast(job.left())
    if not left and not job.lacks_gradients():
        job.check_name(make_trainer)
        job.merge()
        return _result(job, 0, None, (_all_recorded(job),))
    trainer = make_trainer()
    left = make_trainer.group.broadcast(job.left_by(trainer))
    guess = job.estimate(trainer, left, announce, runner)
    again = job.again(left)
    if left:
        job.record(runner, make_trainer, left, progress)
    notes: tuple[str, ...] = () if left else (_all_recorded(job),)
    notes += job.record_reference(trainer, progress, runner, make_trainer)
    if again:
        which = "1 recorded run was" if again == 1 else f"{again} recorded runs were"
        notes += (f"{which} carried out again for checkpoints that were missing",)
    return _result(job, len(left) - again, guess, notes)


def _all_recorded(job: RecordingJob) -> str:
    return "the run is recorded already" if len(job.plans) == 1 else f"all {len(job.plans)} runs are recorded already"


def _result(job: RecordingJob, new: int, guess: "CostEstimate | None", notes: tuple[str, ...]) -> CollectResult:
    recorded = job.recorded() or job.dynamics(())
    ends = {
        name: np.stack([run.metrics[name][[0, -1]] for run in recorded.runs]).astype(np.float64)
        for name in recorded.metrics
    }
    movement = movement_of(recorded.runs)
    notes += () if movement is None else movement.notes
    moved = {name: (float(values[:, 0].mean()), float(values[:, 1].mean())) for name, values in ends.items()}
    sketched = recorded.sketches is not None or (job.reference is not None and job.reference.sketches is not None)
    return CollectResult(job.path, len(recorded.runs), new, guess, notes, moved, sketched)


def _checkpoint_writer(folder: Path, steps: tuple[int, ...], recording: str) -> "CheckpointWriter":
    from gptfl.training.checkpoints import CheckpointWriter

    return CheckpointWriter(folder, steps, recording)
