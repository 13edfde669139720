"""Options that several commands share."""

from collections import defaultdict

import pytest

from gptfl.errors import UsageError
from gptfl.options.base import Place, make, places
from gptfl.options.common import DemoOptions, InputOptions, InspectOptions, UnlockOptions
from gptfl.options.recording import CollectOptions
from gptfl.options.rows import RowOptions
from tests.options.test_commands import COMMANDS

SHARED = (
    "dynamics",
    "metric",
    "seed",
    "device",
    "as_json",
    "as_csv",
    "no_picture",
    "executor",
    "max_length",
    "workspace",
)


def alike() -> dict[str, list[tuple[type, Place]]]:
    found = defaultdict(list)
    for kind in COMMANDS:
        for place in places(kind):
            found[place.name].append((kind, place))
    return found


@pytest.mark.parametrize("name", SHARED)
def test_an_option_of_one_name_is_typed_and_defaults_alike_in_every_command(name: str) -> None:
    several = alike()[name]
    assert len(several) > 1
    first = several[0][1]
    for kind, place in several:
        assert place.default == first.default, kind
        assert place.flags == first.flags, kind
        assert (place.option.bound is None) == (first.option.bound is None), kind


def test_the_workspace_comes_from_the_environment_but_in_the_demo() -> None:
    for kind, place in alike()["workspace"]:
        assert place.option.envvar == (None if kind is DemoOptions else "GPTFL_WORKSPACE"), kind


def test_what_programs_read_is_of_the_command_line_alone() -> None:
    for name in ("as_json", "as_csv", "no_picture"):
        for kind, place in alike()[name]:
            assert place.option.shell, kind


@pytest.mark.parametrize("name", ["pool", "test", "runs"])
def test_a_demo_of_nothing_is_refused(name: str) -> None:
    assert getattr(make(DemoOptions, **{name: 1}), name) == 1
    with pytest.raises(UsageError, match=f"{name} is 0: give at least 1"):
        make(DemoOptions, **{name: 0})


def test_data_of_ones_own_is_inspected_as_it_is_collected() -> None:
    looked, collected = ({place.name: place for place in places(kind)} for kind in (InspectOptions, CollectOptions))
    for name in (*(place.name for place in places(RowOptions)), "max_length", "data"):
        assert looked[name].default == collected[name].default, name
        assert looked[name].flags == collected[name].flags, name
    with pytest.raises(UsageError, match="max_length is 0: give at least 1"):
        make(InspectOptions, max_length=0)


def test_what_has_to_be_given_is_asked_for_by_name() -> None:
    with pytest.raises(TypeError, match="unlock needs 'file'"):
        make(UnlockOptions)
    assert make(InputOptions) == InputOptions(dynamics=None, features=None, workspace=None)
