"""``gptfl collect``."""

import os

from gptfl.cli import collect_options as what
from gptfl.cli import console
from gptfl.cli import recipe_options as how
from gptfl.cli.featurize import next_command
from gptfl.cli.options import Seed, Workspace
from gptfl.cli.plan import announce


def command(
    model: what.Model,
    task: what.Task,
    data: what.Data = None,
    instructions: what.Instructions = None,
    flip_labels: what.FlipLabels = None,
    metric: what.Metric = None,
    runs: what.Runs = None,
    few_runs: what.FewRuns = False,
    design: what.Design = None,
    repeats: what.Repeats = 0,
    reserve_pool: what.ReservePool = 0,
    leave_out_size: what.LeaveOutSize = None,
    pool: what.Pool = None,
    per_task: what.PerTask = None,
    test: what.Test = 200,
    subset_size: what.SubsetSize = None,
    record_every: what.RecordEvery = 1,
    generate_every: how.GenerateEvery = None,
    generate_tokens: how.GenerateTokens = None,
    decode: how.Decode = "greedy",
    batch_size: how.BatchSize = 4,
    epochs: how.Epochs = None,
    steps: how.Steps = None,
    lr: how.Lr = None,
    schedule: how.Schedule = "linear",
    max_length: how.MaxLength = 2048,
    train_layers: how.TrainLayers = None,
    lora: how.Lora = None,
    checkpoints: what.Checkpoints = None,
    precision: how.Precision = "auto",
    accumulate: how.Accumulate = 1,
    processes: how.Processes = 1,
    shard: how.Shard = False,
    device: how.Device = "auto",
    gradients: what.Gradients = None,
    gradient_points: what.GradientPoints = None,
    sketches: what.Sketches = False,
    sketch_points: what.SketchPoints = None,
    sketch_dimensions: what.SketchDimensions = None,
    sketch_modules: what.SketchModules = None,
    executor: how.Executor = "local",
    seed: Seed = 42,
    workspace: Workspace = None,
    name: what.Name = None,
    texts: what.Texts = True,
    dry_run: what.DryRun = False,
) -> None:
    """Record how fine-tuning on random subsets moves every test example's metrics.

    Finished runs are on disk at once: an interrupted recording goes on with the same command, and
    a larger --runs adds to what is there.

    Example: `gptfl collect --model smollm2-135m-instruct-q4 --task sst2 --data DIR --train-layers 6
    --runs 24 --subset-size 32 --steps 48 --lr 2e-5 --test 48 --record-every 2`
    """
    from gptfl.recording.collect import collect

    with console.progress_bar() as progress:
        result = collect(
            model,
            task,
            data=data,
            workspace=workspace,
            name=name,
            runs=runs,
            few_runs=few_runs,
            design=design,
            repeats=repeats,
            reserve_pool=reserve_pool,
            leave_out_size=leave_out_size,
            pool=pool,
            per_task=per_task,
            test=test,
            subset_size=subset_size,
            batch_size=batch_size,
            epochs=epochs,
            steps=steps,
            lr=lr,
            schedule=schedule,
            seed=seed,
            max_length=max_length,
            precision=precision,
            device=device,
            train_layers=train_layers,
            lora=lora,
            accumulate=accumulate,
            processes=processes,
            shard=shard,
            checkpoints=checkpoints,
            record_every=record_every,
            generate_every=generate_every,
            generate_tokens=generate_tokens,
            decode=decode,
            metrics=tuple(metric or ["loss"]),
            texts=texts,
            instructions=instructions,
            flip_labels=flip_labels,
            gradients=gradients,
            gradient_points=gradient_points,
            sketches=sketches,
            sketch_points=sketch_points,
            sketch_dimensions=sketch_dimensions,
            sketch_modules=sketch_modules,
            executor=executor,
            dry_run=dry_run,
            progress=progress,
            announce=announce,
        )
    if os.environ.get("RANK", "0") != "0":  # of several processes, the first one talks
        return
    for text in result.notes:
        console.note(text)
    if dry_run:
        console.say("Nothing was recorded (--dry-run).")
        return
    console.say(f"{result.path}: {result.runs} runs, {result.recorded_now} of them new")
    for which, (first, last) in result.moved.items():
        console.say(f"{which} {first:.4g} → {last:.4g}, mean of all runs and test examples")
    console.say(f"next: {next_command(result.sketched)}")
