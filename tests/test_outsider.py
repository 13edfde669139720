"""Someone else's distribution is installed the ordinary way and used through the command line."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gptfl import testing
from gptfl.plugins.registry import build
from gptfl.store.recordings import write_dynamics
from gptfl.store.workspace import Workspace
from tests import zygote

SOURCE = Path(__file__).parent / "outsider"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that pip has installed the outsider's distribution into."""
    # A copy, because a build leaves its folders beside the source.
    copy, target = tmp_path_factory.mktemp("source") / "acme", tmp_path_factory.mktemp("site")
    shutil.copytree(SOURCE, copy)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", "--target", str(target), str(copy)], check=True)
    return target


@pytest.fixture
def acme(installed: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The outsider's package, importable in this process for one test."""
    monkeypatch.syspath_prepend(installed)
    yield
    for name in [name for name in sys.modules if name.startswith("acme_gptfl")]:
        del sys.modules[name]


def gptfl(installed: Path, *arguments: str) -> str:
    """What the command line prints with the outsider's distribution installed.

    What lists the parts is a new interpreter, and what computes with them a copy of one that has loaded torch.
    """
    paths = [str(installed), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "gptfl", *arguments]
    if arguments[0] == "plugins":
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    else:
        done = zygote.run(command, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def listing(installed: Path) -> Any:
    return json.loads(gptfl(installed, "plugins", "--json"))


def test_its_parts_are_listed_with_their_provider(installed: Path) -> None:
    found = listing(installed)
    acme = {(part["kind"], part["name"]) for part in found["parts"] if part["provider"] == "acme-gptfl 3.2"}
    assert acme == {("encoder", "letter-pairs"), ("estimator", "alike-runs")}
    assert found["problems"] == []


def test_its_parts_keep_their_promises(acme: None) -> None:
    from acme_gptfl.encoders import LetterPairs
    from acme_gptfl.estimators import AlikeRuns

    testing.check_encoder(LetterPairs, width=8)
    testing.check_estimator(AlikeRuns, sharpness=2.0)


@pytest.mark.usefixtures("copied")
def test_it_is_used_through_the_command_line(installed: Path, tmp_path: Path) -> None:
    dynamics = testing.make_dynamics(runs=20)
    write_dynamics(Workspace.resolve(tmp_path).dynamics_path("synthetic"), dynamics)
    where = ("--workspace", str(tmp_path))
    gptfl(installed, "featurize", "--encoder", "letter-pairs", "--set", "width=16", *where)
    gptfl(installed, "fit", "--estimator", "alike-runs", *where)
    names = ("alike-runs", "simfluence-linear")
    chosen = [item for name in names for item in ("--estimator", name)]
    table = json.loads(gptfl(installed, "compare", *chosen, "--json", *where))
    rows = {row["estimator"]: row for row in table["estimators"]}
    assert {"persistence", "mean-run", *names} <= set(rows)
    assert rows["alike-runs"]["error"] is None
    assert rows["alike-runs"]["reused"]
    assert rows["alike-runs"]["scores"]["mse"]["value"] < rows["persistence"]["scores"]["mse"]["value"]


def test_a_broken_neighbour_does_not_take_it_down(installed: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    shutil.copytree(installed, site)
    for name, code in {"raiser": "raise OSError('no such device')", "lister": LISTER, "thief": THIEF}.items():
        (site / f"{name}.py").write_text(code, encoding="utf-8")
        info = site / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(f"[gptfl]\n{name} = {name}\n", encoding="utf-8")
    found = listing(site)
    assert {problem["provider"]: problem["reason"] for problem in found["problems"]} == {
        "raiser 1.0": "can't be loaded: OSError: no such device",
        "lister 1.0": "gptfl_metrics returned list, not a mapping of names to factories",
        "thief 1.0": "estimator 'mean-run' is gptfl's own name: skipped",
        "acme-gptfl 3.2 and thief 1.0": "all claim estimator 'alike-runs': it can't be used until one is left",
    }
    usable = {part["name"]: part["provider"] for part in found["parts"] if part["usable"]}
    assert usable["letter-pairs"] == "acme-gptfl 3.2"
    assert usable["mean-run"] == "gptfl"
    assert "alike-runs" not in usable


LISTER = """
from gptfl.plugins.hooks import hookimpl

@hookimpl
def gptfl_metrics():
    return ["bleu"]
"""
THIEF = """
from gptfl.plugins.hooks import hookimpl

@hookimpl
def gptfl_estimators():
    return {"mean-run": dict, "alike-runs": dict}
"""


def test_nothing_of_it_is_left_without_its_distribution() -> None:
    assert "alike-runs" not in build([]).names("estimator")
