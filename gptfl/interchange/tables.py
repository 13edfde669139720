"""Recordings as long-form tables, for other tools: Parquet or CSV, written run by run.

``trajectories``: run, role, step, test (its id) and a column for each metric, empty where not recorded.
``batches``: run, step (from 1), position, example (its id), learning_rate.
``examples``: side (pool or test), id, prompt, target, label, choices and fields (the last two as JSON).
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.csv  # type: ignore[import-untyped]
import pyarrow.parquet  # type: ignore[import-untyped]

from gptfl.core import Dynamics, Run
from gptfl.core.texts import json_text
from gptfl.errors import DataError

SUFFIXES = {"parquet": ".parquet", "csv": ".csv"}
ORIGIN = {b"made_by": b"gptfl export"}
FIRST = ("run", "role", "step", "test")
_CSV_START = ",".join(f'"{name}"' for name in FIRST).encode()


def check_table(path: Path, flag: str = "--to") -> None:
    """Raise ``DataError`` unless a path is free or holds a table of trajectories that gptfl wrote."""
    if not path.exists():
        return
    ours = False
    if path.is_file():
        try:
            with path.open("rb") as file:
                if path.suffix == ".csv":
                    ours = file.read(len(_CSV_START)) == _CSV_START
                else:
                    ours = ORIGIN.items() <= (pa.parquet.read_schema(file).metadata or {}).items()
        except pa.ArrowInvalid:
            ours = False
        except OSError as error:
            raise DataError(f"{flag} {path}: {error.strerror or error}", f"give another {flag}") from error
    if not ours:
        raise DataError(
            f"{path} is no table that gptfl export wrote, and is not overwritten",
            f"give another {flag}, or move it away",
        )


def write_trajectories(path: Path, dynamics: Dynamics, kind: str, on_run: Callable[[int], None]) -> None:
    """Write every score that was recorded, one a row.

    Args:
        path: of the table.
        dynamics: the recording.
        kind: ``csv`` or ``parquet``.
        on_run: called with the number of runs that are written.

    Raises ``DataError`` for a metric with the name of another column.
    """
    metrics = list(dynamics.metrics)
    taken = sorted(set(metrics) & set(FIRST))
    if taken:
        raise DataError(f"the metric {taken[0]!r} has the name of another column", "export to --format gptdynamics")
    kinds = {name: _float_type(dynamics, name) for name in metrics}
    schema = _schema(
        [("run", pa.int64()), ("role", pa.string()), ("step", pa.int64()), ("test", pa.string()), *kinds.items()]
    )
    ids = pa.array([example.id for example in dynamics.test], pa.string())
    with _writer(path, schema, kind) as writer:
        for done, run in enumerate(dynamics.runs):
            writer.write(_scores_of(run, dynamics, ids, schema))
            on_run(done + 1)


def _scores_of(run: Run, dynamics: Dynamics, ids: pa.Array, schema: pa.Schema) -> pa.Table:
    steps, tests = len(run.steps), len(dynamics.test)
    known = np.zeros(steps * tests, dtype=bool)
    for name in dynamics.metrics:
        known |= np.isfinite(run.metrics[name]).ravel()
    rows = np.flatnonzero(known)
    columns = {
        "run": np.full(len(rows), run.index),
        "role": pa.array([run.role], pa.string()).take(pa.array(np.zeros(len(rows), dtype=np.int64))),
        "step": np.repeat(run.steps, tests)[rows],
        "test": ids.take(pa.array(rows % max(1, tests))),
    }
    for name in dynamics.metrics:
        values = run.metrics[name].ravel()[rows]
        columns[name] = pa.array(values, mask=~np.isfinite(values))
    return pa.table(columns, schema=schema)


def write_batches(path: Path, dynamics: Dynamics, kind: str, with_rates: bool) -> None:
    """Write every batch, an example a row; the learning rate is empty where it is not known.

    Args:
        path: of the table.
        dynamics: the recording.
        kind: ``csv`` or ``parquet``.
        with_rates: whether the learning rates are known.
    """
    schema = _schema(
        [
            *((name, pa.int64()) for name in ("run", "step", "position")),
            ("example", pa.string()),
            ("learning_rate", pa.float64()),
        ]
    )
    ids = pa.array([example.id for example in dynamics.pool], pa.string())
    with _writer(path, schema, kind) as writer:
        for run in dynamics.runs:
            step, position = np.nonzero(run.curriculum.batches >= 0)
            members = run.curriculum.batches[step, position]
            rates = run.curriculum.learning_rates[step]
            columns = {
                "run": np.full(len(step), run.index),
                "step": step + 1,
                "position": position,
                "example": ids.take(pa.array(members)),
                "learning_rate": pa.array(rates, mask=np.full(len(step), not with_rates)),
            }
            writer.write(pa.table(columns, schema=schema))


def write_examples(path: Path, dynamics: Dynamics, kind: str) -> None:
    """Write the pool and the test examples."""
    names = ("side", "id", "prompt", "target", "label", "choices", "fields")
    schema = _schema([(name, pa.int64() if name == "label" else pa.string()) for name in names])
    rows = [
        {
            "side": side,
            "id": example.id,
            "prompt": example.prompt,
            "target": example.target,
            "label": example.label,
            "choices": json_text(list(example.choices)),
            "fields": json_text(dict(example.fields)),
        }
        for side, part in (("pool", dynamics.pool), ("test", dynamics.test))
        for example in part
    ]
    with _writer(path, schema, kind) as writer:
        writer.write(pa.Table.from_pylist(rows, schema=schema))


def _float_type(dynamics: Dynamics, metric: str) -> pa.DataType:
    wide = any(run.metrics[metric].dtype.itemsize > 4 for run in dynamics.runs)
    return pa.float64() if wide else pa.float32()


def _schema(columns: Any) -> pa.Schema:
    return pa.schema(columns, metadata=ORIGIN)


def _writer(path: Path, schema: pa.Schema, kind: str) -> AbstractContextManager[Any]:
    if kind == "parquet":
        made: AbstractContextManager[Any] = pa.parquet.ParquetWriter(str(path), schema)
    else:
        made = pa.csv.CSVWriter(str(path), schema)
    return made
