import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import gptfl as package
from gptfl.plugins.registry import build, using
from gptfl.store.recordings import read_dynamics
from tests import interval_estimator


@pytest.fixture
def sure_study(study: Path) -> Iterator[Path]:
    (recording,) = study.glob("*.dynamics.h5")
    ids = [example.id for example in read_dynamics(recording).pool[:5]]
    (study / "ids.txt").write_text("\n".join(ids))
    with using(build([interval_estimator])):
        package.fit("sure", dynamics=recording, metric="loss")
        yield study


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


def test_compare_shows_calibration_and_what_was_observed(gptfl: Callable, sure_study: Path) -> None:
    call = ("compare", "--estimator", "sure", "--metric", "loss", "--workspace", str(sure_study))
    shown = gptfl(*call, "--observe", "1", "--folds", "2")
    assert shown.code == 0, shown.err
    assert "Predictive intervals" in shown.out
    assert "mean-run ‡" in shown.out
    assert shown.out.splitlines()[-1].startswith("next: gptfl simulate --subset ids.txt")
    refused = gptfl(*call, "--observe", "40")
    assert refused.code == 2
    assert (
        "--observe 40: no held-out run has more than 4 recorded scores after its first: give at most 3" in refused.err
    )
    refused = gptfl(*call, "--observe", "1", "--sweep", "every=1,2")
    assert refused.code == 2
    assert "--observe does not go with --sweep" in refused.err
    refused = gptfl(*call, "--against-estimator", "nobody")
    assert refused.code == 2
    assert "--against-estimator 'nobody' is not compared" in refused.err
