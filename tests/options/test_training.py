"""The options of a training's recipe."""

import math
from typing import Any

import pytest

from gptfl.core.recording_settings import DECAYS, MEANS, OPTIMISERS, QUANTISED
from gptfl.core.schedules import SCHEDULES
from gptfl.errors import UsageError
from gptfl.options.base import check, places
from gptfl.options.training import TrainingOptions
from gptfl.training.trainer import TrainerSettings

PLACES = {place.name: place for place in places(TrainingOptions)}


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("lr", (1e-12, 1e9), (0.0, -1e-3, math.nan, math.inf, 2e9)),
        ("clip_norm", (1e-3, 1.0), (0.0, -1.0, math.nan)),
        ("eps", (1e-12,), (0.0, -1e-8)),
        ("epochs", (0.5, 3.0), (0.0, -1.0, math.inf, math.nan)),
        ("warmup", (0.0, 0.1, 1.0, 100.0), (-1.0, 1.5, math.nan, math.inf, 2.0**32)),
        ("beta1", (0.0, 0.999), (1.0, -0.1, math.nan)),
        ("beta2", (0.0, 0.999), (1.0, -0.1, math.nan)),
        ("momentum", (0.0, 0.95), (1.0, -0.1)),
        ("weight_decay", (0.0, 0.1), (-0.1, math.nan, math.inf)),
        ("train_layers", (1,), (0, -1)),
        ("batch_size", (1,), (0,)),
    ],
)
def test_what_no_optimiser_can_follow_is_refused(name: str, good: tuple[Any, ...], bad: tuple[Any, ...]) -> None:
    for value in good:
        check(TrainingOptions(**{name: value}))
    for value in bad:
        with pytest.raises(UsageError, match=rf"^{name} is .*: give ") as caught:
            check(TrainingOptions(**{name: value}))
        assert caught.value.line.startswith(f"--{name.replace('_', '-')} is ")


def test_the_words_that_the_shell_offers_are_those_there_are() -> None:
    for name, known in (
        ("schedule", SCHEDULES),
        ("optimiser", OPTIMISERS),
        ("decay", DECAYS),
        ("loss_mean", MEANS),
        ("quantize", QUANTISED),
    ):
        assert set(PLACES[name].option.complete or ()) == set(known), name


def test_defaults_are_those_of_the_trainer() -> None:
    made, plain = TrainingOptions(), TrainerSettings(learning_rate=1.0)
    own = {"beta1", "beta2", "eps"}
    for name in PLACES.keys() & set(TrainerSettings.__dataclass_fields__) - own:
        assert getattr(made, name) == getattr(plain, name), name
    assert ((made.beta1, made.beta2), made.eps) == (plain.betas, plain.epsilon)


def test_every_option_says_what_it_does_in_one_panel() -> None:
    assert {place.panel for place in PLACES.values()} == {TrainingOptions.PANEL}
    assert all(place.option.help.endswith(".") for place in PLACES.values())
