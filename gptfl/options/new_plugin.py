"""The options of ``gptfl new-plugin``."""

from dataclasses import dataclass

from gptfl.options.base import option
from gptfl.options.common import FILES, File

KINDS = ("estimator", "encoder", "metric", "task")
"""What a plugin can be begun as."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPluginOptions:
    """What ``gptfl new-plugin`` writes."""

    name: str = option(
        help="Name of the part, such as letters or steady-pace; the distribution is gptfl-NAME.", argument=True
    )
    kind: str = option("estimator", "What it adds: estimator, encoder, metric or task.", complete=KINDS)
    output: File = option(None, "New folder to write.", metavar="DIR", shown="gptfl-NAME", panel=FILES)
