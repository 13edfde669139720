"""Recordings as long tables."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest

from gptfl.core import Example
from gptfl.errors import DataError
from gptfl.interchange.export_recording import export
from gptfl.interchange.import_recording import import_
from gptfl.interchange.tables import check_table, write_examples, write_trajectories
from gptfl.store.recordings import read_dynamics
from tests.released import released
from tests.synthetic import synthetic


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


def test_a_table_of_gptfls_own_may_be_replaced_and_nothing_else(tmp_path: Path) -> None:
    dynamics, done = synthetic(2)[0], []
    for suffix in ("csv", "parquet"):
        path = tmp_path / f"scores.{suffix}"
        check_table(path)
        write_trajectories(path, dynamics, suffix, done.append)
        check_table(path)
        path.write_bytes(b"mine")
        with pytest.raises(
            DataError, match="is no table that gptfl export wrote, and is not overwritten: give another --o"
        ):
            check_table(path, "--o")
    assert done == [1, 2, 1, 2]
    with pytest.raises(DataError, match="is no table that gptfl export wrote"):
        check_table(tmp_path)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_steps_at_which_no_metric_is_known_have_no_row_and_gaps_are_empty(tmp_path: Path, kind: str) -> None:
    dynamics = synthetic(1, test=3)[0]
    run, path = dynamics.runs[0], tmp_path / f"scores.{kind}"
    loss, other = run.metrics["loss"].copy(), np.full(run.metrics["loss"].shape, np.nan)
    loss[1] = np.nan
    loss[2, 0], other[2, 0] = np.nan, 0.5
    infos = {"loss": dynamics.metrics["loss"], "bleu": replace(dynamics.metrics["loss"], name="bleu")}
    write_trajectories(
        path,
        replace(dynamics, metrics=infos, runs=(replace(run, metrics={"loss": loss, "bleu": other}),)),
        kind,
        lambda _: None,
    )
    found = rows(path)
    assert [int(row["step"]) for row in found if int(row["step"]) <= 6] == [0, 0, 0, 6, 6, 6]
    (gap,) = (row for row in found if row["bleu"] not in (None, ""))
    assert (gap["test"], float(gap["bleu"])) == ("test-0", 0.5)
    assert gap["loss"] in (None, "")


def test_classes_and_fields_are_json_and_what_is_not_there_is_empty(tmp_path: Path) -> None:
    dynamics = synthetic(1, test=1)[0]
    odd = Example("ü,1", 'a "b"\n', " c", fields={"from": "é"})
    write_examples(tmp_path / "examples.csv", replace(dynamics, test=(odd,)), "csv")
    *_, last = rows(tmp_path / "examples.csv")
    assert (last["side"], last["id"], last["prompt"], last["target"], last["label"]) == (
        "test",
        "ü,1",
        'a "b"\n',
        " c",
        "",
    )
    assert json.loads(last["choices"]) == []
    assert json.loads(last["fields"]) == {"from": "é"}
