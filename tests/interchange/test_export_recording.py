"""Exporting: what comes back is what was there, and nothing foreign is overwritten."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest

from gptfl.core import Dynamics
from gptfl.errors import DataError, GptflError, UsageError
from gptfl.interchange.export_recording import export
from gptfl.interchange.gptdynamics_writer import folder_names
from gptfl.interchange.import_recording import import_
from gptfl.store.exports import MARKER
from gptfl.store.recordings import read_dynamics, write_dynamics
from tests.released import released
from tests.synthetic import synthetic


def narrow(dynamics: Dynamics) -> Dynamics:
    """With scores as ``collect`` writes them, some of them missing."""
    runs = []
    for run in dynamics.runs:
        values = run.metrics["loss"].astype(np.float32)
        values[1, run.index % values.shape[1]] = np.nan
        runs.append(replace(run, metrics={"loss": values}))
    return replace(dynamics, runs=tuple(runs))


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    path = tmp_path / "syn.dynamics.h5"
    write_dynamics(path, narrow(synthetic(13)[0]))
    return path


def same_runs(old: Dynamics, new: Dynamics) -> None:
    assert (old.pool, old.test) == (new.pool, new.test)
    for one, other in zip(old.runs, new.runs, strict=True):
        assert (one.index, one.role) == (other.index, other.role)
        np.testing.assert_array_equal(one.steps, other.steps)
        np.testing.assert_array_equal(one.curriculum.batches, other.curriculum.batches)
        np.testing.assert_array_equal(one.curriculum.learning_rates, other.curriculum.learning_rates)
        assert one.metrics.keys() == other.metrics.keys()
        for name, values in one.metrics.items():
            np.testing.assert_array_equal(values, other.metrics[name])


def test_the_released_layout_gives_back_everything_that_it_holds(recorded: Path, tmp_path: Path) -> None:
    result = export(tmp_path / "out", dynamics=recorded)
    assert (result.format, result.runs, result.notes) == ("gptdynamics", 13, ())
    back = import_("gptdynamics", tmp_path / "out", workspace=tmp_path / "ws")
    same_runs(read_dynamics(recorded), read_dynamics(back.path))
    assert back.first_step == 0  # step 0, which the layout knows no rule for, survives
    assert read_dynamics(back.path).settings["schedule"] == "linear"


def test_an_import_gives_back_its_own_files_and_names(tmp_path: Path) -> None:
    folder = released(tmp_path / "rte", runs=11)
    first = import_("gptdynamics", folder, workspace=tmp_path / "ws")
    export(tmp_path / "out", dynamics=first.path)
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_dir()) == sorted(
        f"run_seed-{i}" for i in range(1, 12)
    )
    for name in ("train_samples_id.json", "all_loss_trajectory.out"):
        old, new = (
            [json.loads(line) for line in (root / "run_seed-10" / name).read_text().splitlines()]
            for root in (folder, tmp_path / "out")
        )
        assert old == new
    second = import_("gptdynamics", tmp_path / "out", workspace=tmp_path / "ws", name="back")
    same_runs(read_dynamics(first.path), read_dynamics(second.path))
    assert "the learning rates are not known" in " ".join(second.notes)


def test_an_example_without_class_stays_without(tmp_path: Path) -> None:
    dynamics = synthetic(3, classes=2)[0]
    pool, test = (tuple(replace(e, choices=(), label=None) for e in part) for part in (dynamics.pool, dynamics.test))
    write_dynamics(tmp_path / "a.dynamics.h5", replace(dynamics, pool=pool, test=test))
    export(tmp_path / "out", dynamics=tmp_path / "a.dynamics.h5")
    back = import_("gptdynamics", tmp_path / "out", workspace=tmp_path / "ws")
    assert read_dynamics(back.path).pool == pool


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


def test_only_an_earlier_export_is_replaced(recorded: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    export(out, dynamics=recorded)
    export(out, format="csv", dynamics=recorded)
    assert {path.name for path in out.iterdir()} == {"trajectories.csv", "batches.csv", "examples.csv", MARKER}
    (out / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match=r"holds mine\.txt, which gptfl export didn't write"):
        export(out, dynamics=recorded)
    assert (out / "mine.txt").read_text() == "mine"
    assert not list(tmp_path.glob(".*.part"))


@pytest.mark.parametrize("marker", ["", "{", "[]", '{"files": ["train_texts.json"]}', '{"made_by": "gptfl export"}'])
def test_a_folder_that_was_not_exported_is_left_alone(recorded: Path, tmp_path: Path, marker: str) -> None:
    folder = released(tmp_path / "rte")
    if marker:
        (folder / MARKER).write_text(marker)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(DataError, match="is not overwritten"):
        export(folder, dynamics=recorded)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_the_current_folder_links_and_files_are_left_alone(
    recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "here")
    (tmp_path / "file").write_text("mine")
    monkeypatch.chdir(tmp_path / "here")
    for target, piece in ((".", "current folder"), ("../link", "is a link"), ("../file", "is a file")):
        with pytest.raises(DataError, match=piece):
            export(target, dynamics=recorded)


def test_without_texts_the_runs_are_written_and_the_texts_are_not(tmp_path: Path) -> None:
    dynamics = synthetic(3)[0]
    pool, test = (tuple(example.without_texts() for example in part) for part in (dynamics.pool, dynamics.test))
    write_dynamics(tmp_path / "a.dynamics.h5", replace(dynamics, pool=pool, test=test))
    result = export(tmp_path / "out", dynamics=tmp_path / "a.dynamics.h5")
    assert "keeps no texts: no files of texts were written" in " ".join(result.notes)
    assert not list((tmp_path / "out").glob("*texts*"))
    with pytest.raises(DataError, match=r"holds no train_texts\.json"):
        import_("gptdynamics", tmp_path / "out", workspace=tmp_path)


def test_a_gap_between_runs_is_reported(tmp_path: Path) -> None:
    dynamics = synthetic(4)[0]
    write_dynamics(tmp_path / "a.dynamics.h5", replace(dynamics, runs=dynamics.runs[:1] + dynamics.runs[2:]))
    result = export(tmp_path / "out", dynamics=tmp_path / "a.dynamics.h5")
    assert "numbers them anew" in " ".join(result.notes)


@pytest.mark.parametrize(
    "names", [["../a", "b", "c"], ["a", "A", "b"], ["b", "a", "c"], ["a", "b"], [1, 2, 3], "abc", ["a/b", "c", "d"]]
)
def test_names_that_a_file_tells_are_taken_only_if_they_are_plain(names: Any) -> None:
    dynamics = replace(synthetic(3)[0], settings={"run_names": names})
    assert folder_names(dynamics) == ["run-0000", "run-0001", "run-0002"]
    assert folder_names(replace(dynamics, settings={"run_names": ["s-1", "s-2", "s-10"]})) == ["s-1", "s-2", "s-10"]


@pytest.mark.parametrize(
    ("options", "error", "piece"),
    [
        ({"format": "xml"}, UsageError, "format 'xml' is unknown"),
        ({"to": "a.csv", "format": "parquet"}, UsageError, "is no name for --format parquet"),
        ({"dynamics": "absent.h5"}, DataError, "absent.h5 does not exist"),
    ],
)
def test_options_that_make_no_sense(
    recorded: Path, tmp_path: Path, options: dict[str, Any], error: type[GptflError], piece: str
) -> None:
    with pytest.raises(error, match=piece):
        export(**{"to": tmp_path / "out", "dynamics": recorded, **options})
    assert not (tmp_path / "out").exists()


def test_a_metric_that_can_not_name_a_column_or_a_file(tmp_path: Path) -> None:
    dynamics = synthetic(3)[0]
    for name, kind, piece in (("step", "csv", "another column"), ("a/b", "gptdynamics", "can't name a file")):
        runs = tuple(replace(run, metrics={name: run.metrics["loss"]}) for run in dynamics.runs)
        infos = {name: replace(dynamics.metrics["loss"], name=name)}
        write_dynamics(tmp_path / "a.dynamics.h5", replace(dynamics, runs=runs, metrics=infos))
        with pytest.raises(DataError, match=piece):
            export(tmp_path / "out", format=kind, dynamics=tmp_path / "a.dynamics.h5")
        assert not (tmp_path / "out").exists()
        assert not list(tmp_path.glob(".out*"))
