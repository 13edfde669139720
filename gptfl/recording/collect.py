"""Records how fine-tuning on random subsets of a pool moves every test example's metrics."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gptfl.core import Progress, silent, user_path
from gptfl.core.curriculum import SCHEDULES, check_seed, recorded_steps
from gptfl.designs.draws import CONTRAST, UNIFORM
from gptfl.errors import UsageError
from gptfl.interruption import leaving
from gptfl.plugins.guards import make_executor, make_metric
from gptfl.plugins.interfaces import Executor, Metric
from gptfl.plugins.registry import get_registry
from gptfl.plugins.settings import utf8
from gptfl.recording.gradient_request import check_size, read_request
from gptfl.recording.launch import join_others, launch
from gptfl.recording.plan import (
    check_counts,
    check_generation,
    check_name,
    check_recording_size,
    check_together,
    choose_design,
    choose_steps,
    make_plans,
)
from gptfl.recording.reference_run import ReferenceJob
from gptfl.recording.result import CollectResult
from gptfl.recording.resume import RecordingJob, left_at, take_part
from gptfl.recording.settings import GENERATION, as_recorded, identity
from gptfl.recording.sketch_request import read_sketch_request
from gptfl.recording.trainers import TrainerMaker
from gptfl.store.examples import check_examples
from gptfl.store.recordings import read_dynamics
from gptfl.store.workspace import Workspace, stem_for
from gptfl.tasks.label_noise import check_share
from gptfl.tasks.mixture import ExampleSource, open_task, task_names
from gptfl.training.lora import parse_lora
from gptfl.training.names import resolve_model

if TYPE_CHECKING:
    from gptfl.recording.cost import CostEstimate
    from gptfl.training.checkpoints import CheckpointWriter
    from gptfl.training.trainer import TrainerSettings


PAPER_POOL = 200
STILL = 0.01
"""Below this share of its first value, a loss has hardly moved."""
RUNS, FEW_RUNS = 32, 6
"""How many runs are recorded unless their number is named: the paper's, and with ``few_runs``."""


