"""The options of ``gptfl doctor``."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from gptfl.options import common
from gptfl.options.base import at_least, option, share
from gptfl.options.common import RESULT, File
from gptfl.options.recording import ExecutionOptions
from gptfl.options.rows import OWN
from gptfl.options.training import TrainingOptions

CARE = "How careful"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingOptions:
    """How one's own rows are read, as ``gptfl collect`` reads them."""

    PANEL: ClassVar = OWN
    fields: str | None = option(
        None, "Which field of a row is which.", metavar="NAME=FIELD,...", shown="recognised", identity=False
    )
    loss_on: str | None = option(
        None,
        "What of a conversation is learned: assistant, last, all, or a field of messages.",
        metavar="WHICH",
        shown="assistant",
        identity=False,
    )
    chat_template: File = option(
        None, "Chat template (Jinja) for conversations.", metavar="FILE", shown="the tokenizer's"
    )
    end_token: bool | None = option(
        None,
        "Whether the token that ends an answer is a part of the target.",
        flag="--end-token/--no-end-token",
        shown="of conversations",
    )
    pool: int | None = option(
        None, "Look at so many of the rows to train on.", shown="200, or all if there are fewer", bound=at_least(1)
    )
    test: int | None = option(
        None, "Measure so many of the rows to test on.", shown="200, or all if there are fewer", bound=at_least(1)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorOptions:
    """Whose rows ``gptfl doctor`` looks at, and how long it may take."""

    train: str | Path = option(
        help="The rows to train on: JSON lines, a JSON array, CSV or Parquet.", metavar="TRAIN", argument=True
    )
    eval: str | Path = option(help="The rows to test on, which must be right.", metavar="EVAL", argument=True)
    model: str = option(help="Model to fine-tune, as for gptfl collect.", complete="model")
    budget: str = option(
        "20m", "How long it may take, as in 90s, 20m or 2h; a quarter at least is for verifying.", metavar="TIME"
    )
    dry_run: bool = option(False, "Say what would be done and how long it takes, and stop.")
    fdr: float = option(
        0.1,
        "Share of the rows left out that may be harmless after all (the false discovery rate).",
        metavar="SHARE",
        panel=CARE,
        bound=share(),
    )
    share: float = option(0.1, "Leave out at most this share of the pool.", metavar="SHARE", panel=CARE, bound=share())
    record_every: int = option(1, "Measure at every N-th step.", panel=CARE, bound=at_least(1))
    as_json: bool = option(
        False, "Print what it came to as JSON, beside the files.", flag="--json", panel=RESULT, shell=True
    )
    reading: ReadingOptions = ReadingOptions()
    training: TrainingOptions = TrainingOptions()
    execution: ExecutionOptions = ExecutionOptions()
    workspace: File = common.workspace()
