"""The options of ``gptfl new-plugin``."""

from pathlib import Path

import pytest

import gptfl.api
from gptfl.options.base import make, places
from gptfl.options.new_plugin import KINDS, NewPluginOptions
from gptfl.plugins import parts


def test_each_kind_has_a_file_to_start_from_and_its_test() -> None:
    folder = Path(gptfl.api.__path__[0]) / "plugin_files"
    assert set(KINDS) == {kind for kind in parts.KINDS if (folder / f"{kind}.py.txt").is_file()}
    assert all((folder / f"test_{kind}.py.txt").is_file() for kind in KINDS)


def test_the_first_kind_is_taken_unasked_and_the_shell_offers_all() -> None:
    (kind,) = (place for place in places(NewPluginOptions) if place.name == "kind")
    assert kind.option.complete == KINDS
    assert make(NewPluginOptions, name="letters").kind == KINDS[0]
    with pytest.raises(TypeError, match="new_plugin needs 'name'"):
        make(NewPluginOptions)
