"""The options of ``gptfl import`` and ``gptfl export``."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from gptfl.options import common
from gptfl.options.base import POSITIVE, WARMUP, option
from gptfl.options.common import FILES, File

ADDED = "What the layout lacks"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """What to import, and as what."""

    FUNCTION: ClassVar = "import_"
    layout: str = option(help="Layout of the files: gptdynamics, that of the released recordings.", argument=True)
    folder: str | Path = option(help="Folder that holds a folder for each run.", metavar="DIR", argument=True)
    train_texts: File = option(
        None,
        "JSON lines of id, input and, if known, target: the training examples.",
        shown="DIR/train_texts.json",
    )
    test_texts: File = option(None, "The same of the test examples.", shown="DIR/test_texts.json")
    metrics: tuple[str, ...] = option(
        (),
        "Metric to import, such as loss, bleu or rougeL; may be given several times.",
        flag="--metric",
        shown="all that have files",
        complete="metric",
    )
    lr: float | None = option(None, "Peak learning rate of the runs.", shown="not known", bound=POSITIVE, panel=ADDED)
    schedule: str | None = option(
        None,
        "How the learning rate went on: linear or cosine (to 0), constant, polynomial or inverse_sqrt.",
        shown="linear, with --lr",
        panel=ADDED,
    )
    warmup: float = option(
        0.0,
        "Steps in which the learning rate rose from 0; below 1, their share of the run.",
        metavar="STEPS|SHARE",
        bound=WARMUP,
        panel=ADDED,
    )
    sketches: File = option(
        None,
        "NumPy archive (.npz) of gradient sketches, which become the features 'gradients'.",
        shown=False,
        panel=ADDED,
    )
    name: str | None = option(None, "Name of the recording.", shown="that of DIR", panel=FILES)
    workspace: File = common.workspace()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """What to export, and where to."""

    to: str | Path = option(
        help="New folder to write, or an earlier export to replace; a FILE.csv or FILE.parquet holds scores only.",
        metavar="DIR|FILE",
    )
    format: str | None = option(
        None,
        "gptdynamics (the released layout), parquet or csv (long tables).",
        shown="gptdynamics, or by the suffix of FILE",
    )
    dynamics: File = common.dynamics()
    workspace: File = common.workspace()
