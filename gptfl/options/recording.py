"""The options of ``gptfl collect``."""

from dataclasses import dataclass
from typing import ClassVar

from gptfl.options import common
from gptfl.options.base import (
    NOT_NEGATIVE,
    Bound,
    at_least,
    option,
    share,
)
from gptfl.options.common import FILES, PRECISE, File, Settings
from gptfl.options.rows import RowOptions
from gptfl.options.training import TrainingOptions as TrainingOptions

WHAT, DESIGN = "What to record", "Runs"
WRITING = "Generated text (--metric bleu, rougeL)"
FEWER = "200, or all if there are fewer"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataOptions:
    """Which model is fine-tuned on which examples, and what is measured."""

    PANEL: ClassVar = WHAT
    model: str = option(
        help="Model to fine-tune: pythia-14m … pythia-2.8b, smollm2-135m-instruct[-q4], tiny, any Hub id or folder.",
        complete="model",
    )
    task: str | None = option(
        None,
        "Where the examples come from (see gptfl plugins); several, separated by commas, are a mixture.",
        complete="task",
        shown="data of your own",
    )
    data: File = option(
        None,
        "Without --task, a file or folder of your own rows: JSON lines, a JSON array, CSV or Parquet, each also .gz or "
        ".zst, or what save_to_disk wrote. With one, a folder with train.jsonl and test.jsonl, instead of the Hub; of a "
        "mixture, with a folder a task.",
        shown=False,
        identity=False,
    )
    instructions: bool | None = option(
        None,
        "Word each prompt by one of several instruction templates.",
        flag="--instructions/--no-instructions",
        shown="of a mixture",
    )
    flip_labels: float | None = option(
        None,
        "Mislabel this share of the pool, as in 0.4; the recording keeps which.",
        metavar="SHARE",
        shown=False,
        bound=share("give the share of the pool to flip, between 0 and 1, as in 0.4"),
    )
    metrics: tuple[str, ...] = option(
        ("loss",),
        "Metric to record; may be given several times.",
        flag="--metric",
        shown="loss",
        complete="metric",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DesignOptions:
    """How many runs, on which examples, and when they are measured."""

    PANEL: ClassVar = DESIGN
    runs: int | None = option(
        None, "How many runs; more later keep the first.", shown="32, with --few-runs 6", bound=at_least(1)
    )
    few_runs: bool = option(
        False,
        "Record what the estimator exposure-gp needs and no more: 6 runs of the contrast design, each on half of the pool, "
        "and --sketches. --runs, --design and --subset-size go before.",
    )
    design: str | None = option(
        None,
        "Which examples each run is trained on. uniform: drawn anew for each run (the paper's). contrast: few "
        "examples many times, such that runs differ much and all examples come about equally often. balanced: "
        "contrast with as many examples of each class in every run, the same in all. leave-out: pairs of runs, "
        "the second with other examples in the places of a group. leave-small:SHARE: the whole pool, and the pool less "
        "random groups of that share, all in the same two orders. repeat: each subset in three orders, and one of "
        "them twice. groups: half of the pool, of about half of the groups that --by names, such that a few runs tell "
        "the groups' effects apart.",
        metavar="NAME[:SHARE]",
        shown="uniform, with --few-runs contrast",
    )
    by: str | None = option(
        None,
        "What the groups of --design groups are: class, task, any field of the rows (as for rank --by), or clusters:K, "
        "K clusters of their texts by TF-IDF, which the recording keeps as the field cluster.",
        metavar="FIELD|clusters:K",
        shown=False,
    )
    next: int | None = option(
        None,
        "Add N runs to this recording, on the examples that tell most about rows of which gptfl rank can't tell yet "
        "whether they help or harm. It takes a simulator (gptfl fit) of exposure-gp.",
        metavar="N",
        shown=False,
        bound=at_least(1),
    )
    on: str | None = option(
        None,
        "What --next is to tell influence on: mean, test:ID or group:FILE, as for gptfl rank.",
        shown="mean",
        complete=("mean", "test:", "group:"),
    )
    repeats: int = option(
        0,
        "Runs besides that repeat the first ones and tell how much is left to chance: three in four in another "
        "order, the fourth the very same. Nothing is fitted to them.",
        metavar="N",
        bound=NOT_NEGATIVE,
    )
    reserve_pool: int = option(
        0,
        "Set N pool examples aside that no run to fit has. Every third run is then to test, and half of its "
        "examples are reserved ones; see --unseen train of compare.",
        metavar="N",
        bound=Bound(lambda value: value == 0 or value > 1, "give 0, or 2 or more, so that runs can differ in it"),
    )
    leave_out_size: int | None = option(
        None,
        "How many examples the runs of a leave-out pair differ in, or a run of leave-small lacks.",
        metavar="N",
        shown="an eighth of the subset; leave-small: 5 % of the pool",
        bound=at_least(1),
    )
    pool: int | None = option(
        None, "Training examples that runs draw from, of all tasks.", shown=FEWER, bound=at_least(1)
    )
    per_task: int | None = option(
        None, "Training examples of each task, instead of --pool.", shown=False, bound=at_least(1)
    )
    test: int | None = option(None, "Test examples that are measured, of all tasks.", shown=FEWER, bound=at_least(1))
    subset_size: int | None = option(
        None,
        "Examples of each run.",
        shown="uniform: 64 % of the pool; groups, and with --few-runs contrast and balanced, half of it; else 32, or a "
        "sixth of a smaller pool",
        bound=at_least(1),
    )
    record_every: int = option(1, "Measure at every N-th step.", bound=at_least(1))


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationOptions:
    """How text is generated for metrics that read some."""

    PANEL: ClassVar = WRITING
    generate_every: int | None = option(
        None,
        "Generate text for bleu and rougeL at step 0, every N-th step and the last; a multiple of --record-every.",
        metavar="N",
        shown="--record-every",
        bound=at_least(1),
    )
    generate_tokens: int | None = option(
        None,
        "Longest generated answer, in tokens.",
        metavar="N",
        shown="1.5 x the longest reference, at most 256",
        bound=at_least(1),
    )
    decode: str = option(
        "greedy",
        "greedy, or nucleus: sampled as in the paper (top-p 0.95, temperature 0.2), each example with its own fixed seed.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GradientOptions:
    """What is recorded of gradients."""

    PANEL: ClassVar = WHAT
    gradients: str | None = option(
        None,
        "What gradient baselines need: reference (products of all examples' gradients along one more run; may "
        "be added to a finished recording), own (the changes of loss "
        "that gradients foretell along each recorded run, for tracin-own-run) or both.",
        shown="none",
    )
    gradient_points: int | None = option(
        None,
        "At how many steps of the reference run gradients are multiplied, first and last included.",
        shown="4",
        bound=at_least(1),
    )
    sketches: bool = option(
        False,
        "Record random projections of all examples' gradients along one more run, for gptfl featurize; "
        "may be added to a finished recording.",
    )
    sketch_points: int | None = common.sketch_points()
    sketch_dimensions: int | None = common.sketch_dimensions()
    sketch_modules: str | None = common.sketch_modules()
    keep_reference: bool = option(
        False,
        "Also keep, beside the recording, the weights and second moments of that run where gradients are sketched, for those of "
        "new rows (gptfl featurize --new, simulate --new-train); may be added to a finished recording.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionOptions:
    """On what the runs are carried out, and by which random numbers."""

    PANEL: ClassVar = PRECISE
    precision: str = option("auto", "auto (on a GPU bf16, or fp16 on one without; else fp32), fp32, bf16 or fp16.")
    accumulate: int = option(
        1,
        "Compute each batch in K passes, which take less memory; the mathematics is the same.",
        metavar="K",
        bound=at_least(1),
    )
    processes: int = option(
        1,
        "Share each run out among N processes of this machine, a GPU each where there are any.",
        metavar="N",
        bound=at_least(1),
    )
    shard: bool = option(False, "Spread the model over the --processes (FSDP): for one that fits on no single GPU.")
    device: str = common.device()
    executor: str = option(
        "local",
        "What carries out the runs: local is this machine; others come from plugins (see gptfl plugins).",
        complete="executor",
    )
    executor_set: Settings = common.executor_set()
    seed: int = common.seed()


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputOptions:
    """Where the recording goes, and what of it is kept."""

    PANEL: ClassVar = FILES
    workspace: File = common.workspace()
    name: str | None = option(None, "Name of the recording.", shown="TASK-MODEL")
    texts: bool = option(True, "Keep the examples' texts, or only hashes.", flag="--texts/--no-texts")
    checkpoints: str | int | None = option(
        None,
        "Save the trained weights of every run: at N of the recorded steps, or at all of them.",
        metavar="N|all",
        shown="none",
        panel=WHAT,
    )
    dry_run: bool = option(False, "Print the plan and its cost, record nothing.", panel=WHAT)


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectOptions:
    """What ``gptfl collect`` records."""

    examples: DataOptions
    rows: RowOptions = RowOptions()
    design: DesignOptions = DesignOptions()
    generation: GenerationOptions = GenerationOptions()
    training: TrainingOptions = TrainingOptions()
    gradients: GradientOptions = GradientOptions()
    execution: ExecutionOptions = ExecutionOptions()
    output: OutputOptions = OutputOptions()
