"""The options of ``gptfl report``."""

from dataclasses import dataclass

from gptfl.options import common
from gptfl.options.base import option
from gptfl.options.common import FILES, RESULT, File
from gptfl.options.evaluation import folds_option
from gptfl.options.simulation import SimulatorOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions:
    """What ``gptfl report`` puts on a page."""

    estimator: str | None = option(
        None, "Show the simulator of this estimator.", shown="the one fitted last", complete="estimator"
    )
    metric: str | None = common.metric()
    folds: int | None = folds_option()
    no_comparison: bool = option(False, "Leave out the comparison with the naive rows, which fits again.")
    as_json: bool = option(
        False, "Print what the page holds as JSON, beside writing it.", flag="--json", panel=RESULT, shell=True
    )
    seed: int = common.seed()
    inputs: SimulatorOptions = SimulatorOptions()
    output: File = option(None, "HTML file to write.", shown="report.html in the workspace", panel=FILES)
