"""Exporting: what comes back is what was there, and nothing foreign is overwritten."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gptfl.core import Dynamics
from gptfl.errors import DataError, GptflError, UsageError
from gptfl.interchange.export_recording import export
from gptfl.interchange.import_recording import import_
from gptfl.store.exports import MARKER
from gptfl.store.recordings import read_dynamics, write_dynamics
from tests.released import released
from tests.synthetic import synthetic


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
