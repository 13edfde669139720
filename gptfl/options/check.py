"""The options of ``gptfl check``."""

from dataclasses import dataclass
from pathlib import Path

from gptfl.options import common
from gptfl.options.base import option
from gptfl.options.common import FILES, File, InputOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOptions:
    """Which new rows are asked about, and on which test examples."""

    new: str | Path = option(
        help="File of new training rows, as gptfl simulate --new-train takes them.", metavar="FILE", argument=True
    )
    by: str | None = option(
        None,
        "Also tell it on groups of test examples, by this field of theirs, or by class or task.",
        metavar="FIELD",
        shown="the mean of all alone",
        complete=("class", "task"),
    )
    estimator: str | None = option(
        None, "Ask the simulator of this estimator.", shown="the one fitted last", complete="estimator"
    )
    metric: str | None = common.metric()
    as_json: bool = common.as_json()
    simulator: File = option(None, "Simulator file to use.", shown="the one made last", panel=FILES)
    inputs: InputOptions = InputOptions()
    output: File = option(None, "Markdown page (.md) to write, for CI.", shown=False, panel=FILES)
