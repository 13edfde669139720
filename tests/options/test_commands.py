"""The options of every command: one name each, and the defaults that the Python functions have."""

import importlib
import inspect
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, get_type_hints

import pytest

from gptfl.options import common, evaluation, influence, interchange, recording, simulation
from gptfl.options.base import places

COMMANDS = (
    *(recording.CollectOptions, interchange.ImportOptions, interchange.ExportOptions, simulation.FeaturizeOptions),
    *(simulation.FitOptions, simulation.SimulateOptions, evaluation.VerifyOptions, evaluation.CompareOptions),
    *(influence.RankOptions, influence.RelabelStudyOptions, influence.SelectOptions, influence.SelectStudyOptions),
    *(evaluation.GridOptions, evaluation.LearningCurveOptions),
    *(common.InspectOptions, common.UnlockOptions, common.PluginsOptions, common.DemoOptions),
)
FUNCTIONS = {
    "import_": (interchange.ImportOptions, "gptfl.interchange.import_recording"),
    "export": (interchange.ExportOptions, "gptfl.interchange.export_recording"),
    "featurize": (simulation.FeaturizeOptions, "gptfl.features.featurize"),
    "fit": (simulation.FitOptions, "gptfl.simulation.fit"),
    "simulate": (simulation.SimulateOptions, "gptfl.api.simulate"),
    "verify": (evaluation.VerifyOptions, "gptfl.api.verify"),
    "compare": (evaluation.CompareOptions, "gptfl.api.compare"),
    "rank": (influence.RankOptions, "gptfl.api.rank"),
    "relabel_study": (influence.RelabelStudyOptions, "gptfl.api.relabel_study"),
    "select": (influence.SelectOptions, "gptfl.api.select"),
    "select_study": (influence.SelectStudyOptions, "gptfl.api.select_study"),
}
OTHERWISE = {"settings", "shares", "figure", "metric", "metrics", "progress", "announce"}
"""Parameters that a function takes in another form than the command line: mappings, sequences, one metric at a time."""


@pytest.mark.parametrize("kind", COMMANDS)
def test_no_name_flag_or_key_stands_for_two_options(kind: type) -> None:
    found = places(kind)
    keys = [name for place in found for name in {place.name, place.key.replace("-", "_")}]
    flags = [flag for place in found for option in place.flags for flag in option.split("/")]
    assert len(keys) == len(set(keys))
    assert len(flags) == len(set(flags))
    assert all(place.option.help.endswith(".") for place in found)


@pytest.mark.parametrize("kind", COMMANDS)
def test_groups_hold_options_alone_and_each_stands_once(kind: type) -> None:
    hints = get_type_hints(kind)
    groups = [hints[one.name] for one in fields(kind) if is_dataclass(hints[one.name])]
    assert len(groups) == len(set(groups))
    assert all(place.field.metadata for group in groups for place in places(group))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_the_defaults_of_its_options(name: str) -> None:
    kind, module = FUNCTIONS[name]
    taken = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    known = {place.name: place for place in places(kind)}
    for parameter in taken.values():
        if parameter.name in OTHERWISE:
            continue
        usual: Any = known[parameter.name].default
        if usual is MISSING:
            usual = inspect.Parameter.empty
        assert parameter.default == usual or (parameter.default is None and usual == ()), parameter.name
    assert {place.name for place in known.values() if not place.option.shell} <= taken.keys() | OTHERWISE