def collect(
    model: str,
    task: str,
    *,
    data: str | Path | None = None,
    workspace: str | Path | None = None,
    name: str | None = None,
    runs: int | None = None,
    few_runs: bool = False,
    design: str | None = None,
    repeats: int = 0,
    reserve_pool: int = 0,
    leave_out_size: int | None = None,
    pool: int | None = None,
    per_task: int | None = None,
    test: int = 200,
    subset_size: int | None = None,
    batch_size: int = 4,
    epochs: float | None = None,
    steps: int | None = None,
    lr: float | None = None,
    schedule: str = "linear",
    seed: int = 42,
    max_length: int = 2048,
    precision: str = "auto",
    device: str = "auto",
    train_layers: int | None = None,
    lora: str | None = None,
    accumulate: int = 1,
    processes: int = 1,
    shard: bool = False,
    checkpoints: str | int | None = None,
    record_every: int = 1,
    generate_every: int | None = None,
    generate_tokens: int | None = None,
    decode: str = "greedy",
    metrics: Sequence[str] = ("loss",),
    texts: bool = True,
    instructions: bool | None = None,
    flip_labels: float | None = None,
    gradients: str | None = None,
    gradient_points: int | None = None,
    sketches: bool = False,
    sketch_points: int | None = None,
    sketch_dimensions: int | None = None,
    sketch_modules: str | None = None,
    executor: str = "local",
    dry_run: bool = False,
    progress: Progress = silent,
    announce: Callable[["CostEstimate"], None] | None = None,
) -> CollectResult:
    """Fine-tune ``model`` on ``runs`` random subsets of the task's pool and record every test example.

    ``task`` may name several, separated by commas: ``pool`` (200) and ``test`` then count in all, ``per_task`` is
    the pool of each, and ``data`` holds a folder for each. ``instructions`` words the prompts by instruction
    templates, by default those of a mixture. ``flip_labels`` is a share of the pool to mislabel.

    ``design`` says which examples each run is trained on (``gptfl.designs``): ``uniform``, ``contrast``, ``leave-out``
    (pairs of runs that differ in ``leave_out_size`` examples), ``balanced`` or ``repeat``. ``repeats`` runs more repeat
    recorded ones, and ``reserve_pool`` examples are set aside, from which only runs to test draw. ``few_runs`` is what
    the estimator exposure-gp needs: unless they are named, 6 ``runs`` instead of 32, the ``design`` contrast instead of
    uniform, and ``sketches``.

    Metrics of generated text (``bleu``, ``rougeL``) are recorded at step 0, every ``generate_every``-th step (a
    multiple of ``record_every``, by default that itself) and the last; ``decode`` is ``greedy`` or ``nucleus``, and
    ``generate_tokens`` the longest answer, by default half as long again as the longest reference, at most 256.

    ``gradients`` records what gradient baselines need: ``reference``, the products of all pool and test examples'
    gradients at ``gradient_points`` steps (4) of one more run, which may be added to a finished recording; ``own``,
    what the gradients along every run foretell of it; or ``both``. ``sketches`` records random projections of all these
    gradients to ``sketch_dimensions`` numbers (8,192) at ``sketch_points`` steps (4) of that same run, for the encoder
    ``gradients``; ``sketch_modules`` is a pattern (``*mlp*``) for the names of the weights that count.

    ``lora`` (as in ``r=8,alpha=4,dropout=0.05``) trains adapters instead of the weights, ``accumulate`` computes
    each batch in so many passes, ``processes`` shares the work of each run out among so many processes (a GPU
    each, where there are any), with ``shard`` the model too. ``checkpoints`` saves the trained weights of every run
    at so many recorded steps, or at ``all``.

    The defaults are the paper's recipe. Finished runs are on disk at once; the same call again
    finishes what an interrupted one left, with the same outcome, and more ``runs`` keep the first.
    ``epochs`` are 3 unless they or ``steps`` are given, in designs other than ``uniform`` 6.
    ``announce`` gets the estimate before the recording starts; ``dry_run`` stops there.

    Raises ``UsageError`` for settings that make no sense, ``DataError`` where data, model or an
    existing recording don't fit or a run diverges, ``PluginError`` for an unknown name, and
    ``ResourceError`` where disk, network or another process is in the way.
    """
    arguments = {key: value for key, value in locals().items() if key not in ("progress", "announce")}
    check_seed(seed)
    check_name(name)
    registry = get_registry()
    names = task_names(task)
    task = ",".join(names)
    check_share(flip_labels)
    if instructions is None:
        instructions = len(names) > 1
    maker = open_task(registry, task, None if data is None else user_path(data))
    chosen: tuple[Metric, ...] = tuple(make_metric(registry, metric) for metric in dict.fromkeys(metrics))
    runner = make_executor(registry, executor)
    source = resolve_model(model)
    runs = (FEW_RUNS if few_runs else RUNS) if runs is None else runs
    design = (CONTRAST if few_runs else UNIFORM) if design is None else design
    sketching = "--sketches" if sketches else "--few-runs" if few_runs else None
    pool = _pool(pool, per_task, len(names))
    check_counts(
        {"--runs": runs, "--pool": pool, "--test": test, "--subset-size": subset_size, "--batch-size": batch_size}
        | {"--steps": steps, "--max-length": max_length, "--record-every": record_every, "--train-layers": train_layers}
        | {"--accumulate": accumulate, "--processes": processes}
        | {"--generate-every": generate_every, "--generate-tokens": generate_tokens}
    )
    generates = any("generated" in metric.needs for metric in chosen)
    generate_every = check_generation(generates, decode, generate_every, generate_tokens, record_every)
    layout = choose_design(
        design,
        runs,
        pool,
        seed,
        subset_size=subset_size,
        reserve_pool=reserve_pool,
        leave_out_size=leave_out_size,
        repeats=repeats,
    )
    recipe, kind = _recipe(
        maker.learning_rate if lr is None else lr,
        schedule,
        max_length=max_length,
        precision=precision,
        device=device,
        train_layers=train_layers,
        record_every=record_every,
        generate_every=generate_every,
        generate_tokens=generate_tokens,
        decode=decode,
        seed=seed,
        lora=None if lora is None else parse_lora(lora).text,
        accumulate=accumulate,
        shard=shard,
    )
    total = choose_steps(layout, steps, epochs, batch_size)
    wanted = read_request(gradients, gradient_points, total, [metric.info.name for metric in chosen])
    check_size(wanted.points, pool, test)
    sketched = read_sketch_request(
        sketching, sketch_points, sketch_dimensions, sketch_modules, steps=total, pool=pool, test=test
    )
    recipe = replace(recipe, derivatives=wanted.own)
    check_recording_size(runs, repeats, total, batch_size, record_every, test, len(chosen))
    layout.check()
    saved = None if checkpoints is None else _saved(checkpoints, total, record_every)
    along = f"--gradients {gradients}" if gradients else sketching
    check_together(processes, shard, device, recipe.precision, executor, generates, along)
    examples = ExampleSource(maker, instructions, flip_labels).load(pool, test, seed)
    check_examples(examples, f"task {task!r}")
    examples = replace(examples, pool=layout.reserved(examples.pool))
    draws = layout.draws(examples.pool, task)
    for metric in chosen:
        metric.check(examples.test)
    space = Workspace.resolve(workspace)
    stem = name or stem_for(task, source.stem)
    path = space.dynamics_path(stem)
    group = join_others(processes, kind, shard)
    if group is None:
        return launch(processes, arguments, progress, announce, lambda: left_at(path))
    recipe = replace(recipe, processes=group.size)
    if not group.main:
        progress, announce = silent, None
    settings = {
        "task": task,
        "data": None if data is None else utf8(data),
        "model": utf8(source.name),
        "source": utf8(source.location),
        "pool": pool,
        "test": test,
        "subset_size": layout.subset,
        **layout.settings,
        "batch_size": batch_size,
        "steps": total,
        "seed": seed,
        "device": kind,
        "metrics": [metric.info.name for metric in chosen],
        "texts": texts,
        "instructions": instructions,
        "flip_labels": flip_labels,
        "data_source": examples.source,
        "licence": examples.licence,
        **{key: list(value) if isinstance(value, tuple) else value for key, value in asdict(recipe).items()},
    }
    if not generates:
        settings = {key: value for key, value in settings.items() if key not in GENERATION}
    plans = make_plans(draws, batch_size, total)
    mark = "" if saved is None else identity(as_recorded(settings, path), examples)
    keeper = None if saved is None else _keeper(space.root / f"{stem}.checkpoints", saved, mark)
    reserved = layout.places(examples.pool)
    reference = None
    if wanted.points or sketched is not None:
        reference = ReferenceJob(path, pool, batch_size, total, seed, wanted.points, sketched, reserved)
    job = RecordingJob(path, settings, examples, chosen, plans, texts, reference, keeper, draws, reserved)
    make_trainer = TrainerMaker(model, device, examples, chosen, recipe, progress, group, keeper)
    if not group.main:
        take_part(job, runner, make_trainer, dry_run)
        return CollectResult(path, runs, 0, None)
    if dry_run:
        left = group.told(job.left())
        trainer = make_trainer()
        job.left_by(trainer)
        return CollectResult(path, runs, 0, job.estimate(trainer, left, announce))
    with leaving(lambda: left_at(path)), space.lock("gptfl collect"):
        return _carry_out(job, runner, make_trainer, announce, progress)


