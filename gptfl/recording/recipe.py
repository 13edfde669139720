"""The recipe of a recording's trainings: what its options say of step sizes, optimiser and loss, held together."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gptfl.core import Dynamics
from gptfl.core.recording_settings import (
    ADAM_8BIT,
    ADAMW,
    DECAYS,
    MEANS,
    MUON,
    OPTIMISERS,
    QUANTISED,
    SGD,
)
from gptfl.core.schedules import check_schedule, polynomial
from gptfl.errors import DataError, UsageError
from gptfl.options.base import check, places
from gptfl.options.recipe import read_recipe
from gptfl.options.recording import TrainingOptions

if TYPE_CHECKING:
    from gptfl.training.trainer import TrainerSettings

MOMENTUM = {SGD: 0.0, MUON: 0.95}
"""What optimisers have of it unless given; the others have none."""
OF_ADAM = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-6}
"""Options of AdamW alone, and of Muon, which leaves to it what is no matrix; with their defaults."""
ADAM = (ADAMW, ADAM_8BIT, MUON)
FOLLOWED = (ADAMW, SGD)
"""The optimisers of which it is known by what each weight's gradient is divided."""


def recipe_settings(training: TrainingOptions, rate: float) -> dict[str, Any]:
    """What of ``TrainerSettings`` a recipe decides; ``rate`` is its peak learning rate.

    Raises ``UsageError`` for unknown words, and for options that the optimiser has no use for.
    """
    check_schedule(training.schedule)
    if training.schedule == "polynomial":
        polynomial(rate, 1)
    words = (("optimiser", OPTIMISERS), ("decay", DECAYS), ("loss_mean", MEANS))
    for name, known in words:
        value = getattr(training, name)
        if value not in known:
            raise UsageError(f"{value!r} is unknown", f"use {' or '.join(known)}", option=name)
    optimiser = training.optimiser
    if optimiser not in ADAM:
        for name, usual in OF_ADAM.items():
            if getattr(training, name) != usual:
                raise _useless(name, getattr(training, name), optimiser, f"{ADAMW} or {MUON}")
    if training.momentum is not None and optimiser not in MOMENTUM:
        raise _useless("momentum", training.momentum, optimiser, " or ".join(MOMENTUM))
    return {
        "schedule": training.schedule,
        "warmup": int(training.warmup) if training.warmup >= 1 else training.warmup or 0,
        "weight_decay": training.weight_decay,
        "betas": (training.beta1, training.beta2),
        "epsilon": training.eps,
        "clip_norm": training.clip_norm,
        "optimiser": optimiser,
        "momentum": MOMENTUM.get(optimiser) if training.momentum is None else training.momentum,
        "decay": training.decay,
        "loss_mean": training.loss_mean,
        "dropout": training.dropout,
        "packing": training.packing,
        "group_by_length": training.group_by_length,
        "quantize": training.quantize,
    }


def check_quantised(training: TrainingOptions, shard: bool) -> None:
    """Raise where weights can't be kept in few bits: for want of adapters (``UsageError``) or of a package (``ResourceError``)."""
    from gptfl.training.quantised import check_quantise

    bits = training.quantize
    if bits is None:
        return
    if bits not in QUANTISED:
        raise UsageError(f"{bits!r} is unknown", f"use {' or '.join(QUANTISED)}", option="quantize")
    if training.lora is None:
        raise UsageError(
            f"--quantize {bits} without --lora: over weights in few bits adapters alone can be trained",
            "add --lora r=8, or leave --quantize out",
        )
    if shard:
        raise UsageError(f"--shard with --quantize {bits}, which needs whole modules", "leave one of them out")
    check_quantise(bits)


def recipe_in_file(path: Path, dynamics: Dynamics, device: str, seed: int) -> "TrainerSettings":
    """How runs that others trained were trained, by their trainer's own file and the recording's step sizes.

    Args:
        path: the recipe: YAML or JSON of TRL, transformers, axolotl or LLaMA-Factory.
        dynamics: the recording; its learning rates are those of the runs.
        device: where to train, which decides what precision ``auto`` is.
        seed: draws what adapters begin with.

    Raises ``DataError`` where these aren't known, and for what is no such file; ``UsageError`` for a recipe that gptfl
    can't follow.
    """
    from gptfl.training.lora import parse_lora
    from gptfl.training.models import choose_device
    from gptfl.training.precision import resolve_precision
    from gptfl.training.trainer import TrainerSettings

    options = read_recipe(path).options
    if dynamics.settings.lacks_rates:
        raise DataError(
            f"--recipe {path}: the learning rates of the recording are not known",
            "import it again with --lr and --schedule, or with learning_rate in the lines of its batches",
        )
    names = {place.name for place in places(TrainingOptions)}
    training = replace(TrainingOptions(), **{name: value for name, value in options.items() if name in names})
    check(training)
    # Every recorded step is measured, and those between where they are multiples of the same number.
    every = int(np.gcd.reduce(np.concatenate([run.steps for run in dynamics.runs])))
    rate = dynamics.settings.learning_rate if training.lr is None else training.lr
    assert rate is not None
    return TrainerSettings(
        rate,
        **recipe_settings(training, rate),
        max_length=training.max_length,
        precision=resolve_precision(options.get("precision", "auto"), choose_device(device).type),
        record_every=max(1, every),
        lora=None if training.lora is None else parse_lora(training.lora).text,
        accumulate=options.get("accumulate", 1),
        # As of rows that are no conversations, which say what they end with themselves.
        end_token=options.get("end_token") or None,
        seed=seed,
    )


def check_optimiser(optimiser: str, shard: bool, reference: str | None) -> None:
    """Raise where an optimiser's package is missing (``ResourceError``) or it can't do what else is asked for.

    ``reference`` is the option, if any, that asks for gradients along a reference run.
    """
    from gptfl.training.optimisers import check_package

    if optimiser not in FOLLOWED and shard:
        raise UsageError(
            f"--shard with --optimiser {optimiser}, which needs whole matrices",
            f"use --optimiser {ADAMW}, or no --shard",
        )
    if optimiser not in FOLLOWED and reference is not None:
        raise UsageError(
            f"{reference} with --optimiser {optimiser}: it keeps no second moment of each weight, by which gradients "
            "would be divided as in its steps",
            f"use --optimiser {' or '.join(FOLLOWED)}, or --gradients own, which follows any",
        )
    check_package(optimiser)


def _useless(name: str, value: Any, optimiser: str, others: str) -> UsageError:
    return UsageError(f"{value:g} changes nothing: --optimiser {optimiser} has none", f"it is of {others}", option=name)
