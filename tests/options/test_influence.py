"""The options of rankings, selections and their studies."""

import math
from typing import Any

import pytest

from gptfl.errors import UsageError
from gptfl.influence.cleaning import PURPOSES
from gptfl.influence.targets import HOWS
from gptfl.influence.verdicts import HARMFUL, HELPFUL
from gptfl.options.base import make, places
from gptfl.options.influence import (
    FEW,
    InfluenceOptions,
    RankOptions,
    RelabelStudyOptions,
    SelectionOptions,
    SelectOptions,
    SelectStudyOptions,
)


@pytest.mark.parametrize(
    ("kind", "given", "line"),
    [
        (RankOptions, {"top": 0}, "--top is 0: give 1 or more"),
        (RankOptions, {"orders": 0}, "--orders is 0: give 1 or more"),
        (RankOptions, {"fdr": 0.0}, "--fdr is 0: give a share between 0 and 1, such as 0.1"),
        (RankOptions, {"fdr": 1.0}, "--fdr is 1: give a share between 0 and 1, such as 0.1"),
        (SelectOptions, {"size": 0}, "--size is 0: give a number from 1 to the size of the pool"),
        (
            SelectOptions,
            {"size": 1, "max_share_per_class": 0.0},
            "--max-share-per-class is 0: give a share above 0, at most 1",
        ),
        (
            SelectOptions,
            {"size": 1, "max_share_per_class": 1.5},
            "--max-share-per-class is 1.5: give a share above 0, at most 1",
        ),
        (SelectOptions, {"size": 1, "diversity": -0.5}, "--diversity is -0.5: give 0 or more"),
        (SelectOptions, {"size": 1, "cautious": math.nan}, "--cautious is nan: give 0 or more"),
        (SelectOptions, {"size": 1, "search": -1}, "--search is -1: give 0 or more"),
        (SelectStudyOptions, {"size": 1, "random_subsets": 1}, f"--random is 1: {FEW}"),
        (SelectStudyOptions, {"size": 1, "repeats": 1}, f"--repeats is 1: {FEW}"),
        (SelectStudyOptions, {"size": 1, "score_on": 0}, "--score-on is 0: give at least 1"),
        (RelabelStudyOptions, {"repeats": 0}, "--repeats is 0: give 1 or more"),
        (RelabelStudyOptions, {"epochs": 0.0}, "--epochs is 0.0: give a positive number"),
    ],
)
def test_a_number_out_of_bounds_is_one_line(kind: type, given: dict[str, Any], line: str) -> None:
    with pytest.raises(UsageError) as caught:
        make(kind, **given)
    assert caught.value.line == line


def test_the_ends_of_bounds_are_taken() -> None:
    made = make(SelectOptions, size=1, max_share_per_class=1.0, diversity=0.0, cautious=0.0, search=0)
    assert (made.selection.max_share_per_class, made.selection.search) == (1.0, 0)


def test_the_words_that_the_shell_offers_are_those_that_are_taken() -> None:
    for kind in (InfluenceOptions, SelectionOptions):
        (how,) = (place.option for place in places(kind) if place.name == "how")
        assert set(how.complete or ()) == set(HOWS)
        assert all(f"{word} (" in how.help for word in HOWS)
    words = {place.name: place.option.complete for place in places(RankOptions)}
    assert words["purpose"] == PURPOSES
    assert words["only"] == (HELPFUL, HARMFUL, "both")


def test_selecting_for_the_examples_themselves_is_not_offered() -> None:
    words = {
        kind: {p.name: p for p in places(kind)}["on"].option.complete for kind in (InfluenceOptions, SelectionOptions)
    }
    assert set(words[InfluenceOptions] or ()) - set(words[SelectionOptions] or ()) == {"self"}


def test_a_selection_is_a_group_of_the_study_as_of_the_command() -> None:
    selection = SelectionOptions(size=5, on=["test-1"])
    assert make(SelectOptions, selection, size=3).selection == SelectionOptions(size=3, on=["test-1"])
    assert make(SelectStudyOptions, selection).selection is not None
    with pytest.raises(TypeError, match="select needs 'size'"):
        make(SelectOptions)
    assert make(SelectStudyOptions, selection, rivals=()).rivals == ()
    assert make(SelectStudyOptions, selection).rivals is None, "none is not the same as those that there are"
