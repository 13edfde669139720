import json
from collections.abc import Callable
from pathlib import Path

import pytest

import gptfl as package
from gptfl.store.features import write_features
from gptfl.store.recordings import write_dynamics
from tests.cli.test_errors import refuses
from tests.synthetic import synthetic

DYNAMICS, FEATURES = synthetic(runs=10)


def test_held_out_runs_show_what_was_recorded(gptfl: Callable, tmp_path: Path) -> None:
    write_dynamics(tmp_path / "made.dynamics.h5", DYNAMICS)
    write_features(tmp_path / "made.synthetic.features.h5", FEATURES)
    package.fit("gptfluence", workspace=tmp_path, settings={"epochs": 5})
    shown = gptfl("simulate", "--workspace", str(tmp_path))
    assert shown.code == 0, shown.err
    head = next(line for line in shown.out.splitlines() if "test example " in line and "change" in line)
    assert head.split()[-4:] == ["recorded", "against", "change", "text"]
    assert "has skill" in shown.out
    document = json.loads(gptfl("simulate", "--workspace", str(tmp_path), "--json").out)
    assert isinstance(document["recorded"], float)
    assert isinstance(document["skill"], float)
    assert all(isinstance(row["recorded"], float) for row in document["test"])
    ids = tmp_path / "ids.txt"
    ids.write_text("\n".join(example.id for example in DYNAMICS.pool[:4]))
    result = gptfl("simulate", "--subset", str(ids), "--steps", "5", "--workspace", str(tmp_path), "--json")
    document = json.loads(result.out)
    assert (document["recorded"], document["step"], document["against_step"]) == (None, 5, 5)
    assert "trust: on the" in result.err


def test_a_drop_shows_the_interval_of_its_change(gptfl: Callable, tmp_path: Path) -> None:
    write_dynamics(tmp_path / "made.dynamics.h5", DYNAMICS)
    write_features(tmp_path / "made.synthetic.features.h5", FEATURES)
    package.fit("exposure-gp", workspace=tmp_path)
    (tmp_path / "ids.txt").write_text("\n".join(example.id for example in DYNAMICS.pool[:3]))
    call = ("simulate", "--drop", str(tmp_path / "ids.txt"), "--workspace", str(tmp_path))
    shown = gptfl(*call)
    assert shown.code == 0, shown.err
    document = json.loads(gptfl(*call, "--json").out)
    low, high = document["change_intervals"]["0.9"]
    line = next(line for line in shown.out.splitlines() if line.split()[:1] == ["change"])
    assert f"{document['change']:+.3g} [{low:+.3g}, {high:+.3g}] (" in line
    assert "the whole pool" in shown.out
    assert "mean over all orders" in shown.out


def subsets(folder: Path, *sizes: int) -> list[str]:
    """Files of the first so many ids, as options."""
    words = []
    for size in sizes:
        path = folder / f"{size}.txt"
        path.write_text("\n".join(example.id for example in DYNAMICS.pool[:size]))
        words += ["--subset", str(path)]
    return words


def test_several_subsets_are_predicted_in_one_pass(gptfl: Callable, plain_fit: Path, tmp_path: Path) -> None:
    command = ("simulate", "--workspace", str(plain_fit), *subsets(tmp_path, 4, 6))
    before = {path.name for path in plain_fit.iterdir()}
    shown = gptfl(*command)
    assert shown.code == 0, shown.err
    assert [line for line in shown.out.splitlines() if str(tmp_path / "6.txt") in line]
    assert shown.out.rstrip().splitlines()[-1].startswith("next: gptfl verify --subset")
    assert {path.name for path in plain_fit.iterdir()} == before
    document = json.loads(gptfl(*command, "--json").out)
    assert [row["examples"] for row in document["subsets"]] == [4, 6]
    alone = json.loads(gptfl(*command[:3], *subsets(tmp_path, 6), "--no-picture", "--json").out)
    assert document["subsets"][1]["predicted"] == pytest.approx(alone["predicted"], rel=1e-6)
    assert alone["picture"] is None


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (("--against", "a.txt"), "--against goes with one --subset, and 2 are given: ask about one"),
        (("--figure", "a.png"), "--figure goes with one --subset, and 2 are given: ask about one"),
    ],
)
def test_what_goes_with_one_subset_is_refused(
    gptfl: Callable, plain_fit: Path, tmp_path: Path, more: tuple[str, ...], line: str
) -> None:
    refuses(gptfl("simulate", "--workspace", str(plain_fit), *subsets(tmp_path, 4, 6), *more), 2, f"error: {line}")


def test_a_picture_and_none_are_refused(gptfl: Callable, plain_fit: Path) -> None:
    outcome = gptfl("simulate", "--workspace", str(plain_fit), "--figure", "a.png", "--no-picture")
    refuses(outcome, 2, "error: --figure a.png and --no-picture were given together: choose one")
