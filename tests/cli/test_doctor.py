"""The whole road on chats with planted wrong answers, and on a small random model."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from gptfl.api.doctor import DoctorResult
from gptfl.api.doctor_plan import DoctorPlan
from gptfl.options.doctor import DoctorOptions
from tests.cli.conftest import Outcome
from tests.planted import plant


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with 32 chats to train on, five of them wrong, eight to test on, and a model."""
    monkeypatch.chdir(tmp_path)
    plant(tmp_path)
    monkeypatch.setattr("gptfl.api.doctor_recording.plan_for", lambda *_: DoctorPlan(8, 2, 1.0, 1.0))
    monkeypatch.setattr("gptfl.api.doctor_recording.replanned", lambda *_: DoctorPlan(9, 2, 2.0, 1.0, measured=True))
    return tmp_path


CALL = (
    *("doctor", "train.jsonl", "eval.jsonl", "--model", "chatty", "--workspace", "w", "--device", "cpu"),
    *("--lr", "3e-2", "--steps", "12", "--record-every", "4"),
)


def test_a_dry_run_says_what_would_be_done(gptfl: Callable[..., Outcome], rows: Path) -> None:
    shown = gptfl(*CALL, "--dry-run")
    assert shown.code == 0, shown.err
    assert "8 runs of about 1 s, then 2 pairs of trainings" in shown.out
    assert shown.out.splitlines()[-1] == "Nothing was recorded (--dry-run)."
    assert not (rows / "w").exists()


def test_the_whole_road_leads_to_a_verified_patch_and_goes_on_from_there(
    gptfl: Callable[..., Outcome], rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gptfl.api.doctor.score_of", lambda *_: (0.5, 0.2, 0.7))
    # Of so few runs nothing need be known to harm: the rows are those that the ranking puts last.
    monkeypatch.setattr("gptfl.api.doctor.patch_places", lambda ranked, *_: ranked.rankings[0].order[::-1][:3])
    before = (rows / "train.jsonl").read_bytes()
    shown = gptfl(*CALL)
    assert shown.code == 0, shown.err
    stages = [line.split()[0] for line in shown.out.splitlines()]
    assert stages[:11] == [
        "look",
        "plan",
        "plan",
        "collect",
        "featurize",
        "fit",
        "compare",
        "rank",
        "verify",
        "apply",
        "report",
    ]
    changed, collected = shown.out.splitlines()[2:4]
    assert changed.endswith("   runs take about 2 s, not 1 s: 9 runs, 2 pairs")
    # The ninth is added to the eight.
    assert collected.endswith("9 runs, 9 of them new")
    document = json.loads(Path("w/doctor.json").read_text())
    assert (document["runs"], document["plan"]["runs"]) == (9, 9)
    assert shown.out.splitlines()[-1] == document["verdict"]
    assert "in 2 pairs of trainings (predicted " in document["verdict"]
    assert len(document["patch"]) == 3
    assert document["paired"]["against"] == "without-3-random.txt (29 examples)"
    without = Path("w/without-patch.txt").read_text().split()
    assert sorted([*without, *document["patch"]]) == [f"chat-{one:02}" for one in range(32)]
    assert '"without-patch"' in Path("w/report.html").read_text()
    assert (rows / "train.jsonl").read_bytes() == before
    folder = Path(document["applied"])
    kept = (folder / "kept.jsonl").read_bytes().splitlines(keepends=True)
    gone = [line for line in before.splitlines(keepends=True) if json.loads(line)["id"] in document["patch"]]
    assert sorted(kept + gone) == sorted(before.splitlines(keepends=True))
    left_out = [json.loads(line) for line in (folder / "dropped.jsonl").read_text().splitlines()]
    assert {one["id"] for one in left_out} == set(document["patch"])
    assert all("suspicion" in one["reason"] for one in left_out)
    assert (folder / "summary.md").is_file()
    # The same call again trains nothing, and says the same.
    monkeypatch.setattr("gptfl.training.trainer.RecordingTrainer.run", lambda *_: pytest.fail("trained again"))
    for name in ("plan_for", "replanned"):
        monkeypatch.setattr(f"gptfl.api.doctor_recording.{name}", lambda *_: pytest.fail("planned again"))
    again = json.loads(gptfl(*CALL, "--json").out)
    assert again["verdict"] == document["verdict"]
    assert again["patch"] == document["patch"]


def test_each_stage_is_on_a_pipe_before_the_next_begins(
    gptfl: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe, seen = io.BytesIO(), list[str]()
    # As Python opens a pipe: what is printed waits in a buffer.
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BufferedWriter(cast(io.RawIOBase, pipe)), encoding="utf-8"))

    def walk(options: DoctorOptions, *, progress: object, announce: Callable[[str, str, float], None]) -> DoctorResult:
        for stage in ("look", "plan"):
            announce(stage, "so", 2.0)
            seen.append(pipe.getvalue().decode())
        return DoctorResult("Done.", DoctorPlan(8, 2, 1.0, 1.0), Path("w"))

    monkeypatch.setattr("gptfl.api.doctor.doctor_with", walk)
    assert gptfl(*CALL).code == 0
    assert [text.split()[-4] for text in seen] == ["look", "plan"]


def test_what_cannot_be_done_is_refused_in_one_line(gptfl: Callable[..., Outcome], rows: Path) -> None:
    for words, code, said in (
        (("--budget", "soon"), 2, "--budget is 'soon': give a time such as 90s, 20m or 2h"),
        (("--budget", "0s"), 2, "--budget is '0s'"),
        (("--fdr", "2"), 2, "give a share between 0 and 1"),
    ):
        refused = gptfl(*CALL, *words)
        assert (refused.code, refused.err.count("\n")) == (code, 1), refused.err
        assert said in refused.err
    (rows / "train.jsonl").unlink()
    refused = gptfl(*CALL)
    assert refused.code == 3
    assert "train.jsonl" in refused.err
