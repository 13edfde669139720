"""``gptfl collect``."""

import os
from pathlib import Path
from typing import Annotated

import typer

from gptfl.cli import console
from gptfl.cli.featurize import next_command
from gptfl.cli.options import FILES, PRECISE, Seed, Workspace, complete, complete_model
from gptfl.cli.plan import announce

WHAT, DESIGN, RECIPE = "What to record", "Runs", "Fine-tuning (defaults: the paper's)"
WRITING = "Generated text (--metric bleu, rougeL)"


def command(
    model: Annotated[
        str,
        typer.Option(
            help="Model to fine-tune: pythia-14m … pythia-2.8b, smollm2-135m-instruct[-q4], tiny, any Hub id or folder.",
            autocompletion=complete_model,
            rich_help_panel=WHAT,
        ),
    ],
    task: Annotated[
        str,
        typer.Option(
            help="Where the examples come from (see gptfl plugins); several, separated by commas, are a mixture.",
            autocompletion=complete("task"),
            rich_help_panel=WHAT,
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option(
            help="Folder with train.jsonl and test.jsonl, instead of the Hub; of a mixture, with a folder a task.",
            show_default=False,
            rich_help_panel=WHAT,
        ),
    ] = None,
    instructions: Annotated[
        bool | None,
        typer.Option(
            "--instructions/--no-instructions",
            help="Word each prompt by one of several instruction templates.",
            show_default="of a mixture",
            rich_help_panel=WHAT,
        ),
    ] = None,
    flip_labels: Annotated[
        float | None,
        typer.Option(
            help="Mislabel this share of the pool, as in 0.4; the recording keeps which.",
            metavar="SHARE",
            show_default=False,
            rich_help_panel=WHAT,
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="Metric to record; may be given several times.",
            show_default="loss",
            autocompletion=complete("metric"),
            rich_help_panel=WHAT,
        ),
    ] = None,
    runs: Annotated[
        int | None,
        typer.Option(
            help="How many runs; more later keep the first.",
            show_default="32, with --few-runs 6",
            rich_help_panel=DESIGN,
        ),
    ] = None,
    few_runs: Annotated[
        bool,
        typer.Option(
            "--few-runs",
            help="Record what the estimator exposure-gp needs and no more: 6 runs of the contrast design, and --sketches. "
            "--runs and --design go before.",
            rich_help_panel=DESIGN,
        ),
    ] = False,
    design: Annotated[
        str | None,
        typer.Option(
            help="Which examples each run is trained on. uniform: drawn anew for each run (the paper's). contrast: few "
            "examples many times, such that runs differ much and all examples come about equally often. balanced: "
            "contrast with as many examples of each class in every run, the same in all. leave-out: pairs of runs, "
            "the second with other examples in the places of a group. repeat: each subset in three orders, and one of "
            "them twice.",
            metavar="NAME",
            show_default="uniform, with --few-runs contrast",
            rich_help_panel=DESIGN,
        ),
    ] = None,
    repeats: Annotated[
        int,
        typer.Option(
            help="Runs besides that repeat the first ones and tell how much is left to chance: three in four in another "
            "order, the fourth the very same. Nothing is fitted to them.",
            metavar="N",
            rich_help_panel=DESIGN,
        ),
    ] = 0,
    reserve_pool: Annotated[
        int,
        typer.Option(
            help="Set N pool examples aside that no run to fit has. Every third run is then to test, and half of its "
            "examples are reserved ones; see --unseen train of compare.",
            metavar="N",
            rich_help_panel=DESIGN,
        ),
    ] = 0,
    leave_out_size: Annotated[
        int | None,
        typer.Option(
            help="How many examples the runs of a leave-out pair differ in.",
            metavar="N",
            show_default="an eighth of the subset",
            rich_help_panel=DESIGN,
        ),
    ] = None,
    pool: Annotated[
        int | None,
        typer.Option(
            help="Training examples that runs draw from, of all tasks.", show_default="200", rich_help_panel=DESIGN
        ),
    ] = None,
    per_task: Annotated[
        int | None,
        typer.Option(
            help="Training examples of each task, instead of --pool.", show_default=False, rich_help_panel=DESIGN
        ),
    ] = None,
    test: Annotated[
        int, typer.Option(help="Test examples that are measured, of all tasks.", rich_help_panel=DESIGN)
    ] = 200,
    subset_size: Annotated[
        int | None,
        typer.Option(
            help="Examples of each run.",
            show_default="uniform: 64 % of the pool; else 32, or a sixth of a smaller pool",
            rich_help_panel=DESIGN,
        ),
    ] = None,
    record_every: Annotated[int, typer.Option(help="Measure at every N-th step.", rich_help_panel=DESIGN)] = 1,
    generate_every: Annotated[
        int | None,
        typer.Option(
            help="Generate text for bleu and rougeL at step 0, every N-th step and the last; a multiple of --record-every.",
            metavar="N",
            show_default="--record-every",
            rich_help_panel=WRITING,
        ),
    ] = None,
    generate_tokens: Annotated[
        int | None,
        typer.Option(
            help="Longest generated answer, in tokens.",
            metavar="N",
            show_default="1.5 x the longest reference, at most 256",
            rich_help_panel=WRITING,
        ),
    ] = None,
    decode: Annotated[
        str,
        typer.Option(
            help="greedy, or nucleus: sampled as in the paper (top-p 0.95, temperature 0.2), each example with its own fixed seed.",
            rich_help_panel=WRITING,
        ),
    ] = "greedy",
    batch_size: Annotated[int, typer.Option(help="Examples a step.", rich_help_panel=RECIPE)] = 4,
    epochs: Annotated[
        float | None,
        typer.Option(help="Passes over the subset.", show_default="uniform: 3; else 6", rich_help_panel=RECIPE),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(help="Optimiser steps, instead of --epochs.", show_default=False, rich_help_panel=RECIPE),
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option(
            help="Peak learning rate.",
            show_default="the task's: 5e-7 or 1e-6 for the paper's tasks, 1e-3 for errands; the least of a mixture's",
            rich_help_panel=RECIPE,
        ),
    ] = None,
    schedule: Annotated[str, typer.Option(help="linear (decay to 0) or constant.", rich_help_panel=RECIPE)] = "linear",
    max_length: Annotated[
        int,
        typer.Option(help="Tokens of prompt and target; longer prompts lose their beginning.", rich_help_panel=RECIPE),
    ] = 2048,
    train_layers: Annotated[
        int | None,
        typer.Option(
            help="Train only the top K blocks and the final norm: several times cheaper.",
            metavar="K",
            show_default="all",
            rich_help_panel=RECIPE,
        ),
    ] = None,
    lora: Annotated[
        str | None,
        typer.Option(
            help="Train low-rank adapters (LoRA) instead of the weights, as in r=8,alpha=4,dropout=0.05; targets=A+B "
            "names the modules to adapt.",
            metavar="r=N,...",
            show_default="none; targets: query, key, value",
            rich_help_panel=RECIPE,
        ),
    ] = None,
    checkpoints: Annotated[
        str | None,
        typer.Option(
            help="Save the trained weights of every run: at N of the recorded steps, or at all of them.",
            metavar="N|all",
            show_default="none",
            rich_help_panel=WHAT,
        ),
    ] = None,
    precision: Annotated[
        str,
        typer.Option(
            help="auto (on a GPU bf16, or fp16 on one without; else fp32), fp32, bf16 or fp16.", rich_help_panel=PRECISE
        ),
    ] = "auto",
    accumulate: Annotated[
        int,
        typer.Option(
            help="Compute each batch in K passes, which take less memory; the mathematics is the same.",
            metavar="K",
            rich_help_panel=PRECISE,
        ),
    ] = 1,
    processes: Annotated[
        int,
        typer.Option(
            help="Share each run out among N processes of this machine, a GPU each where there are any.",
            metavar="N",
            rich_help_panel=PRECISE,
        ),
    ] = 1,
    shard: Annotated[
        bool,
        typer.Option(
            "--shard",
            help="Spread the model over the --processes (FSDP): for one that fits on no single GPU.",
            rich_help_panel=PRECISE,
        ),
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.", rich_help_panel=PRECISE)] = "auto",
    gradients: Annotated[
        str | None,
        typer.Option(
            help="What gradient baselines need: reference (products of all examples' gradients along one more run; may "
            "be added to a finished recording), own (the changes of loss "
            "that gradients foretell along each recorded run, for tracin-own-run) or both.",
            show_default="none",
            rich_help_panel=WHAT,
        ),
    ] = None,
    gradient_points: Annotated[
        int | None,
        typer.Option(
            help="At how many steps of the reference run gradients are multiplied, first and last included.",
            show_default="4",
            rich_help_panel=WHAT,
        ),
    ] = None,
    sketches: Annotated[
        bool,
        typer.Option(
            "--sketches",
            help="Record random projections of all examples' gradients along one more run, for gptfl featurize; "
            "may be added to a finished recording.",
            rich_help_panel=WHAT,
        ),
    ] = False,
    sketch_points: Annotated[
        int | None,
        typer.Option(
            help="At how many steps of the reference run gradients are sketched, first and last included.",
            metavar="N",
            show_default="4",
            rich_help_panel=WHAT,
        ),
    ] = None,
    sketch_dimensions: Annotated[
        int | None,
        typer.Option(
            help="Numbers of a sketch: the more, the nearer its products are to the gradients'.",
            metavar="N",
            show_default="8192",
            rich_help_panel=WHAT,
        ),
    ] = None,
    sketch_modules: Annotated[
        str | None,
        typer.Option(
            help="Sketch only the gradients of trained weights whose name fits this pattern, as in '*mlp*'.",
            metavar="PATTERN",
            show_default="all trained weights",
            rich_help_panel=WHAT,
        ),
    ] = None,
    executor: Annotated[
        str,
        typer.Option(
            help="What carries out the runs: local is this machine; others come from plugins (see gptfl plugins).",
            autocompletion=complete("executor"),
            rich_help_panel=PRECISE,
        ),
    ] = "local",
    seed: Seed = 42,
    workspace: Workspace = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the recording.", show_default="TASK-MODEL", rich_help_panel=FILES)
    ] = None,
    texts: Annotated[
        bool,
        typer.Option("--texts/--no-texts", help="Keep the examples' texts, or only hashes.", rich_help_panel=FILES),
    ] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and its cost, record nothing.", rich_help_panel=WHAT)
    ] = False,
) -> None:
    """Record how fine-tuning on random subsets moves every test example's metrics.

    Finished runs are on disk at once: an interrupted recording goes on with the same command, and
    a larger --runs adds to what is there.

    Example: `gptfl collect --model smollm2-135m-instruct-q4 --task sst2 --data DIR --train-layers 6
    --runs 24 --subset-size 32 --steps 48 --lr 2e-5 --test 48 --record-every 2`
    """
    from gptfl.stages.collect import collect

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
