"""The demo, on a smaller scale."""

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
