import csv
import io
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gptfl as package
from gptfl.cli.rank import next_of
from gptfl.core import Example, MetricInfo
from gptfl.influence.ranking import Ranking, RankResult
from gptfl.plugins.registry import build, using
from gptfl.store.features import write_features
from gptfl.store.recordings import read_dynamics, write_dynamics
from tests import ranking_estimators
from tests.cli.test_errors import refuses
from tests.synthetic import synthetic

DYNAMICS, FEATURES = synthetic(runs=10, pool=14, test=5, subset=6, batch_size=3, steps=8, every=2)


def flip(example: Example) -> Example:
    fields = {"flipped": True, "clean_label": example.label}
    label = 1 - (example.label or 0)
    return replace(example, label=label, target=example.choices[label], fields=fields, digest="")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("flipped")
    pool = tuple(flip(e) if place % 3 == 0 else e for place, e in enumerate(DYNAMICS.pool))
    dynamics = replace(DYNAMICS, pool=pool)
    write_dynamics(root / "made.dynamics.h5", dynamics)
    write_features(root / "made.synthetic.features.h5", replace(FEATURES, examples=dynamics.examples))
    package.fit("class-share", workspace=root)
    package.fit("gptfluence", workspace=root, settings={"epochs": 5})
    return root


@pytest.fixture
def flipped(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "flipped"))


def test_the_table_and_how_early_flips_are_found(gptfl: Callable, flipped: Path) -> None:
    shown = gptfl("rank", "-w", str(flipped), "--top", "3")
    assert shown.code == 0, shown.err
    lines = [line.strip() for line in shown.out.splitlines()]
    assert lines[0] == (
        "Influence of each of 14 training examples on the mean of all 5 test examples, by gptfluence "
        "(--how replace, loss at step 8)"
    )
    head = next(place for place, line in enumerate(lines) if line.split()[:2] == ["rank", "influence"])
    assert lines[head].split() == ["rank", "influence", "id", "class", "flipped", "text"]
    assert [line.split()[0] for line in lines[head + 2 : head + 5]] == ["1", "2", "3"]
    assert "5 of 14 labels are flipped; checking the lowest influence first:" in lines
    random = next(line for line in lines if line.startswith("random order"))
    assert random.split()[2:] == ["0.500", "±0.167", "10%", "20%", "40%"]
    assert f"picture: {flipped / 'made.loss.mean.flips.png'}" in lines
    assert "note: trust in gptfluence: on the" in shown.err
    assert "the 3 of highest influence, of 14 (--top 14 shows all)" in lines
    assert lines[-1] == "next: gptfl relabel-study"
    last = gptfl("rank", "-w", str(flipped), "--top", "1", "--reverse")
    assert "the 1 of lowest influence, of 14 (--top 14 shows all)" in last.out
    assert any(line.startswith("  14") or line.split()[:1] == ["14"] for line in last.out.splitlines())


def test_csv_has_a_row_for_each_estimator_and_example(gptfl: Callable, flipped: Path) -> None:
    both = ("--estimator", "gptfluence", "--estimator", "class-share")
    output = flipped / "table.csv"
    printed = gptfl("rank", "-w", str(flipped), *both, "--csv", "--output", str(output))
    rows = list(csv.DictReader(io.StringIO(printed.out)))
    assert list(rows[0]) == ["estimator", "rank", "id", "influence", "class", "flipped", "text"]
    assert [row["estimator"] for row in rows] == ["gptfluence"] * 14 + ["class-share"] * 14
    values = [float(row["influence"]) for row in rows[:14]]
    assert values == sorted(values, reverse=True)
    assert {row["id"] for row in rows if row["flipped"] == "1"} == {f"train-{place}" for place in range(0, 14, 3)}
    assert {row["class"] for row in rows} == {"class0", "class1"}
    assert output.read_text() == printed.out
    again = gptfl("rank", "-w", str(flipped), *both, "--csv", "--output", str(output), "--top", "2")
    assert len(again.out.splitlines()) == 5


@pytest.fixture
def tellers() -> Iterator[None]:
    with using(build([ranking_estimators])):
        yield


@pytest.mark.usefixtures("tellers")
def test_intervals_of_influence_in_table_csv_and_json(gptfl: Callable, tmp_path: Path) -> None:
    write_dynamics(tmp_path / "made.dynamics.h5", DYNAMICS)
    write_features(tmp_path / "made.synthetic.features.h5", FEATURES)
    for name in ("teller", "bayes"):
        package.fit(name, workspace=tmp_path)
    shown = gptfl("rank", "-w", str(tmp_path), "--top", "2", "--harmful")
    assert shown.code == 0, shown.err
    assert "(--how remove, loss at step 8)" in shown.out
    assert (
        "Positive, for the mean of all 5 test examples: with a row in the pool loss at step 8 is so much" in shown.out
    )
    assert "helpful, 2 harmful" in shown.out
    lines = [line.split() for line in shown.out.splitlines()]
    head = next(place for place, line in enumerate(lines) if line[:2] == ["rank", "influence"])
    assert lines[head][2:5] == ["90%", "interval", "id"]
    assert "verdict" in lines[head]
    rows = [line for line in lines[head + 2 :] if line[2:3] == ["to"] or line[3:4] == ["to"]]
    assert [line[0] for line in rows] == ["14", "13"]
    assert "trust in bayes" in shown.err
    both = ("--estimator", "bayes", "--estimator", "teller")
    rows = list(csv.DictReader(io.StringIO(gptfl("rank", "-w", str(tmp_path), *both, "--csv").out)))
    assert list(rows[0])[3:6] == ["influence", "low", "high"]
    assert all(float(row["low"]) < float(row["influence"]) < float(row["high"]) for row in rows[:14])
    assert {(row["low"], row["high"]) for row in rows[14:]} == {("", "")}
    document = json.loads(gptfl("rank", "-w", str(tmp_path), *both, "--json", "--top", "1").out)
    assert document["rankings"][0]["level"] == 0.9
    assert {"low", "high", "verdict", "wrong_sign"} <= document["rankings"][0]["examples"][0].keys()
    assert set(document["rankings"][0]["verdicts"]) >= {"fdr", "helpful", "harmful", "unclear"}
    assert document["rankings"][0]["meaning"].startswith("Positive, for ")
    assert "level" not in document["rankings"][1]


