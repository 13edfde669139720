"""The options of ``gptfl report``."""

import pytest

from gptfl.errors import UsageError
from gptfl.options.base import make, places
from gptfl.options.evaluation import CompareOptions
from gptfl.options.report import ReportOptions
from gptfl.options.simulation import SimulatorOptions


def test_one_fold_is_none() -> None:
    assert make(ReportOptions, folds=2).folds == 2
    with pytest.raises(UsageError, match=r"^folds is 1: give at least 2$"):
        make(ReportOptions, folds=1)


def test_its_comparison_is_asked_as_compare_is() -> None:
    ours, theirs = ({place.name: place for place in places(kind)} for kind in (ReportOptions, CompareOptions))
    for name in ("folds", "metric", "seed"):
        assert ours[name].default == theirs[name].default, name
        assert ours[name].flags == theirs[name].flags, name


def test_files_are_a_group_or_single_options() -> None:
    made = make(ReportOptions, SimulatorOptions(workspace="study", simulator="a.h5"), simulator="b.h5")
    assert (made.inputs.workspace, made.inputs.simulator) == ("study", "b.h5")
    with pytest.raises(TypeError, match="report has no option 'as_json'"):
        make(ReportOptions, as_json=True)
