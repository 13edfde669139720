"""The options of ``gptfl compare`` and ``gptfl verify``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from gptfl.options import common
from gptfl.options.base import at_least, option
from gptfl.options.common import FILES, PRECISE, RESULT, File, Ids, InputOptions, Picture, Settings
from gptfl.options.defaults import FEW_RUNS, PAPER
from gptfl.options.simulation import RUN, CounterfactualOptions, LearningOptions, SimulatorOptions, encoder_option


def settings_option() -> Any:
    """Settings of several estimators."""
    return option(
        (),
        "A setting of one estimator; may be given several times.",
        flag="--set",
        metavar="ESTIMATOR.NAME=VALUE",
        panel=PRECISE,
    )


def folds_option() -> Any:
    """How often everything is fitted again."""
    return option(
        None, "Refit K times so that every run is held out once.", metavar="K", shown="stored roles", bound=at_least(2)
    )


def held_out_option(help_: str, shell: bool = False) -> Any:
    """How many of the last runs a learning curve holds out."""
    remedy = "give at least 1, or leave it out for the recording's test runs"
    return option(
        None, help_, metavar="N", shown="the test runs", panel=PRECISE, shell=shell, bound=at_least(1, remedy)
    )


def draws_option(help_: str, shell: bool = False) -> Any:
    """How many groups of runs a point of a learning curve is fitted to."""
    return option(1, help_, metavar="K", panel=PRECISE, shell=shell, bound=at_least(1))


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepOptions:
    """What ``compare --sweep`` varies; Python has ``sweep`` and ``learning_curve`` for it."""

    sweep: tuple[str, ...] = option(
        (),
        "Compare values of one setting of the --estimator (default gptfluence), of 'every' or of 'encoder', "
        "as in order=1,2,3; given several times, every combination. 'runs' stands alone: estimators (default "
        "exposure-gp and gptfluence) fitted to the first 2, 3, 5 ... runs predict the same held-out runs.",
        metavar="AXIS=V1,V2,...",
        shell=True,
    )
    held_out: int | None = held_out_option("With --sweep runs: hold out the last N runs.", shell=True)
    draws: int = draws_option(
        "With --sweep runs: fit to up to K disjoint groups of runs at each point, and average.", shell=True
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TableOptions:
    """How the table is printed."""

    PANEL: ClassVar = RESULT
    as_json: bool = common.as_json()
    as_csv: bool = common.as_csv()
    as_latex: bool = option(False, "Print a LaTeX table.", flag="--latex", shell=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareOptions:
    """What ``gptfl compare`` holds against the held-out runs, and how."""

    estimators: tuple[str, ...] | None = option(
        None,
        "Estimator to compare, beside the naive ones; may be given several times, "
        "also the same with other settings or the features of another encoder.",
        flag="--estimator",
        metavar="NAME[@ENCODER][:SETTING=VALUE,...]",
        shown="all that find what they need",
        complete="estimator",
    )
    folds: int | None = folds_option()
    metric: str | None = common.metric()
    encoder: str | None = encoder_option()
    settings: tuple[str, ...] | Mapping[str, Mapping[str, Any]] = settings_option()
    calibrate: bool = option(
        False, "Multiply what gradient estimators such as tracin-cp foretell by a number fitted to the runs to fit."
    )
    truth: File = option(
        None,
        "Fit to all runs, and score on those of this other recording of the same examples and model, such as one of "
        "--design leave-small.",
        shown=False,
    )
    learning: LearningOptions = LearningOptions()
    sweep: SweepOptions = SweepOptions()
    cost: bool = option(
        False, "Also measure the seconds and floating-point operations that one simulated trajectory takes."
    )
    observe: int | None = option(
        None,
        "Tell the estimators the first K recorded scores of each held-out run after its start; score the rest.",
        metavar="K",
        shown="none",
        panel=PRECISE,
        bound=at_least(1, "give how many recorded scores to tell, or leave it out"),
    )
    against_estimator: str | None = option(
        None,
        "Row whose squared error the others are held against.",
        metavar="NAME",
        shown="the row with the least",
        panel=PRECISE,
    )
    seed: int = common.seed()
    inputs: InputOptions = InputOptions()
    table: TableOptions = TableOptions()
    output: File = option(None, "Also write the table to this .json, .csv or .tex file.", shown=False, panel=FILES)
    figure: Picture = common.figure()
    no_picture: bool = common.no_picture()
    html: File = common.html("the comparison")


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyOptions:
    """What ``gptfl verify`` predicts and trains."""

    run: CounterfactualOptions = CounterfactualOptions()
    against: Ids | None = option(
        None,
        "Also train on these in the same orders, a file of ids or a table of gptfl rank, to see whether the difference is "
        "clear of noise.",
        shown="of --drop the whole pool, else nothing",
        panel=RUN,
    )
    estimator: str | None = option(
        None, "Verify the simulator of this estimator.", shown="the one fitted last", complete="estimator"
    )
    metric: str | None = common.metric()
    dry_run: bool = option(False, "Say what the training will take, and stop.")
    model: str | None = option(
        None,
        "Name or folder of the recorded model.",
        shown="as the recording says",
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
    data: File = common.data()
    device: str = common.device()
    executor: str = common.executor()
    executor_set: Settings = common.executor_set()
    seed: int = common.seed("the orders")
    as_json: bool = common.as_json()
    inputs: SimulatorOptions = SimulatorOptions()
    output: File = option(
        None,
        "JSON file of the numbers, the trained trajectories among them.",
        shown="in the workspace",
        panel=FILES,
    )
    figure: Picture = common.figure("beside it")
    no_picture: bool = common.no_picture()
    html: File = common.html("the verification")


@dataclass(frozen=True, slots=True, kw_only=True)
class PointOptions:
    """What holds at every point of a sweep or a learning curve."""

    metric: str | None = common.metric()
    encoder: str | None = encoder_option()
    settings: tuple[str, ...] | Mapping[str, Mapping[str, Any]] = settings_option()
    every: int = option(
        1,
        "Learn from every K-th recorded score only, and predict at those steps.",
        metavar="K",
        panel=PRECISE,
        bound=at_least(1),
    )
    keep_diverged: bool = option(
        False, "Also take runs that diverged, which are left out otherwise (and named).", panel=PRECISE
    )
    seed: int = common.seed()
    inputs: InputOptions = InputOptions()
    as_json: bool = common.as_json()
    as_csv: bool = common.as_csv()
    output: File = option(None, "Also write the table to this .json or .csv file.", shown=False, panel=FILES)
    figure: Picture = common.figure()
    no_picture: bool = common.no_picture()


@dataclass(frozen=True, slots=True, kw_only=True)
class GridOptions(PointOptions):
    """What ``gptfl sweep`` varies."""

    FUNCTION: ClassVar = "sweep"
    axes: tuple[str, ...] | Mapping[str, Sequence[Any]] = option(
        (),
        "Values of one setting of the estimator, of 'every' or of 'encoder', as in order=1,2,3; of several, every "
        "combination.",
        argument=True,
        metavar="AXIS=V1,V2,...",
    )
    estimator: str = option(PAPER, "The estimator whose settings vary.", complete="estimator")
    folds: int | None = folds_option()


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningCurveOptions(PointOptions):
    """How many runs ``gptfl learning-curve`` fits to."""

    counts: tuple[str, ...] | Sequence[int] = option(
        (), "How many runs to fit to, as in 2 3 5 10.", argument=True, metavar="RUNS..."
    )
    estimators: tuple[str, ...] = option(
        (),
        "Estimator to compare, beside the naive ones; may be given several times.",
        flag="--estimator",
        metavar="NAME[@ENCODER][:SETTING=VALUE,...]",
        shown=f"{FEW_RUNS} and {PAPER}",
        complete="estimator",
    )
    held_out: int | None = held_out_option("Hold out the last N runs.")
    draws: int = draws_option("Fit to up to K disjoint groups of runs at each point, and average.")
