"""The demo, on a smaller scale."""

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from gptfl.api import demo
from tests.cli.conftest import Outcome


@pytest.mark.usefixtures("laid_out")
def test_the_demo_ends_with_a_verdict_a_ranking_a_picture_and_what_to_try_next(
    gptfl: Callable[..., Outcome], quick_tiny: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = gptfl("demo", "--pool", "48", "--test", "6", "--runs", "4")
    assert outcome.code == 0, outcome.err
    stages = [line.split()[0] for line in outcome.out.splitlines()[:7]]
    assert stages == ["collect", "featurize", "fit", "compare", "verify", "rank", "report"]
    for said in (
        "persistence",
        "mean-run",
        "class-share",
        "exposure-gp",
        "Trained on 8 examples",
        "Influence of each of 48",
    ):
        assert said in outcome.out
    verdict = next(line for line in outcome.out.splitlines() if line.startswith("Verdict: "))
    assert "from 4 recorded runs exposure-gp predicts held-out ones with" in verdict
    assert "without any example about a price it predicted a mean loss of" in verdict
    picture = Path(next(line for line in outcome.out.splitlines() if line.startswith("picture: "))[9:])
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "gptfl collect --model pythia-410m --task rte" in outcome.out
    assert (tmp_path / "gptfl-demo" / "ids.txt").is_file()
    assert "Verified: 8 examples" in (tmp_path / "gptfl-demo" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize("named", [False, True])
def test_what_is_reported_of_an_interruption_is_the_case(
    gptfl: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: bool, named: bool
) -> None:
    def stop(*given: object, workspace: Path, **more: object) -> None:
        if finished:
            workspace.mkdir(exist_ok=True)
            (workspace / "errands-tiny.dynamics.h5").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "collect", stop)
    monkeypatch.chdir(tmp_path)
    outcome = gptfl("demo", *(("--workspace", str(tmp_path / "a b")) if named else ()))
    assert outcome.code == 130
    left = list(tmp_path.iterdir())
    if finished:
        again = f"gptfl demo --workspace {shlex.quote(str(left[0]) if named else 'gptfl-demo')} goes on from there"
        assert outcome.err == f"interrupted: finished runs are kept, {again}\n"
    else:
        assert outcome.err == "interrupted: no run was finished, the same command begins anew\n"
        assert left == []
