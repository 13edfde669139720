"""The options of ``gptfl report`` and ``gptfl serve``."""

from dataclasses import dataclass

from gptfl.options import common
from gptfl.options.base import Bound, option
from gptfl.options.common import FILES, RESULT, File
from gptfl.options.evaluation import folds_option
from gptfl.options.simulation import SimulatorOptions

PORTS = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class PageOptions:
    """What a page of a recording and its simulator holds."""

    estimator: str | None = option(
        None, "Show the simulator of this estimator.", shown="the one fitted last", complete="estimator"
    )
    metric: str | None = common.metric()
    folds: int | None = folds_option()
    no_comparison: bool = option(False, "Leave out the comparison with the naive rows, which fits again.")
    seed: int = common.seed()
    inputs: SimulatorOptions = SimulatorOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions(PageOptions):
    """What ``gptfl report`` puts on a page."""

    as_json: bool = option(
        False, "Print what the page holds as JSON, beside writing it.", flag="--json", panel=RESULT, shell=True
    )
    output: File = option(None, "HTML file to write.", shown="report.html in the workspace", panel=FILES)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions(PageOptions):
    """What ``gptfl serve`` shows, and where."""

    port: int = option(
        0,
        "Port of this machine to listen on.",
        metavar="N",
        shown="any that is free",
        bound=Bound(lambda value: 0 <= value <= PORTS, f"give a number from 0 to {PORTS}"),
    )
