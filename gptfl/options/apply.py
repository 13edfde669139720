"""The options of ``gptfl apply``."""

from dataclasses import dataclass
from pathlib import Path

from gptfl.options.base import option
from gptfl.options.common import FILES, File, Ids

ROWS = "The rows"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyOptions:
    """Which rows of somebody's own data are kept, and where they go."""

    data: str | Path = option(
        help="The file of rows, as gptfl collect --data took it: JSON lines, a JSON array, CSV or Parquet.",
        metavar="FILE",
        panel=ROWS,
    )
    drop: Ids | None = option(
        None, "File of the ids to leave out, one a line, or a table of gptfl rank.", shown=False, panel=ROWS
    )
    keep: Ids | None = option(
        None, "File of the ids to keep, of which all others are left out.", shown=False, panel=ROWS
    )
    weights: bool = option(
        False, "Also write all rows with a field weight, 1 for those kept and 0 for the others.", panel=ROWS
    )
    fields: str | None = option(
        None,
        "Which field of a row is which, as for gptfl collect; id=FIELD says where ids are.",
        metavar="NAME=FIELD,...",
        shown="as the recording's, else recognised",
        panel=ROWS,
    )
    dynamics: File = option(
        None, "Recording whose ids these are; its rows are read as they were then.", shown=False, panel=FILES
    )
    output: File = option(
        None,
        "New folder to write to, which has the rows as kept, with the suffix of FILE.",
        metavar="DIR",
        shown="FILE without its suffix, and .applied",
        panel=FILES,
    )
