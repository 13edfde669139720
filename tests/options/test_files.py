"""Options as a file has them, and as they are typed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gptfl.errors import UsageError
from gptfl.options.base import make, places
from gptfl.options.files import from_json, read_values, to_json, typed
from gptfl.options.interchange import ImportOptions
from gptfl.options.recording import CollectOptions
from gptfl.options.simulation import FitOptions, SimulateOptions


def collect(**options: Any) -> CollectOptions:
    return make(CollectOptions, model="tiny", task="errands", **options)


def test_options_come_back_from_json() -> None:
    made = collect(
        runs=np.int64(6),
        lr=np.float64(5e-7),
        data="some/../folder/",
        metrics=("loss", "bleu"),
        texts=False,
        checkpoints=2,
    )
    given = json.loads(json.dumps(to_json(made)))
    assert given["data"] == "some/../folder/"  # as it was written, not as a path would have it
    assert given["metric"] == ["loss", "bleu"]
    assert from_json(CollectOptions, given, "x") == made
    assert to_json(collect(), changed=True) == {"model": "tiny", "task": "errands"}
    assert from_json(CollectOptions, to_json(collect(metrics=())), "x").examples.metrics == ()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rums": 6}, "f.toml has the key 'rums', which is no option: did you mean 'runs'"),
        ({"subset_sise": 6}, "which is no option: did you mean 'subset-size'"),
        ({"runs": "many"}, "f.toml: runs is 'many': give a whole number"),
        ({"runs": True}, "f.toml: runs is True: give a whole number"),
        ({"runs": 1.5}, "f.toml: runs is 1.5: give a whole number"),
        ({"lr": "fast"}, "f.toml: lr is 'fast': give a number"),
        ({"few-runs": 1}, "f.toml: few-runs is 1: give true or false"),
        ({"name": 3}, "f.toml: name is 3: give a text"),
        ({"data": 3}, "f.toml: data is 3: give a text"),
        ({"checkpoints": 0.5}, "f.toml: checkpoints is 0.5: give a text or a whole number"),
        ({"metric": ["loss", 3]}, "f.toml: metric is 3: give a text"),
        ({"metric": "loss", "metrics": "loss"}, "f.toml gives 'metric' twice"),
    ],
)
def test_what_a_file_says_wrongly_is_named_with_the_file(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        from_json(CollectOptions, {"model": "tiny", "task": "errands", **given}, "f.toml")


def test_hyphens_underscores_and_names_of_python_are_keys() -> None:
    for key in ("subset-size", "subset_size"):
        found = from_json(CollectOptions, {"model": "tiny", "task": "errands", key: 3, "lr": 1}, "x")
        assert (found.design.subset_size, found.training.lr) == (3, 1)
    assert from_json(FitOptions, {"set": ["order=2"]}, "x") == from_json(FitOptions, {"settings": "order=2"}, "x")
    with pytest.raises(UsageError, match="x lacks 'model': add it"):
        from_json(CollectOptions, {"task": "errands"}, "x")


def test_only_what_differs_is_typed() -> None:
    assert typed(collect()) == ["--model", "tiny", "--task", "errands"]
    changed = collect(
        few_runs=True, texts=False, instructions=False, lr=5e-7, metrics=("loss", "bleu"), data=Path("a b")
    )
    assert typed(changed)[4:] == [
        *("--data", "a b", "--no-instructions", "--metric", "loss", "--metric", "bleu"),
        *("--few-runs", "--lr", "5e-07", "--no-texts"),
    ]
    made = make(ImportOptions, layout="gptdynamics", folder="runs", lr=1.0)
    assert typed(made) == ["gptdynamics", "runs", "--lr", "1.0"]


def test_what_python_alone_takes_is_refused_in_a_file() -> None:
    for key, value in (("figure", True), ("subset", [["a", "b"]]), ("subset", [True])):
        with pytest.raises(UsageError, match=f"^f.toml: {key} is .*: give a text$"):
            read_values(places(SimulateOptions), {key: value}, "f.toml")


def test_a_key_that_a_command_lacks_is_said_to_be_none_of_its() -> None:
    with pytest.raises(UsageError, match=r"^f.toml has the key 'orders', which is no option of gptfl fit: "):
        read_values(places(FitOptions), {"orders": 3}, "f.toml", "gptfl fit")
