"""Recordings as long tables."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest

from gptfl.errors import DataError
from gptfl.interchange.export_recording import export
from gptfl.interchange.import_recording import import_
from gptfl.store.recordings import read_dynamics
from tests.released import released


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_tables_hold_every_score_and_batch(recorded: Path, tmp_path: Path, kind: str) -> None:
    result = export(tmp_path / "out", format=kind, dynamics=recorded)
    assert result.files == tuple(f"{name}.{kind}" for name in ("trajectories", "batches", "examples"))
    dynamics = read_dynamics(recorded)
    scores, batches, examples = (rows(tmp_path / "out" / name) for name in result.files)
    place = {example.id: i for i, example in enumerate(dynamics.test)}
    assert len(scores) == sum(int(np.isfinite(run.metrics["loss"]).sum()) for run in dynamics.runs)
    for row in scores:
        run = dynamics.runs[int(row["run"])]
        at = int(np.searchsorted(run.steps, int(row["step"])))
        assert row["role"] == run.role
        assert np.float32(row["loss"]) == run.metrics["loss"][at, place[row["test"]]]
    assert len(batches) == sum(int((run.curriculum.batches >= 0).sum()) for run in dynamics.runs)
    for row in batches[:50]:
        curriculum, step = dynamics.runs[int(row["run"])].curriculum, int(row["step"]) - 1
        assert dynamics.pool[curriculum.batches[step, int(row["position"])]].id == row["example"]
        assert float(row["learning_rate"]) == curriculum.learning_rates[step]
    assert [row["id"] for row in examples if row["side"] == "pool"] == [example.id for example in dynamics.pool]
    assert examples[0]["prompt"] + examples[0]["target"] == dynamics.pool[0].text


def rows(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        return list(pyarrow.parquet.read_table(path).to_pylist())
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_unknown_learning_rates_are_empty_in_tables(tmp_path: Path) -> None:
    first = import_("gptdynamics", released(tmp_path / "rte"), workspace=tmp_path / "ws")
    export(tmp_path / "out", format="parquet", dynamics=first.path)
    assert {row["learning_rate"] for row in rows(tmp_path / "out" / "batches.parquet")} == {None}


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_file_holds_the_trajectories_alone(recorded: Path, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"scores{suffix}"
    result = export(path, dynamics=recorded)
    assert result.files == (path.name,)
    assert "name a folder" in " ".join(result.notes)
    assert set(rows(path)[0]) == {"run", "role", "step", "test", "loss"}
    export(path, dynamics=recorded)
    path.write_text("mine\n")
    with pytest.raises(DataError, match="is no table that gptfl export wrote, and is not overwritten"):
        export(path, dynamics=recorded)
    assert path.read_text() == "mine\n"