def _carry_out(
    job: RecordingJob,
    runner: Executor,
    make_trainer: TrainerMaker,
    announce: Callable[["CostEstimate"], None] | None,
    progress: Progress,
) -> CollectResult:
    """Record what is left; the model is loaded only if something is."""
    left = make_trainer.group.told(job.left())
    if not left and not job.lacks_gradients():
        job.check_name(make_trainer)
        job.merge()
        return _result(job, 0, None, (f"all {len(job.plans)} runs are recorded already",))
    trainer = make_trainer()
    left = make_trainer.group.told(job.left_by(trainer))
    guess = job.estimate(trainer, left, announce)
    again = job.again(left)
    if left:
        job.record(runner, make_trainer, left, progress)
    notes: tuple[str, ...] = () if left else (f"all {len(job.plans)} runs are recorded already",)
    notes += job.record_reference(trainer, progress)
    if again:
        which = "1 recorded run was" if again == 1 else f"{again} recorded runs were"
        notes += (f"{which} carried out again for checkpoints that were missing",)
    return _result(job, len(left) - again, guess, notes)


def _result(job: RecordingJob, new: int, guess: "CostEstimate | None", notes: tuple[str, ...]) -> CollectResult:
    recorded = read_dynamics(job.path)
    ends = {
        name: np.stack([run.metrics[name][[0, -1]] for run in recorded.runs]).astype(np.float64)
        for name in recorded.metrics
    }
    for name, values in ends.items():
        shift = np.abs(values[:, 1] - values[:, 0]).mean()
        scale = np.abs(values[:, 0]).mean()
        if name == "loss" and shift < STILL * scale:
            notes += (
                f"the {name} hardly moved ({shift / scale:.1%} on average): there is little to learn from such runs; "
                f"try a --lr above {job.settings['learning_rate']:g}, or more --steps",
            )
    moved = {name: (float(values[:, 0].mean()), float(values[:, 1].mean())) for name, values in ends.items()}
    return CollectResult(job.path, len(recorded.runs), new, guess, notes, moved, recorded.sketches is not None)


def _recipe(
    learning_rate: float, schedule: str, *, precision: str, device: str, **rest: Any
) -> "tuple[TrainerSettings, str]":
    """The recipe and the kind of device it runs on, with ``auto`` resolved."""
    from gptfl.training.models import pick_device
    from gptfl.training.precision import resolve_precision
    from gptfl.training.trainer import TrainerSettings

    if schedule not in SCHEDULES:
        raise UsageError(f"--schedule {schedule!r} is unknown", f"use {' or '.join(SCHEDULES)}")
    if not 0 < learning_rate < math.inf:
        raise UsageError(f"--lr is {learning_rate}", "give a positive number")
    kind = pick_device(device).type
    return TrainerSettings(learning_rate, schedule, precision=resolve_precision(precision, kind), **rest), kind


def _saved(asked: str | int, total: int, every: int) -> tuple[int, ...]:
    from gptfl.training.checkpoints import checkpoint_steps

    return checkpoint_steps(str(asked), recorded_steps(total, every).tolist())


def _keeper(folder: Path, steps: tuple[int, ...], recording: str) -> "CheckpointWriter":
    from gptfl.training.checkpoints import CheckpointWriter

    return CheckpointWriter(folder, steps, recording)


def _pool(pool: int | None, per_task: int | None, tasks: int) -> int:
    if per_task is None:
        return PAPER_POOL if pool is None else pool
    if pool is not None:
        raise UsageError(f"--pool {pool} and --per-task {per_task} both say how large the pool is", "give one of them")
    check_counts({"--per-task": per_task})
    return per_task * tasks
