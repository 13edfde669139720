"""Reads a task's rows from a Parquet file of the Hub, at a pinned revision and without a loading script."""

from collections.abc import Sequence
from dataclasses import dataclass

from gptfl.errors import DataError
from gptfl.hub import fetch_file, first_line
from gptfl.tasks.rows import TaskRow


@dataclass(frozen=True, slots=True)
class HubFile:
    """A Parquet file of a data set on the Hub, and the columns that the task reads."""

    repo: str
    revision: str
    path: str
    columns: tuple[str, ...]

    @property
    def place(self) -> str:
        """How messages call the file."""
        return f"{self.repo}/{self.path}"


def read_parquet(file: HubFile, task: str, expected: str) -> tuple[list[TaskRow], str]:
    """Every row of the file, and where it came from: repository and commit.

    Raises ``ResourceError`` where the file is neither cached nor to be had, ``DataError`` where it
    is damaged or lacks a column.
    """
    import datasets
    import pyarrow  # type: ignore[import-untyped]
    import pyarrow.parquet  # type: ignore[import-untyped]

    local = fetch_file(
        file.repo,
        file.path,
        revision=file.revision,
        repo_type="dataset",
        where=f"--task {task}",
        instead="pass --data DIR with train.jsonl and test.jsonl (of a mixture: DIR/TASK)",
    )
    try:
        found = pyarrow.parquet.read_schema(local).names
        missing = [column for column in file.columns if column not in found]
        if missing:
            raise DataError(
                f"{file.place} lacks the column {missing[0]!r}", "delete it from the Hub's cache and run again"
            )
        # Wrapped by hand: load_dataset would keep a second copy in a cache of its own, and takes paths for patterns.
        values = datasets.Dataset(pyarrow.parquet.read_table(local, columns=list(file.columns))).to_list()
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(
            f"{local} is not a readable Parquet file ({first_line(error)})",
            "delete it from the Hub's cache and run again",
        ) from error
    commit = _commit(local.parts)
    rows = [TaskRow(value, f"{file.place}, row {index}", expected) for index, value in enumerate(values)]
    return rows, f"{file.repo}@{commit or file.revision}"


def _commit(parts: Sequence[str]) -> str:
    """The commit that the Hub's cache keeps a file under: what follows ``snapshots`` in its path."""
    return parts[parts.index("snapshots") + 1] if "snapshots" in parts else ""
