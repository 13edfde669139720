"""The demo, on a smaller scale."""

import shlex
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from gptfl.api import demo
from tests.cli.conftest import Outcome


def test_the_demo_ends_with_a_table_a_picture_and_what_to_try_next(
    gptfl: Callable[..., Outcome], quick_tiny: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"RUNS": 8, "POOL": 40, "TEST": 8, "SUBSET": 8, "STEPS": 6, "FOLDS": 2}.items():
        monkeypatch.setattr(demo, name, value)
    outcome = gptfl("demo", "--workspace", str(tmp_path / "demo"))
    assert outcome.code == 0, outcome.err
    stages = [line.split()[0] for line in outcome.out.splitlines()[:6]]
    assert stages == ["collect", "featurize", "fit", "simulate", "check", "compare"]
    for estimator in ("persistence", "mean-run", "class-share", "gptfluence"):
        assert estimator in outcome.out
    picture = Path(next(line for line in outcome.out.splitlines()[::-1] if line.startswith("picture: "))[9:])
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "gptfl collect --model pythia-410m --task rte" in outcome.out
    assert (tmp_path / "demo" / "ids.txt").is_file()


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize("named", [False, True])
def test_what_is_told_of_an_interruption_is_the_case(
    gptfl: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: bool, named: bool
) -> None:
    def stop(*given: object, workspace: Path, **more: object) -> None:
        if finished:
            workspace.mkdir(exist_ok=True)
            (workspace / "errands-tiny.dynamics.h5").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "collect", stop)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    outcome = gptfl("demo", *(("--workspace", str(tmp_path / "a b")) if named else ()))
    assert outcome.code == 130
    left = list(tmp_path.iterdir())
    if finished:
        again = f"gptfl demo --workspace {shlex.quote(str(left[0]))} goes on from there"
        assert outcome.err == f"interrupted: finished runs are kept, {again}\n"
    else:
        assert outcome.err == "interrupted: no run was finished, the same command begins anew\n"
        assert left == []
