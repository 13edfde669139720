"""Options: bounds, groups, and what Python gives for them."""

import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from gptfl.errors import UsageError
from gptfl.options.base import assemble, check, function_name, make, shared
from gptfl.options.common import InputOptions
from gptfl.options.evaluation import CompareOptions, GridOptions, TableOptions
from gptfl.options.influence import InfluenceOptions, RankOptions, SelectStudyOptions
from gptfl.options.interchange import ImportOptions
from gptfl.options.recording import CollectOptions, DesignOptions, GradientOptions, TrainingOptions
from gptfl.options.simulation import FitOptions, SimulatedRunOptions, SimulateOptions


def collect(*groups: object, **options: Any) -> CollectOptions:
    return make(CollectOptions, *groups, model="tiny", task="errands", **options)


def test_other_bounds() -> None:
    check(collect(repeats=0, lr=1e-9))
    with pytest.raises(UsageError, match=r"^repeats is -1: give 0 or more$"):
        check(collect(repeats=-1))
    for rate in (0.0, -1.0, float("nan"), float("inf"), 1e30):
        with pytest.raises(UsageError, match=f"^lr is {re.escape(str(rate))}: give a positive number, at most 1e.09$"):
            check(collect(lr=rate))


def test_a_name_that_is_no_option_is_a_type_error_with_the_nearest() -> None:
    with pytest.raises(TypeError, match="collect has no option 'subset_sise': did you mean 'subset_size'"):
        collect(subset_sise=3)
    with pytest.raises(TypeError, match="collect needs 'model'"):
        make(CollectOptions, task="errands")
    with pytest.raises(TypeError, match="collect takes no InputOptions"):
        collect(InputOptions())


def test_groups_are_given_by_place_or_by_name_and_single_options_go_before() -> None:
    training = TrainingOptions(lr=1e-3, batch_size=2)
    found = collect(training, design=DesignOptions(runs=3), lr=1e-4)
    assert (found.training.lr, found.training.batch_size, found.design.runs) == (1e-4, 2, 3)
    assert collect(gradients="own").gradients == GradientOptions(gradients="own")
    assert collect(metrics=["loss", "accuracy"]).examples.metrics == ("loss", "accuracy")


def test_functions_get_no_option_of_the_command_line_alone() -> None:
    with pytest.raises(TypeError, match=r"^simulate has no option 'as_json'"):
        make(SimulateOptions, as_json=True)
    with pytest.raises(TypeError, match=r"^compare takes no TableOptions"):
        make(CompareOptions, TableOptions())
    with pytest.raises(TypeError, match=r"^sweep has no option 'as_csv'"):
        make(GridOptions, axes={}, as_csv=True)
    made = assemble(GridOptions, (), {"as_json": True})
    assert made.as_json
    both = {"metric", "encoder", "settings", "folds", "every", "keep_diverged", "seed", "output", "figure"}
    assert shared(made, CompareOptions).keys() == both | {"dynamics", "features", "workspace"}


def test_a_function_may_lack_options_even_those_that_its_groups_have() -> None:
    without = ("dynamics", "workspace")
    assert assemble(FitOptions, (InputOptions(features="f.h5"),), {}, "fit", without).inputs.features == "f.h5"
    with pytest.raises(TypeError, match=r"^fit has no option 'dynamics'$"):
        assemble(FitOptions, (InputOptions(dynamics="d.h5"),), {}, "fit", without)
    with pytest.raises(TypeError, match=r"^fit has no option 'workspace'"):
        assemble(FitOptions, (), {"workspace": "d"}, "fit", without)


def test_messages_call_a_function_by_its_name() -> None:
    assert function_name(SelectStudyOptions) == "select_study"
    assert (function_name(GridOptions), function_name(ImportOptions)) == ("sweep", "import_")
    with pytest.raises(TypeError, match=r"^select_study has no option 'repeat': did you mean 'repeats'"):
        make(SelectStudyOptions, size=3, repeat=2)
    with pytest.raises(TypeError, match=r"^select_study needs 'size'"):
        make(SelectStudyOptions)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"orders": "x"}, "simulate: orders is 'x': give a whole number"),
        ({"orders": 1.5}, "simulate: orders is 1.5: give a whole number"),
        ({"orders": True}, "simulate: orders is True: give a whole number"),
        ({"orders": np.True_}, "simulate: orders is np.True_: give a whole number"),
        ({"lr": "fast"}, "simulate: lr is 'fast': give a number"),
        ({"metric": 3}, "simulate: metric is 3: give a text"),
        ({"drop": 3}, "simulate: drop is 3: give a text or a sequence"),
        ({"drop": {"a": 1}}, "simulate: drop is {'a': 1}: give a text or a sequence"),
        ({"figure": 3}, "simulate: figure is 3: give a text or true or false"),
        ({"observe": b"x"}, "simulate: observe is b'x': give a text"),
        ({"orders": 0}, "orders is 0: give 1 or more"),
        ({"seed": -1}, "seed is -1: give a whole number from 0"),
    ],
)
def test_a_value_of_another_type_is_one_line(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=f"^{re.escape(message)}"):
        make(SimulateOptions, **given)
    if given.keys() & {"orders", "lr", "drop"}:  # of a group it is the same
        with pytest.raises(UsageError, match=f"^{re.escape(message)}"):
            make(SimulateOptions, SimulatedRunOptions(**given))


def test_a_wrong_value_of_several_lines_is_one_line() -> None:
    with pytest.raises(UsageError, match=r"^fit: encoder is array\(\[ *0, *1.*…: give a text$") as caught:
        make(FitOptions, encoder=np.arange(900))
    assert "\n" not in str(caught.value)


def test_values_come_as_python_has_them() -> None:
    made = make(SimulateOptions, orders=np.int32(3), lr=np.float32(0.5), epochs=2, drop=["a"], figure=np.False_)
    assert (type(made.run.orders), made.run.orders) == (int, 3)
    assert (type(made.run.lr), made.run.lr) == (float, 0.5)
    assert (type(made.run.epochs), made.run.epochs) == (int, 2)
    assert (made.run.drop, made.figure) == (["a"], False)


def test_none_is_not_given() -> None:
    assert make(SimulateOptions, SimulatedRunOptions(orders=3), orders=None, seed=None) == make(
        SimulateOptions, orders=3
    )
    assert make(RankOptions, InfluenceOptions(orders=None)).influence.orders == 4  # type: ignore[arg-type]


def test_several_may_be_any_sequence_and_one_alone() -> None:
    for given in ("loss", ["loss"], ("loss",), np.array(["loss"]), iter(["loss"])):
        assert collect(metrics=given).examples.metrics == ("loss",)
    with pytest.raises(UsageError, match=r"^collect: metrics is 3: give a text$"):
        collect(metrics=["loss", 3])


def test_settings_are_words_or_a_mapping() -> None:
    assert make(FitOptions, settings={"order": 2}).settings == {"order": 2}
    assert (
        make(FitOptions, settings="order=2").settings == make(FitOptions, settings=["order=2"]).settings == ("order=2",)
    )
    with pytest.raises(UsageError, match=r"^fit: settings is 3: give a text or a mapping$"):
        make(FitOptions, settings=3)
    with pytest.raises(UsageError, match=r"^fit: settings is 3: give a text$"):
        make(FitOptions, settings=[3])


def test_options_load_nothing_that_takes_long() -> None:
    code = "import sys\nfrom gptfl.options import evaluation, influence, interchange, recording, simulation\n"
    code += "print(sorted({'typer', 'click', 'rich', 'numpy', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
