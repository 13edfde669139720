"""The options of every command: one name each, shown by the Python functions with their defaults."""

import inspect
from dataclasses import MISSING, fields, is_dataclass
from typing import get_type_hints

import pytest

import gptfl
from gptfl.options import (
    apply,
    attribute,
    check,
    common,
    doctor,
    evaluation,
    influence,
    interchange,
    new_plugin,
    recording,
    removal_study,
    report,
    simulation,
)
from gptfl.options.base import assemble, places

COMMANDS = (
    *(recording.CollectOptions, interchange.ImportOptions, interchange.ExportOptions, simulation.FeaturizeOptions),
    *(simulation.FitOptions, simulation.SimulateOptions, evaluation.VerifyOptions, evaluation.CompareOptions),
    removal_study.RemovalStudyOptions,
    *(influence.RankOptions, influence.RelabelStudyOptions, influence.SelectOptions, influence.SelectStudyOptions),
    *(
        evaluation.GridOptions,
        evaluation.LearningCurveOptions,
        attribute.AttributeOptions,
        apply.ApplyOptions,
        check.CheckOptions,
        report.ReportOptions,
        report.ServeOptions,
        doctor.DoctorOptions,
        new_plugin.NewPluginOptions,
    ),
    *(common.InspectOptions, common.UnlockOptions, common.PluginsOptions, common.DemoOptions),
)
FUNCTIONS = {
    "apply": apply.ApplyOptions,
    "check": check.CheckOptions,
    "attribute": attribute.AttributeOptions,
    "collect": recording.CollectOptions,
    "import_": interchange.ImportOptions,
    "export": interchange.ExportOptions,
    "featurize": simulation.FeaturizeOptions,
    "fit": simulation.FitOptions,
    "simulate": simulation.SimulateOptions,
    "verify": evaluation.VerifyOptions,
    "compare": evaluation.CompareOptions,
    "doctor": doctor.DoctorOptions,
    "sweep": evaluation.GridOptions,
    "learning_curve": evaluation.LearningCurveOptions,
    "rank": influence.RankOptions,
    "relabel_study": influence.RelabelStudyOptions,
    "removal_study": removal_study.RemovalStudyOptions,
    "select": influence.SelectOptions,
    "select_study": influence.SelectStudyOptions,
    "write_report": report.ReportOptions,
    "serve": report.ServeOptions,
}
METHODS: dict[str, tuple[type, set[str]]] = {
    "Recording.featurize": (simulation.FeaturizeOptions, {"dynamics", "workspace"}),
    "Recording.compare": (evaluation.CompareOptions, {"dynamics", "workspace", "output", "figure"}),
    "Recording.fit": (simulation.FitOptions, {"dynamics", "workspace", "metrics"}),
    "Simulator.verify": (evaluation.VerifyOptions, {"simulator", "dynamics", "features", "workspace"}),
}
"""What of a command's options a method doesn't take, for the object knows it or writes nothing."""
BESIDE = {"self", "groups", "progress", "announce"}
NAMED = {"subset", "simulators", "counts", "axes", "on", "port"}
"""Options that a function names itself, for they are given by place; what it takes then is another type or default."""


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


def signature_of(name: str) -> dict[str, inspect.Parameter]:
    owner, _, method = name.rpartition(".")
    function = getattr(getattr(gptfl, owner) if owner else gptfl, method)
    taken = inspect.signature(function).parameters
    assert not any(one.kind is inspect.Parameter.VAR_KEYWORD for one in taken.values())
    return {key: one for key, one in taken.items() if key not in BESIDE}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_shows_the_options_of_its_command_with_their_defaults(name: str) -> None:
    kind, taken = FUNCTIONS[name], signature_of(name)
    known = {place.name: place for place in places(kind) if not place.option.shell}
    if name == "fit":  # which is of one metric
        del known["metrics"]
        assert taken.pop("metric").default is None
    assert taken.keys() == known.keys()
    for key, place in known.items():
        usual = inspect.Parameter.empty if place.default is MISSING else place.default
        assert key in NAMED or taken[key].default == usual, key


@pytest.mark.parametrize("name", METHODS)
def test_a_method_shows_those_that_its_object_does_not_know(name: str) -> None:
    kind, known = METHODS[name]
    shown = {place.name for place in places(kind) if not place.option.shell} - known
    assert signature_of(name).keys() == shown | ({"metric"} if name == "Recording.fit" else set())


def test_methods_that_write_nothing_show_what_is_asked() -> None:
    recipe = {"orders", "seed", "epochs", "steps", "batch_size", "lr"}
    questions = {"subset", "drop", "curriculum", "against", "observe", "every_order"}
    assert signature_of("Simulator.simulate").keys() == recipe | questions
    assert signature_of("Simulator.simulate_many").keys() == recipe | {"subsets"}
    assert signature_of("Simulator.influence").keys() == {"on", "how", "orders", "seed", "fdr", "purpose", "by", "keep"}
    assert {"size", "search", "cautious", "seed"} < signature_of("Simulator.select").keys()


@pytest.mark.parametrize("kind", COMMANDS)
def test_the_default_of_an_option_is_of_its_type(kind: type) -> None:
    required = {place.name: "1" if str in place.takes else 1 for place in places(kind) if place.default is MISSING}
    made = assemble(kind, (), required)
    groups = [getattr(made, one.name) for one in fields(kind) if is_dataclass(getattr(made, one.name))]
    assert assemble(kind, groups, {name: value for name, value in required.items() if hasattr(made, name)}) == made
