"""What the options of a recipe come to, and which of them don't go together."""

from pathlib import Path
from typing import Any

import pytest

from gptfl import collect
from gptfl.errors import GptflError, ResourceError, UsageError
from gptfl.options.base import check_one
from gptfl.options.recording import TrainingOptions
from gptfl.recording.recipe import check_optimiser, recipe_settings
from gptfl.recording.trainers import recipe_of
from gptfl.store.recordings import read_dynamics
from gptfl.training.trainer import TrainerSettings


def settings(rate: float = 1e-3, **options: Any) -> dict[str, Any]:
    return recipe_settings(TrainingOptions(**options), rate)


def test_unasked_a_recipe_is_the_papers() -> None:
    assert TrainerSettings(1e-3, **settings()) == TrainerSettings(1e-3)


def test_momentum_is_the_optimisers_own() -> None:
    assert settings()["momentum"] is None
    assert settings(optimiser="sgd")["momentum"] == 0.0
    assert settings(optimiser="muon")["momentum"] == 0.95
    assert settings(optimiser="muon", momentum=0.8, beta1=0.8)["momentum"] == 0.8


def test_warm_up_in_steps_is_a_whole_number() -> None:
    assert [settings(warmup=value)["warmup"] for value in (0.0, 0.1, 1.0, 8.0)] == [0, 0.1, 1, 8]
    assert isinstance(settings(warmup=8.0)["warmup"], int)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            {"schedule": "cosin"},
            "schedule 'cosin' is unknown: use linear, cosine, constant, polynomial or inverse_sqrt",
        ),
        ({"optimiser": "lion"}, "optimiser 'lion' is unknown: use adamw or adamw-8bit or sgd or adafactor or muon"),
        ({"decay": "some"}, "decay 'some' is unknown: use all or weights"),
        ({"loss_mean": "rows"}, "loss_mean 'rows' is unknown: use examples or tokens"),
        (
            {"optimiser": "sgd", "beta1": 0.8},
            "beta1 0.8 changes nothing: --optimiser sgd has none: it is of adamw or muon",
        ),
        ({"optimiser": "adafactor", "eps": 1e-8}, "eps 1e-08 changes nothing"),
        ({"momentum": 0.9}, "momentum 0.9 changes nothing: --optimiser adamw has none: it is of sgd or muon"),
        ({"schedule": "polynomial", "rate": 1e-8}, "--schedule polynomial decays to 1e-07, and --lr is 1e-08"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        settings(**options)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("warmup", (-1, 1.5, float("nan"), float("inf"))),
        ("clip_norm", (0, -1.0, float("nan"))),
        ("beta1", (1.0, -0.1)),
        ("beta2", (1.0,)),
        ("eps", (0.0,)),
        ("momentum", (1.0,)),
        ("weight_decay", (-0.1, float("nan"))),
    ],
)
def test_numbers_out_of_bounds_are_refused(name: str, values: tuple[float, ...]) -> None:
    for value in values:
        with pytest.raises(UsageError, match=f"^{name} is "):
            check_one(TrainingOptions, name, value)


def test_gradients_that_can_not_be_followed_are_refused_by_name() -> None:
    for option in ("--sketches", "--few-runs", "--gradients reference"):
        with pytest.raises(
            UsageError, match=f"{option} with --optimiser muon: it keeps no second moment of each weight"
        ):
            check_optimiser("muon", False, option)
    with pytest.raises(UsageError, match="--shard with --optimiser adafactor"):
        check_optimiser("adafactor", True, None)
    for optimiser in ("adamw", "sgd"):
        check_optimiser(optimiser, True, "--sketches")
    check_optimiser("adafactor", False, None)


def test_a_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(ResourceError, match="--optimiser adamw-8bit needs the package bitsandbytes, which isn't there"):
        check_optimiser("adamw-8bit", False, None)


@pytest.mark.usefixtures("quick_tiny")
def test_a_recording_keeps_its_recipe_and_goes_on_with_no_other(tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "pool": 8,
        "test": 3,
        "runs": 2,
        "subset_size": 4,
        "steps": 4,
        "record_every": 4,
        "workspace": tmp_path,
        "schedule": "cosine",
        "warmup": 2,
        "clip_norm": 0.5,
        "loss_mean": "tokens",
        "design": "contrast",
    }
    path = collect("tiny", "errands", **options).path
    found = read_dynamics(path)
    kept = {key: found.settings[key] for key in ("schedule", "warmup", "clip_norm", "loss_mean")}
    assert kept == {"schedule": "cosine", "warmup": 2, "clip_norm": 0.5, "loss_mean": "tokens"}
    assert {"optimiser", "momentum", "decay", "dropout"}.isdisjoint(found.settings)
    assert recipe_of(found).rates(4).tolist() == found.runs[0].curriculum.learning_rates.tolist()
    assert found.runs[0].curriculum.learning_rates[0] == 0.0
    for changed, was in (
        ({"warmup": 1}, "--warmup 2"),
        ({"clip_norm": None}, "--clip-norm 0.5"),
        ({"dropout": False}, "--dropout"),
    ):
        with pytest.raises(GptflError, match=f"was recorded with {was}, not"):
            collect("tiny", "errands", **{**options, **changed})
    with pytest.raises(UsageError, match="--warmup 4 is 4 steps, and a run has 4: give at most 3"):
        collect("tiny", "errands", **{**options, "warmup": 4})
