"""The options of embedding, fitting and simulating."""

from pathlib import Path
from typing import Any

import pytest

from gptfl.errors import UsageError
from gptfl.options.base import make, places
from gptfl.options.defaults import FEW_RUNS, PAPER
from gptfl.options.simulation import (
    CounterfactualOptions,
    FeaturizeOptions,
    FitOptions,
    SimulatedRunOptions,
    SimulateOptions,
    many_subsets,
    one_subset,
)


@pytest.mark.parametrize(
    ("kind", "given", "line"),
    [
        (SimulateOptions, {"orders": 0}, "--orders is 0: give 1 or more"),
        (SimulateOptions, {"epochs": 0.0}, "--epochs is 0.0: give a positive number"),
        (SimulateOptions, {"epochs": float("inf")}, "--epochs is inf: give a positive number"),
        (SimulateOptions, {"steps": -1}, "--steps is -1: give a positive number"),
        (SimulateOptions, {"batch_size": 0}, "--batch-size is 0: give a positive number"),
        (SimulateOptions, {"lr": -1e-3}, "--lr is -0.001: give a positive number"),
        (FitOptions, {"every": 0}, "--every is 0: give at least 1"),
        (FitOptions, {"unseen_share": 0.0}, "--unseen-share is 0: give a share between 0 and 1, such as 0.25"),
    ],
)
def test_a_number_out_of_bounds_is_one_line(kind: type, given: dict[str, Any], line: str) -> None:
    with pytest.raises(UsageError) as caught:
        make(kind, **given)
    assert caught.value.line == line


def test_one_subset_is_one_of_several_and_a_group_stays_one() -> None:
    assert one_subset(None) is None
    assert one_subset("ids.txt") == ("ids.txt",)
    assert one_subset(["a", "b"]) == (["a", "b"],)
    group = SimulatedRunOptions(orders=3)
    assert one_subset(group) is group  # type: ignore[arg-type]


def test_many_subsets_are_files_or_ids_each() -> None:
    assert many_subsets(["ids.txt", ["a", "b"], Path("c.txt")]) == ("ids.txt", ["a", "b"], Path("c.txt"))
    assert many_subsets([]) == ()
    for wrong, words in (
        ("ids.txt", "simulate_many: subsets is 'ids.txt': give a sequence"),
        (3, "simulate_many: subsets is 3: give a sequence"),
        ([3], "simulate_many: a subset is 3: give a text or a sequence"),
    ):
        with pytest.raises(UsageError) as caught:
            many_subsets(wrong)
        assert str(caught.value) == words


def test_a_run_to_simulate_is_one_to_verify_but_for_several_subsets_and_every_order() -> None:
    plain, simulated = (
        {place.name: place for place in places(kind)} for kind in (CounterfactualOptions, SimulatedRunOptions)
    )
    assert simulated.keys() - plain.keys() == {"every_order"}
    assert (plain["subset"].several, simulated["subset"].several) == (False, True)
    for name in plain.keys() - {"subset"}:
        assert plain[name].default == simulated[name].default, name
        assert plain[name].flags == simulated[name].flags, name


def test_help_names_the_estimators_that_are_taken_unasked() -> None:
    (estimator,) = (place.option.shown for place in places(FitOptions) if place.name == "estimator")
    assert str(estimator).startswith(FEW_RUNS)
    assert str(estimator).endswith(PAPER)


def test_settings_are_words_or_a_mapping_of_either_command() -> None:
    for kind in (FeaturizeOptions, FitOptions):
        assert make(kind, settings={"dims": 3}).settings == {"dims": 3}
        assert make(kind, settings=["dims=3", "text=both"]).settings == ("dims=3", "text=both")
