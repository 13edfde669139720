"""The options of the commands that embed, fit and simulate."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from gptfl.options import common, types
from gptfl.options.base import POSITIVE, at_least, is_group, option, share
from gptfl.options.common import FILES, PRECISE, File, Ids, InputOptions, Picture, Settings
from gptfl.options.defaults import FEW_RUNS, PAPER

OF_IMPORTS = "Gradient sketches of an imported recording, with --model and --recipe"
RUN, CHANGED, NEW = "The run to predict", "Changes to the recorded recipe", "Examples that the recording lacks"


def encoder_option() -> Any:
    """Whose features to take."""
    return option(
        None,
        "Take the features of this encoder.",
        shown="those that the estimator prefers, else those made last",
        complete="encoder",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturizeOptions:
    """What ``gptfl featurize`` embeds, and by what."""

    encoder: str | None = option(
        None,
        "What turns examples into vectors (see gptfl plugins).",
        shown="gradients where the recording holds sketches, else minilm",
        complete="encoder",
    )
    settings: Settings = common.settings()
    dynamics: File = common.dynamics()
    workspace: File = common.workspace()
    data: File = common.data(FILES)
    model: str | None = option(
        None,
        "Of an imported recording, name or folder of the model that its runs fine-tuned, whose gradients are sketched; "
        "needs --recipe. With --new, of the recorded model, where the recording's name doesn't lead to it.",
        shown=False,
        complete="model",
        panel=FILES,
    )
    recipe: File = option(
        None,
        "Of an imported recording, how its runs were trained: a YAML or JSON file of TRL, transformers, axolotl or "
        "LLaMA-Factory, as gptfl collect takes it; needs --model.",
        shown=False,
        panel=FILES,
    )
    chat_template: File = common.chat_template_of_import()
    sketch_points: int | None = common.sketch_points(OF_IMPORTS)
    sketch_dimensions: int | None = common.sketch_dimensions(OF_IMPORTS)
    sketch_modules: str | None = common.sketch_modules(OF_IMPORTS)
    new: File = option(
        None,
        "Embed the rows of this file, which the recording lacks, as its own were, into a features file of their own; gradients "
        "need collect --keep-reference.",
        shown=False,
        panel=FILES,
    )
    device: str = common.device()
    seed: int = common.seed("the reference run of an imported recording")
    output: File = option(None, "Features file to write.", shown="in the workspace", panel=FILES)


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningOptions:
    """What is learned from."""

    PANEL: ClassVar = PRECISE
    every: int = option(
        1, "Learn from every K-th recorded score only, and predict at those steps.", metavar="K", bound=at_least(1)
    )
    keep_diverged: bool = option(False, "Also take runs that diverged, which are left out otherwise (and named).")
    unseen: str | None = option(
        None,
        "Set some training or test examples (or both) aside and learn nothing from them.",
        metavar="train|test|both",
        shown="all are learned from",
    )
    unseen_share: float | None = option(
        None,
        "Share of the training or test examples that --unseen sets aside.",
        metavar="SHARE",
        shown="0.2 of the pool, 0.25 of the test examples",
        bound=share(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FitOptions:
    """What ``gptfl fit`` fits, and to what."""

    estimator: str | None = option(
        None,
        "What to fit (see gptfl plugins).",
        shown=f"{FEW_RUNS} where there are gradient features, else {PAPER}",
        complete="estimator",
    )
    metrics: tuple[str, ...] = option(
        (),
        "Recorded metric; several, given one by one, make a simulator each.",
        flag="--metric",
        shown="the only one, else loss",
        complete="metric",
    )
    encoder: str | None = encoder_option()
    settings: Settings = common.settings()
    learning: LearningOptions = LearningOptions()
    embed_features: bool = option(
        False,
        "Keep the pool's vectors in the simulator's file even where they are many, so that it needs no features file.",
        panel=PRECISE,
    )
    seed: int = common.seed()
    inputs: InputOptions = InputOptions()
    output: File = option(None, "Simulator file to write.", shown="in the workspace", panel=FILES)


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterfactualOptions:
    """What a run that was never recorded trains on, and how."""

    PANEL: ClassVar = RUN
    subset: Ids | None = option(
        None, "File of pool ids to train on, one a line, or a table of gptfl rank.", shown=False
    )
    drop: Ids | None = option(
        None, "File of pool ids to leave out of the whole pool, one a line, or a table of gptfl rank.", shown=False
    )
    curriculum: File = option(None, "File of batches, one JSON list of ids a line.", shown=False)
    orders: int | None = option(
        None,
        "Random orders to average over.",
        metavar="K",
        shown="1; where two sets are trained, 4",
        bound=at_least(1, "give 1 or more"),
    )
    epochs: float | None = option(
        None, "Passes over the subset.", shown="as many steps as recorded", panel=CHANGED, bound=POSITIVE
    )
    steps: int | None = option(None, "Optimiser steps.", shown="as recorded", panel=CHANGED, bound=POSITIVE)
    batch_size: int | None = option(None, "Examples a step.", shown="as recorded", panel=CHANGED, bound=POSITIVE)
    lr: float | None = option(None, "Peak learning rate.", shown="as recorded", panel=CHANGED, bound=POSITIVE)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewExampleOptions:
    """Examples that the recording lacks."""

    PANEL: ClassVar = NEW
    new_train: File = option(
        None,
        "JSON lines of new training examples, which --subset, --drop and --curriculum may then name.",
        shown=False,
    )
    new_test: File = option(
        None, "JSON lines of new test examples, with their first scores in the field 'first'.", shown=False
    )
    model: str | None = option(
        None,
        "The recorded model, to measure first scores that --new-test doesn't give.",
        shown=False,
        complete="model",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorOptions:
    """The simulator that is asked, and the files it goes with."""

    PANEL: ClassVar = FILES
    simulator: File = option(None, "Simulator file to use.", shown="the one made last")
    dynamics: File = common.dynamics()
    features: File = option(
        None,
        "Features file that the simulator was fitted on; read only for unseen examples.",
        shown="in the workspace",
    )
    workspace: File = common.workspace()


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedRunOptions(CounterfactualOptions):
    """What runs that were never recorded train on: several subsets may be asked about in one pass."""

    subset: tuple[Ids, ...] = option(  # type: ignore[assignment]
        (),
        "File of pool ids to train on, one a line, or a table of gptfl rank; several are predicted in one pass, which writes no file.",
        shown=False,
    )
    orders: int | None = option(
        None,
        "Random orders to average over.",
        metavar="K",
        shown="1; of --drop every order in closed form where the estimator can, else 8",
        bound=at_least(1, "give 1 or more"),
    )
    every_order: bool = option(
        False,
        "Predict the mean over all random orders, in closed form, instead of averaging over --orders of them; for "
        "estimators that are linear in what a run sees, such as exposure-gp.",
    )


def many_subsets(subsets: object) -> tuple[Ids, ...]:
    """Several subsets as the option has them. Raises ``UsageError`` for what is no sequence of subsets."""
    listed = types.read([Sequence], subsets, "simulate_many: subsets")
    return tuple(types.read(types.alternatives(Ids), one, "simulate_many: a subset") for one in listed)


def one_subset(subset: Ids | None) -> Any:
    """One subset as an option that takes several has it."""
    return subset if subset is None or is_group(subset) else (subset,)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulateOptions:
    """What ``gptfl simulate`` predicts."""

    run: SimulatedRunOptions = SimulatedRunOptions()
    against: Ids | None = option(
        None,
        "File of pool ids to compare with, one a line, or a table of gptfl rank.",
        shown="of --drop the whole pool, else the average recorded run",
        panel=RUN,
    )
    observe: File = option(
        None,
        "JSON lines of scores recorded of this very run so far, with step, id and value; goes on from there.",
        shown=False,
        panel=RUN,
    )
    new: NewExampleOptions = NewExampleOptions()
    estimator: str | None = option(
        None, "Ask the simulator of this estimator.", shown="the one fitted last", complete="estimator"
    )
    metric: str | None = common.metric()
    seed: int = common.seed("the orders")
    as_json: bool = common.as_json()
    inputs: SimulatorOptions = SimulatorOptions()
    output: File = option(None, "Predictions file to write.", shown="in the workspace", panel=FILES)
    figure: Picture = common.figure("beside it")
    no_picture: bool = common.no_picture()
    html: File = common.html("the simulation")
