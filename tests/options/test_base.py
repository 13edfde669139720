"""Options: bounds, groups, what a file says, and how they are typed."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gptfl.errors import UsageError
from gptfl.options.base import check, from_json, keywords, make, places, to_json, typed, value_of
from gptfl.options.common import InputOptions
from gptfl.options.interchange import ImportOptions
from gptfl.options.recording import CollectOptions, DesignOptions, GradientOptions, TrainingOptions
from gptfl.options.simulation import FitOptions, SimulateOptions


def collect(*groups: object, **options: Any) -> CollectOptions:
    return make(CollectOptions, *groups, model="tiny", task="errands", **options)


COUNTS = ("runs", "pool", "per_task", "test", "subset_size", "record_every", "generate_every", "generate_tokens")
COUNTS += ("batch_size", "steps", "max_length", "train_layers", "accumulate", "processes", "sketch_dimensions")


@pytest.mark.parametrize("name", COUNTS)
def test_a_count_below_one_is_refused(name: str) -> None:
    check(collect(**{name: 1}))
    flag = f"--{name.replace('_', '-')}"
    with pytest.raises(UsageError, match=f"^{flag} is 0: give at least 1$"):
        check(collect(**{name: 0}))


def test_other_bounds() -> None:
    check(collect(repeats=0, lr=1e-9))
    with pytest.raises(UsageError, match=r"^--repeats is -1: give 0 or more$"):
        check(collect(repeats=-1))
    for rate in (0.0, -1.0, float("nan"), float("inf"), 1e30):
        with pytest.raises(
            UsageError, match=f"^--lr is {re.escape(str(rate))}: give a positive number, at most 1e.09$"
        ):
            check(collect(lr=rate))


def test_a_name_that_is_no_option_is_a_type_error_with_the_nearest() -> None:
    with pytest.raises(TypeError, match="collect has no option 'subset_sise': did you mean 'subset_size'"):
        collect(subset_sise=3)
    with pytest.raises(TypeError, match="collect needs 'model'"):
        make(CollectOptions, task="errands")
    with pytest.raises(TypeError, match="collect takes no InputOptions"):
        collect(InputOptions())


def test_groups_are_given_by_place_or_by_name_and_single_options_go_before() -> None:
    training = TrainingOptions(lr=1e-3, batch_size=2)
    found = collect(training, design=DesignOptions(runs=3), lr=1e-4)
    assert (found.training.lr, found.training.batch_size, found.design.runs) == (1e-4, 2, 3)
    assert collect(gradients="own").gradients == GradientOptions(gradients="own")
    assert collect(metrics=["loss", "accuracy"]).examples.metrics == ("loss", "accuracy")


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


def test_functions_get_no_option_of_the_command_line_alone() -> None:
    made = make(SimulateOptions, subset="ids.txt", as_json=True)
    assert "as_json" not in keywords(made)
    assert keywords(made)["subset"] == "ids.txt"
    assert [value_of(made, place) for place in places(SimulateOptions) if place.name == "as_json"] == [True]


def test_options_load_nothing_that_takes_long() -> None:
    code = "import sys\nfrom gptfl.options import evaluation, influence, interchange, recording, simulation\n"
    code += "print(sorted({'typer', 'click', 'rich', 'numpy', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
