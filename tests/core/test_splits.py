from dataclasses import replace

import numpy as np
import pytest

from gptfl.core import Curriculum
from gptfl.core.queries import query_for, same_steps, stacked
from gptfl.core.runs import cut_run, thinned
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


def test_queries_pad_shorter_and_narrower_curricula():
    runs = synthetic(2)[0].runs
    short = replace(runs[1], curriculum=Curriculum(np.array([[1, 2], [3, 4]]), np.array([0.5, 0.25])))
    query = query_for([runs[0], short], LOSS)
    np.testing.assert_array_equal(query.batches[0], runs[0].curriculum.batches)
    np.testing.assert_array_equal(query.batches[1, :2], [[1, 2, -1, -1], [3, 4, -1, -1]])
    assert (query.batches[1, 2:] == -1).all()
    assert query.learning_rates[1].sum() == 0.75
    np.testing.assert_array_equal(query.first[1], runs[1].metrics["loss"][0])


def test_runs_are_grouped_by_their_steps_and_stacked_with_padding():
    runs = list(synthetic(3)[0].runs)
    runs[1] = replace(runs[1], steps=runs[1].steps[:2], metrics={"loss": runs[1].metrics["loss"][:2]})
    assert same_steps(runs) == [[0, 2], [1]]
    whole = stacked([run.metrics["loss"] for run in runs])
    assert whole.shape == (3, 7, 8)
    assert np.isnan(whole[1, 2:]).all()
    np.testing.assert_array_equal(whole[2], runs[2].metrics["loss"])


def test_thinning_keeps_the_first_every_kth_and_the_last_recorded_step():
    dynamics, _ = synthetic(2)
    run = dynamics.runs[0]
    found = thinned(run, 5)
    rows = sorted({*range(0, len(run.steps), 5), len(run.steps) - 1})
    np.testing.assert_array_equal(found.steps, run.steps[rows])
    np.testing.assert_array_equal(found.metrics["loss"], run.metrics["loss"][rows])
    assert found.curriculum is run.curriculum
    assert thinned(run, 1) is run


def test_derivatives_of_rows_left_out_count_at_the_next_row_kept():
    run = synthetic(1)[0].runs[0]
    changes = np.random.default_rng(0).normal(size=run.metrics["loss"].shape)
    changes[0] = 0
    summed = np.cumsum(changes, axis=0)
    run = replace(run, derivatives={"gradient": changes})
    for rows in ([0, 2, 5], [1, 2, 4], [3], []):
        cut = cut_run(run, np.array(rows, dtype=int))
        expected = summed[rows] - (summed[rows[0]] if rows else 0)
        np.testing.assert_allclose(np.cumsum(cut.derivatives["gradient"], axis=0), expected, atol=1e-12)
        assert cut.derivatives["gradient"].shape == cut.metrics["loss"].shape


def test_a_query_has_the_derivatives_that_all_runs_have():
    runs = [
        replace(run, derivatives=dict.fromkeys(names, run.metrics["loss"]))
        for run, names in zip(synthetic(2)[0].runs, (("gradient", "update"), ("update",)), strict=True)
    ]
    query = query_for(runs, LOSS)
    assert list(query.derivatives) == ["update"]
    np.testing.assert_array_equal(query.derivatives["update"][1], runs[1].metrics["loss"])
    assert query_for(synthetic(2)[0].runs, LOSS).derivatives == {}
