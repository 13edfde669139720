from dataclasses import replace

import numpy as np
import pytest

from gptfl.core.splits import check_fit_runs, fold_splits, most_folds, stored_split, usable_runs
from gptfl.errors import DataError, UsageError
from tests.synthetic import LOSS, synthetic


def indices(runs):
    return [run.index for run in runs]


def test_stored_roles_divide_the_runs():
    runs = synthetic(32)[0].runs
    split = stored_split(runs)
    assert (len(split.fit), len(split.validation), len(split.test)) == (25, 2, 5)
    assert sorted(indices(split.fit + split.validation + split.test)) == list(range(32))


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_folds_test_every_run_once_and_learn_from_the_others(folds):
    runs = synthetic(24)[0].runs
    splits = fold_splits(runs, folds)
    assert sorted(i for split in splits for i in indices(split.test)) == list(range(24))
    for split in splits:
        assert {i % folds for i in indices(split.test)} == {split.fold}
        assert sorted(indices(split.fit + split.validation + split.test)) == list(range(24))
        rest = sorted(indices(split.fit + split.validation))
        assert indices(split.validation) == rest[5::12]


def test_folds_keep_their_roles_when_runs_are_added():
    few, many = synthetic(12)[0].runs, synthetic(24)[0].runs
    for first, second in zip(fold_splits(few, 3), fold_splits(many, 3), strict=True):
        assert indices(first.validation) == [i for i in indices(second.validation) if i < 12]


@pytest.mark.parametrize(("count", "folds"), [(1, None), (2, None), (3, 3), (4, 4), (9, 4)])
def test_the_folds_to_recommend_work(count, folds):
    runs = synthetic(9)[0].runs[:count]
    assert most_folds(runs) == folds
    for split in fold_splits(runs, folds) if folds else ():
        check_fit_runs(split)


def test_senseless_folds_and_too_few_runs_are_refused():
    runs = synthetic(4)[0].runs
    for folds, match in ((1, "at least 2"), (5, "more than the 4 runs")):
        with pytest.raises(UsageError, match=match):
            fold_splits(runs, folds)
    with pytest.raises(UsageError, match=r"more than the 3 runs: give at most --folds 3, or record more runs"):
        fold_splits(runs[:3], 4)
    with pytest.raises(UsageError, match=r"more than the 6 runs: give at most --folds 6, or record more runs"):
        fold_splits(synthetic(6)[0].runs, 99)
    with pytest.raises(UsageError, match=r"more than the 1 run: record more runs \(gptfl collect --runs\)$"):
        fold_splits(runs[:1], 4)
    with pytest.raises(DataError, match="there is 1 run to fit and at least 2"):
        check_fit_runs(stored_split(runs[:1]))


def test_a_run_begins_where_all_test_examples_are_known():
    run = synthetic(1)[0].runs[0]
    values = run.metrics["loss"].copy()
    values[0, 3] = np.nan
    ((kept,), notes) = usable_runs([replace(run, metrics={"loss": values})], LOSS)
    np.testing.assert_array_equal(kept.steps, run.steps[1:])
    np.testing.assert_array_equal(kept.metrics["loss"], values[1:])
    assert notes == ()


def test_runs_without_a_first_or_a_later_score_are_named():
    run = synthetic(1)[0].runs[0]
    never = run.metrics["loss"].copy()
    never[:, 0] = np.nan
    once = run.metrics["loss"].copy()
    once[1:] = np.nan
    runs = [replace(run, metrics={"loss": never}), replace(run, index=7, metrics={"loss": once})]
    kept, notes = usable_runs(runs, LOSS)
    assert kept == []
    assert notes[0].endswith("run-0000, run-0007")
