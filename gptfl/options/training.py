"""The options of a training's recipe."""

from dataclasses import dataclass
from typing import ClassVar

from gptfl.options import common
from gptfl.options.base import (
    DECAYING,
    POSITIVE,
    RATE,
    RATE_OR_NONE,
    WARMUP,
    at_least,
    option,
)

RECIPE = "Fine-tuning (defaults: the paper's)"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """How each run is trained."""

    PANEL: ClassVar = RECIPE
    batch_size: int = option(4, "Examples a step; with --packing rows.", bound=at_least(1))
    packing: str | None = option(
        None,
        "Pack examples into rows of up to --max-length tokens, several of which make a step: bfd, as TRL's trainer does. "
        "The examples of a row don't see one another.",
        metavar="bfd",
        shown="no packing",
        complete=("bfd",),
    )
    group_by_length: bool = option(
        False, "Make batches of examples of about one length, as trainers' group_by_length does."
    )
    epochs: float | None = option(
        None,
        "Passes over the data.",
        shown="3; leave-out, repeat, contrast and balanced on less than half of the pool: 6",
        bound=POSITIVE,
    )
    epochs_of: str | None = option(
        None,
        "Of what --epochs are passes: of the pool (a run has as many steps as a training on all of it) or its subset.",
        metavar="pool|subset",
        shown="pool where --epochs or a recipe says how many on data of your own, else subset",
        complete=("pool", "subset"),
    )
    steps: int | None = option(None, "Optimiser steps, instead of --epochs.", shown=False, bound=at_least(1))
    lr: float | None = option(
        None,
        "Peak learning rate.",
        shown="the task's: 5e-7 or 1e-6 for the paper's tasks, 1e-3 for errands; the least of a mixture's; for data of "
        "your own 2e-5, with --lora 2e-4",
        bound=RATE,
    )
    schedule: str = option(
        "linear",
        "How step sizes change, as transformers' schedulers have it: linear or cosine (to 0), constant, polynomial "
        "(of power 1, to 1e-7) or inverse_sqrt.",
        complete=("linear", "cosine", "constant", "polynomial", "inverse_sqrt"),
    )
    warmup: float = option(
        0.0,
        "Steps in which the learning rate rises from 0; below 1, their share of the run.",
        metavar="STEPS|SHARE",
        bound=WARMUP,
    )
    clip_norm: float | None = option(
        None,
        "Shorten a step's gradient to this norm where it is longer.",
        metavar="NORM",
        shown="no clipping",
        bound=RATE,
    )
    optimiser: str = option(
        "adamw",
        "adamw, adamw-8bit (package bitsandbytes), sgd, adafactor, or muon (for the matrices of blocks, AdamW for the "
        "rest).",
        complete=("adamw", "adamw-8bit", "sgd", "adafactor", "muon"),
    )
    beta1: float = option(0.9, "AdamW's decay of its mean of gradients.", metavar="B", bound=DECAYING)
    beta2: float = option(0.999, "AdamW's decay of its mean of squared gradients.", metavar="B", bound=DECAYING)
    eps: float = option(1e-6, "What AdamW adds to what it divides by.", metavar="E", bound=RATE)
    momentum: float | None = option(
        None, "Momentum of sgd and muon.", metavar="M", shown="sgd: 0, muon: 0.95", bound=DECAYING
    )
    weight_decay: float = option(0.001, "Weight decay.", bound=RATE_OR_NONE)
    decay: str = option(
        "all",
        "What decays: all trained weights, or weights: all but biases and norms, as transformers' Trainer has it.",
        complete=("all", "weights"),
    )
    loss_mean: str = option(
        "examples",
        "What the loss of a step is the mean over: examples (of each one's mean over its target tokens), or tokens: "
        "all target tokens of the step, as trainers do.",
        complete=("examples", "tokens"),
    )
    dropout: bool = option(
        True, "Train with the dropout of the model and its adapters, or without any.", flag="--dropout/--no-dropout"
    )
    max_length: int = common.max_length()
    quantize: str | None = option(
        None,
        "With --lora, keep the weights that aren't trained in so many bits: 4bit (QLoRA) or 8bit; needs the package "
        "bitsandbytes.",
        metavar="4bit|8bit",
        shown="whole weights",
        complete=("4bit", "8bit"),
    )
    train_layers: int | None = option(
        None,
        "Train only the top K blocks and the final norm: several times cheaper.",
        metavar="K",
        shown="all",
        bound=at_least(1),
    )
    lora: str | None = option(
        None,
        "Train low-rank adapters (LoRA) instead of the weights, as in r=8,alpha=4,dropout=0.05; targets=A+B "
        "names the modules to adapt, targets=all-linear every one.",
        metavar="r=N,...",
        shown="none; targets: query, key, value",
    )
