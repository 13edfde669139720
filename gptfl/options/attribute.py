"""The options of ``gptfl attribute``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gptfl.options import common
from gptfl.options.base import RATE, at_least, option
from gptfl.options.common import FILES, PRECISE, File
from gptfl.options.rows import RowOptions

TRAINING = "The finished training"
INFLUENCE = "Which influence"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeOptions:
    """Whose checkpoints ``gptfl attribute`` reads, and what it shows."""

    model: str = option(
        help="The model as it was before the training: a short name, a Hub id or a folder.",
        complete="model",
        panel=TRAINING,
    )
    checkpoints: str | Path = option(
        help="The trainer's output folder, with its checkpoint-N, or a single one of these; of whole models or of LoRA "
        "adapters.",
        metavar="DIR",
        panel=TRAINING,
    )
    data: File = option(
        None, "A file or folder of the rows, as for gptfl collect; or --train and --eval.", shown=False, panel=TRAINING
    )
    order: File = option(
        None,
        "CSV with the columns step and id: what each step was trained on.",
        metavar="FILE",
        shown="not known: every example a little in each step",
        panel=TRAINING,
    )
    lr: float | None = option(
        None, "Learning rate of every step.", shown="as trainer_state.json logs it", panel=TRAINING, bound=RATE
    )
    loss_mean: str = option(
        "tokens",
        "What the loss of a step was the mean over: tokens, as trainers do, or examples.",
        complete=("tokens", "examples"),
        panel=TRAINING,
    )
    optimiser_state: bool = option(
        False,
        "Read each checkpoint's optimizer.pt, too, for what AdamW divides gradients by; only tensors and numbers are "
        "read of it.",
        panel=TRAINING,
    )
    max_length: int = common.max_length(TRAINING)
    rows: RowOptions = RowOptions()
    test: int | None = option(None, "Test examples that are measured.", shown="all", panel=INFLUENCE, bound=at_least(1))
    on: str | Sequence[str] = option(
        "mean",
        "Influence on what: mean (of all test examples), test:ID, or group:FILE (test ids, one a line).",
        complete=("mean", "test:", "group:"),
        panel=INFLUENCE,
    )
    tokens: bool = option(
        False,
        "With --on test:ID, also tell which examples moved which token of its target, to first order.",
        panel=INFLUENCE,
    )
    top: int | None = common.top()
    reverse: bool = common.harmful()
    as_csv: bool = common.as_csv()
    as_json: bool = common.as_json()
    sketch_points: int = option(
        4, "At how many of the checkpoints gradients are sketched.", metavar="N", panel=PRECISE, bound=at_least(1)
    )
    sketch_dimensions: int = option(8192, "Numbers of a sketch.", metavar="N", panel=PRECISE, bound=at_least(1))
    sketch_modules: str | None = common.sketch_modules(PRECISE)
    device: str = common.device()
    seed: int = common.seed("the sketches")
    workspace: File = common.workspace()
    name: str | None = option(None, "Name of the recording.", shown="attribute-MODEL", panel=FILES)
    output: File = option(None, "Also write the table to this .csv, .parquet or .json file.", shown=False, panel=FILES)
