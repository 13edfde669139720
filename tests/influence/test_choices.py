"""What ``gptfl select`` is asked to choose, and which options don't go together."""

import pytest

import gptfl
from gptfl.errors import UsageError
from gptfl.influence.choices import Choice, choose
from gptfl.influence.frontier import Frontier
from gptfl.influence.mixture import MixtureSelection
from gptfl.influence.selection import Selection
from gptfl.options.base import make
from gptfl.options.influence import SelectOptions
from tests.api.sides import write


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return gptfl.open_simulator(workspace=write(tmp_path_factory.mktemp("sides"))).opened


@pytest.mark.parametrize(
    ("options", "kind", "name"),
    [
        ({}, Selection, ""),
        ({"on": "test:test-0", "keep": "test:test-1", "frontier": 2}, Frontier, "keep-test:test-1"),
        ({"by": "source"}, MixtureSelection, "by-source"),
    ],
)
def test_what_is_chosen_is_of_its_kind(source, options, kind, name):
    choice = Choice.of(make(SelectOptions, size=4, search=0, **options), source)
    assert choice.kind == name
    assert isinstance(choose(source, choice, None, lambda *_: None), kind)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"by": "source", "keep": "test:test-1"}, "--by and --keep were given together"),
        ({"point": 1}, "point is 1, without --keep"),
        ({"by": "source", "diversity": 0.5}, "--diversity 0.5 is about rows"),
    ],
)
def test_options_that_do_not_go_together_are_refused(source, options, says):
    with pytest.raises(UsageError, match=says):
        Choice.of(make(SelectOptions, size=4, **options), source)
