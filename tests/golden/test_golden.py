"""What was recorded, fitted and asked before stays what it is: the same settings, fingerprints, keys and answers.

The archive was made once (see ``make``). Nothing is trained here and no model is loaded: what identifies a recording or
a simulator comes from the bytes of its file, and so is the same on every machine.
"""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.golden import commands, contents, house

HERE = Path(__file__).parent
EXPECTED: dict[str, Any] = json.loads((HERE / "expected.json").read_text(encoding="utf-8"))
OPTIONS: dict[str, Any] = json.loads((HERE / "options.json").read_text(encoding="utf-8"))
VERSIONS: dict[str, str] = EXPECTED["versions"]
FILES: dict[str, str] = EXPECTED["files"]
RECORDINGS = (*commands.COLLECT, *commands.IMPORT)
CLOSE = {"rtol": 1e-4, "atol": 1e-4}
"""How near answers are to those of the processor that made the archive. Other matrix kernels add up in another order, in
gptfluence in single precision (2**-24 a sum, passed on from step to step); a changed formula is off by far more."""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the archive, in the current folder: a command locks the workspace that it looks at."""
    folder = tmp_path_factory.mktemp("golden")
    for name in ("archive", "data"):
        shutil.copytree(HERE / name, folder / name)
    before = Path.cwd()
    os.chdir(folder)
    with house.reading_once():
        yield Path("archive")
    os.chdir(before)


def path_of(workspace: Path, name: str) -> Path:
    """Where a recording lies."""
    return workspace / f"{name}.dynamics.h5"


# --- Recordings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RECORDINGS)
def test_recordings_keep_their_identity(name: str, workspace: Path) -> None:
    assert contents.about_recording(path_of(workspace, name)) == EXPECTED["recordings"][name]


@pytest.mark.parametrize("name", RECORDINGS)
def test_settings_come_out_as_they_went_in_byte_for_byte(name: str, workspace: Path, tmp_path: Path) -> None:
    path = path_of(workspace, name)
    assert contents.settings_json(path) == EXPECTED["settings"][name]
    contents.written_again(path, tmp_path / path.name)
    assert contents.settings_json(tmp_path / path.name) == EXPECTED["settings"][name]


@pytest.mark.parametrize("name", [*commands.COLLECT, *commands.COMPOSED])
def test_collect_would_record_the_same(name: str, workspace: Path) -> None:
    """Settings but for what only the weights tell, examples, batches, seeds and roles, and what is left to do."""
    assert vars(house.planned(commands.collect(name))) == EXPECTED["planned"][name]


@pytest.mark.parametrize("name", commands.COLLECT)
def test_what_collect_would_record_is_what_was_recorded(name: str) -> None:
    planned = json.loads(EXPECTED["planned"][name]["settings"])
    recorded = json.loads(EXPECTED["settings"][name])
    added = {key: recorded[key] for key in ("weights", "tokenization") if key in recorded}
    assert list({**planned, **added}.items()) == list(recorded.items())
    assert EXPECTED["planned"][name]["examples"] == EXPECTED["recordings"][name]["examples"]


@pytest.mark.parametrize("name", commands.COLLECT)
def test_collect_goes_on_with_what_is_recorded(name: str) -> None:
    planned = EXPECTED["planned"][name]  # which it is held against above
    runs = len(EXPECTED["recordings"][name]["runs"])
    assert planned["left"] == (list(range(runs, 7)) if name == commands.INTERRUPTED else [])
    assert not planned["lacking"]


@pytest.mark.parametrize("name", ["plain", "along", "few-runs", "mixture", "kept", "wordless"])
def test_collect_finds_nothing_left_to_do(name: str, workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = path_of(workspace, name).read_bytes()
    house.run(commands.collect(name))
    runs = len(EXPECTED["recordings"][name]["runs"])
    assert f"{runs} runs, 0 of them new" in capsys.readouterr().out
    assert path_of(workspace, name).read_bytes() == before


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("plain", "--lr 1e-2", "--lr 0.001, not --lr 0.01"),
        ("plain", "--seed 7", "--seed 42, not --seed 7"),
        ("lora", "--lora r=4", "--lora r=2,alpha=4,dropout=0.05, not --lora r=4"),
        ("along", "--gradient-points 2", "gradient products at 3 points"),
        ("flipped", "--flip-labels 0.5", "--flip-labels 0.25, not --flip-labels 0.5"),
        ("reserved", "--reserve-pool 5", "--reserve-pool 4, not --reserve-pool 5"),
        ("generated", "--generate-every 1", "--generate-every 2, not no --generate-every"),
        ("few-runs", "--design uniform --subset-size 4", "--design contrast, not --design uniform"),
    ],
)
def test_collect_refuses_what_would_be_another_recording(name: str, more: str, message: str, workspace: Path) -> None:
    with pytest.raises(Exception, match=message):
        house.run(commands.collect(name, more))


@pytest.mark.parametrize("name", commands.IMPORT)
def test_importing_again_gives_the_same_recording(name: str, workspace: Path) -> None:
    folder = Path("again")
    words = commands.import_(name)
    words[words.index("--workspace") + 1] = str(folder)
    house.run(words)
    assert contents.settings_json(path_of(folder, name)) == EXPECTED["settings"][name]
    found, stored = contents.about_recording(path_of(folder, name)), EXPECTED["recordings"][name]
    rounded = {"gradients", "products"}  # matrix products of sketches: other kernels round them otherwise
    assert {key: found[key] for key in found.keys() - rounded} == {key: stored[key] for key in stored.keys() - rounded}


@pytest.mark.parametrize("target", [target for target in commands.EXPORT if not target.endswith(".parquet")])
def test_exports_are_the_same(target: str, workspace: Path) -> None:
    again = Path("exported-again") / Path(target).name
    again.parent.mkdir(exist_ok=True)
    house.run([*commands.on_recording("export", commands.EXPORT[target]), "--to", str(again)])
    files = [Path(target)] if Path(target).is_file() else [one for one in Path(target).rglob("*") if one.is_file()]
    for path in files:
        other = again / path.relative_to(target) if again.is_dir() else again
        if path.name != "gptfl-export.json":  # which names the version
            assert other.read_bytes() == path.read_bytes(), path


@pytest.mark.parametrize("file", EXPECTED["runs"])
def test_runs_beside_a_recording_stay_its_own(file: str, workspace: Path) -> None:
    assert contents.about_run(Path(file)) == EXPECTED["runs"][file]


def test_an_interrupted_recording_counts_the_runs_beside_it(workspace: Path) -> None:
    assert len(EXPECTED["runs"]) == commands.RUNS_DONE - 1
    assert len(EXPECTED["recordings"][commands.INTERRUPTED]["runs"]) == commands.RUNS_DONE


@pytest.mark.parametrize("file", EXPECTED["first scores"])
def test_first_scores_are_found_again(file: str, workspace: Path) -> None:
    assert contents.first_scores(Path(file)) == EXPECTED["first scores"][file]


# --- Features and simulators ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", EXPECTED["features"])
def test_features_keep_their_identity(file: str, workspace: Path) -> None:
    assert contents.about_features(Path(file)) == EXPECTED["features"][file]


@pytest.mark.parametrize("name", commands.FIT)
def test_simulators_keep_their_identity(name: str, workspace: Path) -> None:
    assert contents.about_simulator(Path(FILES[name])) == EXPECTED["simulators"][name]


@pytest.mark.parametrize("name", commands.FIT)
def test_nothing_is_fitted_anew(name: str, workspace: Path) -> None:
    """The key of a fit, told without fitting, is that of the simulator in the archive, which is then taken."""
    fit = house.refit(commands.on_recording("fit", commands.FIT[name]), VERSIONS)
    assert (fit.key, fit.path) == (EXPECTED["simulators"][name]["key"], FILES[name])
    assert fit.reused


@pytest.mark.parametrize("name", commands.questions())
def test_simulators_answer_as_before(name: str, workspace: Path) -> None:
    target, found = house.predicted(commands.on_simulator("simulate", commands.questions()[name], FILES))
    assert target == EXPECTED["predictions"][name]
    stored = contents.stored_predictions(Path(commands.answer(name)))
    more = {f"{side} {level}" for side in ("low", "high") for level in (0.8, 0.95)}
    assert found.keys() - more == stored.keys()
    for key in stored:
        value = found[key]
        if key in ("about", "settings"):
            assert value == stored[key], key
        elif key in ("batches", "steps"):
            np.testing.assert_array_equal(value, stored[key])
        elif key == "notes":  # in which numbers are rounded
            assert len(value) == len(stored[key])
        else:
            np.testing.assert_allclose(value, stored[key], **CLOSE, err_msg=key)


# --- Tables and studies -----------------------------------------------------------------------------------------------


def near(found: Any, stored: Any, place: str = "") -> None:
    """Assert that two JSON values are the same, but that numbers may differ as processors do."""
    if isinstance(stored, dict):
        assert list(found) == list(stored), place
        for key in stored:
            near(found[key], stored[key], f"{place}/{key}")
    elif isinstance(stored, list):
        assert len(found) == len(stored), place
        for number, (one, other) in enumerate(zip(found, stored, strict=True)):
            near(one, other, f"{place}/{number}")
    elif isinstance(stored, float) and isinstance(found, float | int):
        assert found == pytest.approx(stored, rel=1e-3, abs=1e-4), place
    else:
        assert found == stored, place


def test_compare_gives_the_same_table(workspace: Path) -> None:
    name = "along.comparison.json"
    found = house.compared(commands.on_recording("compare", commands.COMPARE[name]), VERSIONS)
    stored = json.loads((workspace / name).read_text(encoding="utf-8"))
    for table in (found, stored):
        del table["figure"]
        for row in table["estimators"]:
            del row["seconds"], row["reused"], row["notes"]
    near(_told_before(json.loads(json.dumps(found)), stored), stored)


@pytest.mark.parametrize("name", [name for name in commands.RANK if name.endswith(".json")])
def test_rank_gives_the_same_influences(name: str, workspace: Path, tmp_path: Path) -> None:
    target = tmp_path / name
    house.run([*commands.on_simulator("rank", commands.RANK[name], FILES), "--output", str(target)])
    made, kept = (json.loads(path.read_text(encoding="utf-8")) for path in (target, workspace / name))
    near(_told_before(made, kept), kept)


def _told_before(found: Any, stored: Any) -> Any:
    """What is found, without what was not told at the time: there may be more to tell by now."""
    if isinstance(stored, dict):
        return {key: _told_before(found[key], stored[key]) for key in stored}
    if isinstance(stored, list) and len(found) == len(stored):
        return [_told_before(*pair) for pair in zip(found, stored, strict=True)]
    return found


@pytest.mark.parametrize("name", commands.SELECT)
def test_select_gives_the_same_ids(name: str, workspace: Path, tmp_path: Path) -> None:
    target = tmp_path / name
    house.run([*commands.on_simulator("select", commands.SELECT[name], FILES), "--output", str(target)])
    assert target.read_text(encoding="utf-8") == (workspace / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("command", commands.STUDIES)
def test_finished_trainings_of_a_study_are_found_again(
    command: str, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A study that chooses anew would train on other subsets: they are chosen as they were then, by effects that stay.
    monkeypatch.setattr("gptfl.estimators.exposure_gp.estimator.faded", lambda recorded, share: recorded)
    options = commands.STUDIES[command]
    weights = json.loads(EXPECTED["settings"][options.partition(".")[0]])["weights"]
    assert house.kept_study([*commands.on_simulator(command, options, FILES), "--device", "cpu"], weights) == []


@pytest.mark.parametrize("name", [*commands.COMPARE, *commands.RANK, *commands.SELECT, *commands.VERIFY])
def test_tables_are_known_as_gptfls_own(name: str, workspace: Path) -> None:
    assert house.is_replaceable(workspace / name)


# --- Everything -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", EXPECTED["inspected"])
def test_inspect_tells_the_same(file: str, workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    house.run(["inspect", "--json", file])
    assert json.loads(capsys.readouterr().out) == EXPECTED["inspected"][file]


def test_the_whole_archive_is_held_against_something() -> None:
    known = {
        *(f"archive/{name}.dynamics.h5" for name in RECORDINGS),
        *EXPECTED["runs"],
        *EXPECTED["features"],
        *FILES.values(),
        *map(commands.answer, commands.questions()),
    }
    assert {str(path.relative_to(HERE)) for path in (HERE / "archive").rglob("*.h5")} == known
    assert sum(path.stat().st_size for path in HERE.rglob("*") if path.is_file()) < 2_000_000


@pytest.mark.parametrize("command", OPTIONS)
def test_commands_have_the_same_options(command: str) -> None:
    found = json.loads(json.dumps(house.options()))
    assert list(found) == list(OPTIONS)
    assert found[command] == OPTIONS[command]