def test_json_holds_the_curves(gptfl: Callable, flipped: Path) -> None:
    document = json.loads(gptfl("rank", "-w", str(flipped), "--on", "test:test-1", "--how", "drop", "--json").out)
    assert (document["on"], document["rankings"][0]["how"], document["flipped"]) == ("test:test-1", "drop", 5)
    curve = document["detection"]["gptfluence"]
    assert (curve["found"][0], curve["found"][-1], len(curve["found"])) == (0, pytest.approx(1), 15)
    found = np.array(curve["found"])
    raw = ((found[1:] + found[:-1]) / 2).mean()
    assert curve["area"] == pytest.approx(0.5 + (raw - 0.5) / (1 - 5 / 14))
    assert document["figure"].endswith("made.loss.test-test-1.flips.png")


def test_first_scores_are_measured_once_with_the_recordings_model(gptfl: Callable, study: Path) -> None:
    (path,) = study.glob("*.dynamics.h5")
    recorded = read_dynamics(path)
    model = recorded.settings["model"]
    shown = gptfl("rank", "-w", str(study), "--model", str(model))
    assert shown.code == 0, shown.err
    (kept,) = study.glob("*.first-scores.json")
    values = json.loads(kept.read_text())["values"]
    assert list(values) == [example.id for example in recorded.pool]
    stamp = kept.stat().st_mtime_ns
    assert gptfl("rank", "-w", str(study), "--model", "nothing-like-it").code == 0
    assert kept.stat().st_mtime_ns == stamp
    # The recorder's own first measurement of test examples is what measuring them as a pool gives.
    tests = replace(recorded, pool=recorded.test, runs=())
    from gptfl.influence.self_influence import measure_initial_metrics
    from gptfl.plugins.registry import build
    from gptfl.recording.recording import OpenedRecording
    from gptfl.store.workspace import Workspace

    other = OpenedRecording(path, "other", tests, Workspace(study), build([]))
    same = measure_initial_metrics(other, recorded.metrics["loss"], str(model), None, lambda *_: None)
    assert same is not None
    np.testing.assert_allclose(same.values, recorded.runs[0].metrics["loss"][0], rtol=1e-4)


def test_another_model_measures_nothing(gptfl: Callable, study: Path, tmp_path: Path) -> None:
    from tests.models import save_small

    other = save_small(tmp_path / "other", "gpt-neox", blocks=1)
    outcome = gptfl("rank", "-w", str(study), "--model", str(other))
    assert outcome.code == 3
    assert "has other weights (" in outcome.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "code", "pieces"),
    [
        (("--top", "0"), 2, ("--top is 0", "1 or more")),
        (("--how", "foo"), 2, ("--how 'foo' is unknown", "replace, drop, closed-form, derivative")),
        (("--how", "derivative"), 3, ("gptfluence can't tell --how derivative on mean",)),
        (("--on", "test:tset-1"), 3, ("'tset-1' is not an id of the test set", "'test-1'")),
        (("--csv", "--json"), 2, ("--csv and --json", "choose one")),
        (("--output", "out.tex"), 2, ("--output out.tex", ".csv, .parquet or .json")),
        (("--figure", "out.doc"), 2, ("out.doc", ".png")),
        (("--data", "folder", "--model", "tiny"), 2, ("--data folder is not needed",)),
        (("--data", "folder"), 2, ("--data folder", "add --model")),
        (("--model", "tiny"), 3, ("--model tiny", "doesn't say which weights", "leave out --model")),
    ],
)
def test_bad_input_is_one_line(
    gptfl: Callable, flipped: Path, arguments: tuple[str, ...], code: int, pieces: tuple[str, ...]
) -> None:
    refuses(gptfl("rank", "-w", str(flipped), *arguments), code, *pieces)


def test_without_a_simulator_there_is_nothing_to_rank_by(gptfl: Callable, tmp_path: Path) -> None:
    refuses(gptfl("rank", "-w", str(tmp_path)), 3, "no simulator in", "run gptfl fit first")


@pytest.mark.parametrize(
    ("changed", "reverse", "says"),
    [
        ({}, False, "gptfl select --size N"),
        ({}, True, "gptfl verify --drop IDS"),
        ({"signs": {"harm": np.zeros(2)}}, False, "then gptfl apply --drop IDS"),
        ({"imported": True}, True, "gptfl simulate --drop IDS"),
        ({"flipped": np.array([True, False])}, True, "gptfl relabel-study"),
    ],
)
def test_what_comes_next_is_what_the_rows_are_for(changed: dict[str, Any], reverse: bool, says: str) -> None:
    ranking = Ranking("mean-run", "mean-run", "replace", np.zeros(2), None, Path("x"))
    pool = (Example("a", "x", "y"), Example("b", "x", "z"))
    result = RankResult("r", MetricInfo("loss", False), "mean", "the mean", pool, (ranking,), **changed)
    assert says in next_of(result, reverse)
