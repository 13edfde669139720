"""The command that a file says made it: given again, it goes on with the same recording."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gptfl
from gptfl.cli.main import run
from gptfl.core import Features, FeatureSet
from gptfl.errors import DataError
from gptfl.options.base import make
from gptfl.options.recording import CollectOptions
from gptfl.plugins.registry import build, get_registry
from gptfl.recording.collect import record
from gptfl.recording.command import MadeBy, command_of
from gptfl.store.features import read_features, write_features
from gptfl.store.recordings import write_dynamics
from tests.synthetic import synthetic

SMALL = {"pool": 12, "test": 4, "steps": 3}
WRITING = {"task": "jsonl", "data": "texts", "metrics": ("loss", "bleu"), "lr": 1e-3}


class _Reached(Exception):
    pass


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What would have been recorded, in place of recording it."""
    found: list[Any] = []

    def reached(job: Any, *_: Any) -> None:
        found.append(job)
        raise _Reached

    monkeypatch.setattr("gptfl.recording.collect.execute_job", reached)
    return found


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"few_runs": True},
        {"few_runs": True, "sketch_points": 2, "sketch_dimensions": 8, "sketch_modules": "*mlp*"},
        {**SMALL, "subset_size": 5, "lr": 3e-4, "schedule": "constant", "seed": 7, "record_every": 2, "texts": False},
        {**SMALL, "subset_size": 6, "lora": "r=2,alpha=4", "train_layers": 1, "accumulate": 2, "max_length": 64},
        {**SMALL, "subset_size": 6, "design": "leave-out", "runs": 4, "leave_out_size": 2, "name": "other"},
        {**SMALL, "subset_size": 5, "design": "balanced", "runs": 4, "reserve_pool": 5},
        {**SMALL, "design": "contrast", "metrics": ("loss", "accuracy"), "instructions": True, "flip_labels": 0.25},
        {**SMALL, **WRITING, "generate_every": 2, "generate_tokens": 5, "decode": "nucleus"},
        {**SMALL, "subset_size": 6, "gradients": "both", "epochs": 2, "steps": None},
        {
            **SMALL,
            "subset_size": 6,
            "schedule": "cosine",
            "warmup": 2,
            "clip_norm": 0.5,
            "beta2": 0.95,
            "eps": 1e-8,
            "weight_decay": 0.1,
            "decay": "weights",
            "loss_mean": "tokens",
            "dropout": False,
        },
        {**SMALL, "subset_size": 6, "warmup": 0.25, "optimiser": "sgd", "momentum": 0.9},
        {**SMALL, "design": "groups", "by": "clusters:3", "runs": 4},
        {**SMALL, "subset_size": 6, "schedule": "polynomial", "optimiser": "muon"},
    ],
)
def test_a_recording_is_gone_on_with_by_its_command(
    options: dict[str, Any], jobs: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for side in ("train", "test"):
        lines = [json.dumps({"prompt": f"say {side} {number}", "target": f" {number}"}) for number in range(12)]
        Path("texts").mkdir(exist_ok=True)
        Path("texts", f"{side}.jsonl").write_text("\n".join(lines))
    collect_options = make(
        CollectOptions, **{"model": "tiny", "task": "errands", "workspace": tmp_path / "a space", **options}
    )
    with pytest.raises(_Reached):
        record(collect_options)
    first = jobs[0]
    write_dynamics(first.path, first.dynamics(()))
    monkeypatch.setattr(sys, "argv", ["gptfl", *command_of(first.path, build([])).words])
    with pytest.raises(_Reached):
        run()
    again = jobs[1]
    assert (again.path, again.settings) == (first.path, first.settings)
    assert again.mark() == first.mark()
    again.left()  # refuses what the recording doesn't fit


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, ""),
        ({"subset_size": 8, "batch_size": 2}, "--subset-size 8 --batch-size 2"),
        ({"lora": "r=2,dropout=0.1"}, "--lora r=2,dropout=0.1"),
        ({"lr": 1e-3, "device": "cpu", "precision": "fp32", "epochs": 3}, ""),
        ({"design": "leave-out", "leave_out_size": 2}, "--design leave-out --leave-out-size 2"),
        ({"design": "groups", "by": "kind"}, "--design groups --by kind"),
        ({"precision": "bf16", "lr": 2e-3}, "--lr 0.002 --precision bf16"),
        ({"warmup": 0.0, "optimiser": "sgd", "momentum": 0.0}, "--optimiser sgd"),
        ({"warmup": 8, "optimiser": "muon", "momentum": 0.9}, "--warmup 8 --optimiser muon --momentum 0.9"),
    ],
)
def test_what_is_as_it_would_be_anyway_is_not_typed(
    options: dict[str, Any], words: str, jobs: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(_Reached):
        record(make(CollectOptions, model="tiny", task="errands", **options))
    write_dynamics(jobs[0].path, jobs[0].dynamics(()))
    assert " ".join(command_of(jobs[0].path, build([])).words) == f"collect --model tiny --task errands {words}".strip()


def test_a_command_is_quoted_for_a_shell() -> None:
    assert str(MadeBy(("collect", "--name", "a b", "--sketch-modules", "*mlp*"))) == (
        "gptfl collect --name 'a b' --sketch-modules '*mlp*'"
    )


def test_a_recording_that_does_not_say_how_it_was_made_has_none(tmp_path: Path) -> None:
    dynamics, _ = synthetic(4)
    path = tmp_path / "syn.dynamics.h5"
    write_dynamics(path, dynamics)
    with pytest.raises(DataError, match="doesn't say its"):
        command_of(path, build([]))


@pytest.fixture(scope="module")
def sketched(neox: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a recording with sketches at three points."""
    space = tmp_path_factory.mktemp("featurized")
    sizes = {"runs": 1, "pool": 8, "test": 4, "subset_size": 4, "steps": 4}
    gptfl.collect(
        str(neox), "errands", workspace=space, name="own", sketches=True, sketch_points=3, sketch_dimensions=32, **sizes
    )
    return space


@pytest.mark.parametrize(
    ("encoder", "settings"),
    [
        ("gradients", {}),
        ("gradients", {"points": "0+4", "dimensions": 16, "divided": "pool"}),
        ("gradients", {"points": 2}),
        ("gradients", {"divided": "none"}),
        ("tfidf-svd", {"dims": 3, "text": "target"}),
        ("answer-state", {"dimensions": 16, "max_length": 64}),
        ("causal-lm", {"model": True, "layer": 1, "token": "mean"}),
    ],
)
@pytest.mark.parametrize("alone", [False, True])
def test_the_command_of_features_makes_the_same_ones(
    encoder: str,
    settings: dict[str, Any],
    alone: bool,
    sketched: Path,
    neox: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if "model" in settings or encoder == "answer-state":
        settings = {**settings, "model": str(neox)}
    # Beside the recording, whose command names it, or elsewhere.
    path = tmp_path / "own.features.h5" if alone else sketched / f"own.{encoder}.features.h5"
    first = gptfl.featurize(encoder, workspace=sketched, settings=settings, output=path)
    made = command_of(path, get_registry())
    if encoder == "gradients":
        assert all(word in made.words for word in ("--encoder", "gradients"))
        assert ("--set" in made.words) == (bool(settings) or alone)
    more = ["--dynamics", str(sketched / "own.dynamics.h5")] if alone else []
    again = tmp_path / "again.features.h5"
    words = ["gptfl", *made.words, *more, "--workspace", str(tmp_path), "--output", str(again)]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit, match=r"^0$"):
        run()
    one, other = read_features(first.path), read_features(again)
    assert other.identity == one.identity
    assert other.fingerprint == one.fingerprint


def test_features_that_came_with_an_import_have_the_recordings_command(tmp_path: Path) -> None:
    dynamics, _ = synthetic(2)
    sets = {"raw-0": FeatureSet(np.ones((len(dynamics.pool), 2)), np.ones((len(dynamics.test), 2)), "gradient")}
    path = tmp_path / "a.gradients.features.h5"
    write_features(path, Features("gradients", {"source": "a.npz", "points": [0]}, dynamics.examples, sets))
    with pytest.raises(DataError, match=r"is of the sketches that gptfl import took from a\.npz: name the recording"):
        command_of(path, get_registry())


def test_what_features_do_not_tell_is_said(sketched: Path, neox: Path, tmp_path: Path) -> None:
    path = tmp_path / "own.features.h5"
    gptfl.featurize("causal-lm", workspace=sketched, settings={"model": str(neox)}, output=path)
    assert command_of(path, get_registry()).unknown.endswith("--set device, --data and --output")


def test_features_of_new_rows_name_what_they_are_of(tmp_path: Path) -> None:
    vectors = FeatureSet(np.ones((2, 3), np.float32), np.zeros((0, 3), np.float32))
    write_features(tmp_path / "a.new-more.gradients.features.h5", Features("gradients", {}, "0123", {"raw-0": vectors}))
    made = command_of(tmp_path / "a.new-more.gradients.features.h5", get_registry())
    assert made.words == ("featurize", "--encoder", "gradients")
    assert made.unknown == "--new, which names the rows, --dynamics, --model and --output"
