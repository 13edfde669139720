import json
from collections.abc import Callable
from pathlib import Path

from gptfl.store.recordings import read_dynamics


def test_verify_says_what_it_takes_and_what_it_came_to(gptfl: Callable, sure_study: Path) -> None:
    call = ("verify", "--subset", str(sure_study / "ids.txt"), "--estimator", "sure", "--workspace", str(sure_study))
    dry = gptfl(*call, "--dry-run")
    assert dry.code == 0, dry.err
    assert "time" in dry.out
    assert "Nothing was trained (--dry-run)." in dry.out
    shown = gptfl(*call)
    assert shown.code == 0, shown.err
    assert shown.out.index("Plan") < shown.out.index("Trained on 5 examples (1 training")
    for text in ("1 training of 4 steps of 3", "MSE", "final ρ", "skill", "inside 90 %", "changed most", "missed most"):
        assert text in shown.out
    assert shown.out.splitlines()[-1] == "next: gptfl rank"
    document = json.loads(gptfl(*call, "--json").out)
    assert len(document["runs"][0]["recorded"]) == len(document["steps"])
    kept = json.loads(next(sure_study.glob("*.verified.json")).read_text())
    assert kept["runs"] == document["runs"]


def test_verify_says_whether_a_difference_is_clear_of_noise(gptfl: Callable, sure_study: Path) -> None:
    call = ("verify", "--drop", str(sure_study / "ids.txt"), "--estimator", "sure", "--workspace", str(sure_study))
    shown = gptfl(*call, "--orders", "2", "--no-picture")
    assert shown.code == 0, shown.err
    assert "4 trainings of 4 steps of 3" in shown.out
    assert "the whole pool" in shown.out
    line = next(line for line in shown.out.splitlines() if "recorded change" in line)
    assert "standard error" in line
    assert "2 pairs: " in line
    assert "clear of noise" in line
    assert any(line.split()[:2] == ["predicted", "change"] for line in shown.out.splitlines())
    one = gptfl(*call, "--orders", "1", "--no-picture")
    assert "1 pair: how much of it is noise isn't known (--orders)" in one.out
    document = json.loads(gptfl(*call, "--orders", "1", "--no-picture", "--json").out)
    assert (document["paired"]["standard_error"], document["paired"]["verdict"]) == (None, "one pair")


def test_verify_refuses_in_one_line(gptfl: Callable, sure_study: Path) -> None:
    refused = gptfl("verify", "--workspace", str(sure_study))
    assert refused.code == 2
    assert refused.err.count("\n") == 1
    assert "nothing says what to train on: give --subset, --drop or --curriculum" in refused.err
    (sure_study / "ids.txt").write_text("nobody\n")
    refused = gptfl("verify", "--subset", str(sure_study / "ids.txt"), "--workspace", str(sure_study))
    assert refused.code == 3
    assert "ids.txt, line 1: 'nobody' is not an id of the pool" in refused.err


def test_simulate_shows_intervals_and_goes_on_from_scores(gptfl: Callable, sure_study: Path) -> None:
    ids, workspace = str(sure_study / "ids.txt"), str(sure_study)
    (recording,) = sure_study.glob("*.dynamics.h5")
    test = read_dynamics(recording).test[0].id
    observed = sure_study / "observed.jsonl"
    observed.write_text(json.dumps({"step": 1, "id": test, "value": 2.5}))
    call = ("simulate", "--subset", ids, "--estimator", "sure", "--workspace", workspace)
    shown = gptfl(*call)
    assert shown.code == 0, shown.err
    assert "90% interval" in shown.out
    assert shown.out.splitlines()[-1] == f"next: gptfl verify --subset {ids}"
    changed = gptfl(*call, "--orders", "2", "--lr", "0.02", "--steps", "3").out.splitlines()[-1]
    assert changed == f"next: gptfl verify --subset {ids} --orders 2 --steps 3 --lr 0.02"
    document = json.loads(gptfl(*call, "--observe", str(observed), "--json").out)
    assert document["novelty"] == [0.25]
    low, high = document["test"][0]["intervals"]["0.9"]
    assert low < document["test"][0]["predicted"] < high
    observed.write_text("{}")
    refused = gptfl(*call, "--observe", str(observed))
    assert refused.code == 3
    assert 'observed.jsonl, line 1: "step" is missing, no whole number' in refused.err
