"""The options of ``gptfl collect`` that say how runs are carried out: the recipe, generated text, and on what."""

from typing import Annotated

import typer

from gptfl.cli.numbers import at_least, positive
from gptfl.cli.options import PRECISE, complete

RECIPE = "Fine-tuning (defaults: the paper's)"
WRITING = "Generated text (--metric bleu, rougeL)"

GenerateEvery = Annotated[
    int | None,
    typer.Option(
        callback=at_least(1),
        help="Generate text for bleu and rougeL at step 0, every N-th step and the last; a multiple of --record-every.",
        metavar="N",
        show_default="--record-every",
        rich_help_panel=WRITING,
    ),
]
GenerateTokens = Annotated[
    int | None,
    typer.Option(
        callback=at_least(1),
        help="Longest generated answer, in tokens.",
        metavar="N",
        show_default="1.5 x the longest reference, at most 256",
        rich_help_panel=WRITING,
    ),
]
Decode = Annotated[
    str,
    typer.Option(
        help="greedy, or nucleus: sampled as in the paper (top-p 0.95, temperature 0.2), each example with its own fixed seed.",
        rich_help_panel=WRITING,
    ),
]
BatchSize = Annotated[int, typer.Option(callback=at_least(1), help="Examples a step.", rich_help_panel=RECIPE)]
Epochs = Annotated[
    float | None,
    typer.Option(
        callback=positive, help="Passes over the subset.", show_default="uniform: 3; else 6", rich_help_panel=RECIPE
    ),
]
Steps = Annotated[
    int | None,
    typer.Option(
        callback=at_least(1), help="Optimiser steps, instead of --epochs.", show_default=False, rich_help_panel=RECIPE
    ),
]
Lr = Annotated[
    float | None,
    typer.Option(
        callback=positive,
        help="Peak learning rate.",
        show_default="the task's: 5e-7 or 1e-6 for the paper's tasks, 1e-3 for errands; the least of a mixture's",
        rich_help_panel=RECIPE,
    ),
]
Schedule = Annotated[str, typer.Option(help="linear (decay to 0) or constant.", rich_help_panel=RECIPE)]
MaxLength = Annotated[
    int,
    typer.Option(
        callback=at_least(1),
        help="Tokens of prompt and target; longer prompts lose their beginning.",
        rich_help_panel=RECIPE,
    ),
]
TrainLayers = Annotated[
    int | None,
    typer.Option(
        callback=at_least(1),
        help="Train only the top K blocks and the final norm: several times cheaper.",
        metavar="K",
        show_default="all",
        rich_help_panel=RECIPE,
    ),
]
Lora = Annotated[
    str | None,
    typer.Option(
        help="Train low-rank adapters (LoRA) instead of the weights, as in r=8,alpha=4,dropout=0.05; targets=A+B "
        "names the modules to adapt.",
        metavar="r=N,...",
        show_default="none; targets: query, key, value",
        rich_help_panel=RECIPE,
    ),
]
Precision = Annotated[
    str,
    typer.Option(
        help="auto (on a GPU bf16, or fp16 on one without; else fp32), fp32, bf16 or fp16.", rich_help_panel=PRECISE
    ),
]
Accumulate = Annotated[
    int,
    typer.Option(
        callback=at_least(1),
        help="Compute each batch in K passes, which take less memory; the mathematics is the same.",
        metavar="K",
        rich_help_panel=PRECISE,
    ),
]
Processes = Annotated[
    int,
    typer.Option(
        callback=at_least(1),
        help="Share each run out among N processes of this machine, a GPU each where there are any.",
        metavar="N",
        rich_help_panel=PRECISE,
    ),
]
Shard = Annotated[
    bool,
    typer.Option(
        "--shard",
        help="Spread the model over the --processes (FSDP): for one that fits on no single GPU.",
        rich_help_panel=PRECISE,
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.", rich_help_panel=PRECISE)]
Executor = Annotated[
    str,
    typer.Option(
        help="What carries out the runs: local is this machine; others come from plugins (see gptfl plugins).",
        autocompletion=complete("executor"),
        rich_help_panel=PRECISE,
    ),
]
