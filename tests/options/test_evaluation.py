"""The options of comparisons, verifications, sweeps and learning curves."""

from typing import Any

import pytest

from gptfl.errors import UsageError
from gptfl.options.base import assemble, function_name, make, places, shared, shell_names
from gptfl.options.defaults import PAPER
from gptfl.options.evaluation import (
    CompareOptions,
    GridOptions,
    LearningCurveOptions,
    PointOptions,
    SweepOptions,
    VerifyOptions,
)
from gptfl.options.simulation import LearningOptions

CURVE_REMEDY = "give at least 1, or leave it out for the recording's test runs"


@pytest.mark.parametrize(
    ("kind", "given", "line"),
    [
        (CompareOptions, {"folds": 1}, "--folds is 1: give at least 2"),
        (CompareOptions, {"observe": 0}, "--observe is 0: give how many recorded scores to tell, or leave it out"),
        (CompareOptions, {"every": 0}, "--every is 0: give at least 1"),
        (CompareOptions, {"unseen_share": 1.0}, "--unseen-share is 1: give a share between 0 and 1, such as 0.25"),
        (CompareOptions, {"seed": -1}, "--seed is -1: give a whole number from 0 to 2**63 - 1"),
        (CompareOptions, {"seed": 2**63}, f"--seed is {2**63}: give a whole number from 0 to 2**63 - 1"),
        (GridOptions, {"axes": {}, "folds": 1}, "--folds is 1: give at least 2"),
        (LearningCurveOptions, {"counts": (2,), "held_out": 0}, f"--held-out is 0: {CURVE_REMEDY}"),
        (LearningCurveOptions, {"counts": (2,), "draws": 0}, "--draws is 0: give at least 1"),
        (VerifyOptions, {"orders": 0}, "--orders is 0: give 1 or more"),
    ],
)
def test_a_number_out_of_bounds_is_one_line(kind: type, given: dict[str, Any], line: str) -> None:
    with pytest.raises(UsageError) as caught:
        make(kind, **given)
    assert caught.value.line == line


def test_a_sweep_of_compare_is_of_the_command_line_alone_and_has_the_numbers_of_the_curve() -> None:
    assert {place.name for place in places(SweepOptions)} <= shell_names(CompareOptions)
    with pytest.raises(TypeError, match="compare has no option 'draws'"):
        make(CompareOptions, draws=2)
    ours, theirs = ({place.name: place for place in places(kind)} for kind in (SweepOptions, LearningCurveOptions))
    for name in ("held_out", "draws"):
        assert ours[name].default == theirs[name].default
        assert ours[name].flags == theirs[name].flags
        assert not theirs[name].option.shell


def test_what_holds_at_every_point_is_what_compare_takes_with_the_same_defaults() -> None:
    alone, whole = ({place.name: place for place in places(kind)} for kind in (PointOptions, CompareOptions))
    for name, place in alone.items():
        assert place.default == whole[name].default, name
        assert place.flags == whole[name].flags, name
    learning = {place.name: place.default for place in places(LearningOptions)}
    assert {name: place.default for name, place in alone.items() if name in learning}.items() <= learning.items()


def test_a_grid_takes_a_mapping_or_words_and_varies_the_papers_estimator() -> None:
    assert function_name(GridOptions) == "sweep"
    assert make(GridOptions, axes={"order": [1, 2]}).axes == {"order": [1, 2]}
    assert make(GridOptions, axes="order=1,2").axes == ("order=1,2",)
    assert make(GridOptions).estimator == PAPER
    assert make(LearningCurveOptions, counts=[2, 3]).counts == [2, 3]


def test_what_a_command_hands_to_another_are_the_options_that_both_have() -> None:
    asked = assemble(CompareOptions, (), {"folds": 3, "settings": {"a": {"b": 1}}, "every": 2})
    given = shared(asked, GridOptions)
    assert (given["folds"], given["settings"], given["every"]) == (3, {"a": {"b": 1}}, 2)
    assert "truth" not in given
    assert "as_json" not in given
