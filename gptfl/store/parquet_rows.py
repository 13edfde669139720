"""Tables of rows as Parquet, written some rows at a time; their metadata say who made them."""

from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

GROUP = 2**15
"""Rows of a row group, which are in memory at once."""
_MADE_BY = b"made_by"


def write_parquet(path: Path, columns: Mapping[str, type], rows: Iterable[Mapping[str, Any]], made_by: str) -> None:
    """Write rows to a file, a row group at a time. What a row lacks is null.

    Args:
        path: of the file.
        columns: what each holds: ``str``, ``int``, ``float`` or ``bool``.
        rows: values by column.
        made_by: the command that writes it, kept in the metadata.

    Raises ``OSError`` where it can't be written.
    """
    import pyarrow as pa  # type: ignore[import-untyped]  # takes long to load
    import pyarrow.parquet  # type: ignore[import-untyped]

    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    schema = pa.schema([(name, kinds[kind]) for name, kind in columns.items()], metadata={_MADE_BY: made_by.encode()})
    left = iter(rows)
    with pa.parquet.ParquetWriter(str(path), schema) as writer:
        while some := list(islice(left, GROUP)):
            arrays = [pa.array([row.get(field.name) for row in some], field.type) for field in schema]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def made_by(path: Path) -> str | None:
    """The command that wrote a Parquet file, where its metadata say one of gptfl's; None for any other file.

    Raises ``OSError`` where it can't be read.
    """
    import pyarrow as pa
    import pyarrow.parquet

    try:
        with path.open("rb") as file:
            said = (pa.parquet.read_schema(file).metadata or {}).get(_MADE_BY, b"").decode("utf-8", "replace")
    except pa.ArrowException:
        return None
    return said if said.startswith("gptfl ") else None
