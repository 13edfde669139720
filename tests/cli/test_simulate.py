import json
from collections.abc import Callable
from pathlib import Path

import gptfl as package
from gptfl.store.features import write_features
from gptfl.store.recordings import write_dynamics
from tests.synthetic import synthetic

DYNAMICS, FEATURES = synthetic(runs=10)


def test_held_out_runs_show_what_was_recorded(gptfl: Callable, tmp_path: Path) -> None:
    write_dynamics(tmp_path / "made.dynamics.h5", DYNAMICS)
    write_features(tmp_path / "made.synthetic.features.h5", FEATURES)
    package.fit("gptfluence", workspace=tmp_path, settings={"epochs": 5})
    shown = gptfl("simulate", "--workspace", str(tmp_path))
    assert shown.code == 0, shown.err
    head = next(line for line in shown.out.splitlines() if "test example " in line and "change" in line)
    assert head.split()[-3:] == ["recorded", "against", "change"]
    assert "has skill" in shown.out
    told = json.loads(gptfl("simulate", "--workspace", str(tmp_path), "--json").out)
    assert isinstance(told["recorded"], float)
    assert isinstance(told["skill"], float)
    assert all(isinstance(row["recorded"], float) for row in told["test"])
    ids = tmp_path / "ids.txt"
    ids.write_text("\n".join(example.id for example in DYNAMICS.pool[:4]))
    asked = gptfl("simulate", "--subset", str(ids), "--steps", "5", "--workspace", str(tmp_path), "--json")
    told = json.loads(asked.out)
    assert (told["recorded"], told["step"], told["against_step"]) == (None, 5, 5)
    assert "trust: on the" in asked.err
