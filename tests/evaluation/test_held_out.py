"""Divisions of runs that their design knows more about: pairs, repeats, a reserve."""

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest

from gptfl.api.compare import compare
from gptfl.api.learning_curve import learning_curve
from gptfl.core import REPEAT
from gptfl.core.splits import most_folds, stored_split
from gptfl.errors import DataError, ResourceError, UsageError
from gptfl.evaluation import held_out
from gptfl.evaluation.held_out import divided, folds_for
from gptfl.report.footnotes import footnotes
from gptfl.simulation.fitting import fit_or_load
from gptfl.simulation.unseen import hold_out_examples
from gptfl.store.recordings import write_dynamics
from tests.synthetic import synthetic


def of_design(design, runs=24, **settings):
    dynamics = synthetic(runs)[0]
    return replace(dynamics, settings={**dynamics.settings, "design": design, **settings})


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_pairs_stay_together(folds):
    dynamics = of_design("leave-out")
    splits = divided(dynamics, dynamics.runs, folds)
    assert sorted(run.index for split in splits for run in split.test) == list(range(24))
    for split in splits:
        for part in (split.fit, split.validation, split.test):
            own = {run.index for run in part}
            assert own == {index ^ 1 for index in own}


def test_more_folds_than_pairs_are_refused():
    dynamics = of_design("leave-out", 8)
    with pytest.raises(UsageError, match="--folds 5 is more than the 4 pairs of 8 runs: give at most --folds 4"):
        divided(dynamics, dynamics.runs, 5)


def reordered(run, index, seed):
    """A run on the same examples in another order, as an importer sees it."""
    batches = np.random.default_rng(seed).permutation(run.curriculum.batches)
    return replace(run, index=index, curriculum=replace(run.curriculum, batches=batches))


@pytest.mark.parametrize("folds", [2, 3, 4])
def test_runs_on_the_same_examples_stay_together_whatever_the_design_is_called(folds):
    plain = of_design("uniform", 8)
    runs = [reordered(run, 3 * run.index + order, order) for run in plain.runs for order in range(3)]
    splits = divided(replace(plain, runs=tuple(runs)), runs, folds)
    assert sorted(run.index for split in splits for run in split.test) == list(range(24))
    for split in splits:
        assert {run.index // 3 for run in split.test} == {unit for unit in range(8) if unit % folds == split.fold}
        for part in (split.fit, split.validation, split.test):
            assert {run.index for run in part} == {3 * (run.index // 3) + o for run in part for o in range(3)}
    with pytest.raises(UsageError, match="--folds 9 is more than the 8 groups that belong together of 24 runs: give"):
        divided(plain, runs, 9)


def test_held_out_runs_of_an_imported_recording_are_drawn_by_what_belongs_together(tmp_path):
    plain = synthetic(8)[0]
    runs = tuple(reordered(run, 3 * run.index + order, order) for run in plain.runs for order in range(3))
    write_dynamics(tmp_path / "a.dynamics.h5", replace(plain, runs=runs))
    found = compare(workspace=tmp_path, estimators=[], folds=4, figure=False)
    assert found.held_out.independent == 8
    own = {name: int(unit) for name, unit in zip(found.held_out.names, found.held_out.sampling.units, strict=True)}
    assert own == {f"run-{index:04d}": index // 3 for index in range(24)}
    assert "intervals over the 8 groups of runs" in " ".join(footnotes(found))


def test_a_sweep_over_runs_holds_out_what_belongs_together(tmp_path):
    plain = synthetic(4)[0]
    runs = tuple(reordered(run, 3 * run.index + order, order) for run in plain.runs for order in range(3))
    write_dynamics(tmp_path / "a.dynamics.h5", replace(plain, runs=runs))
    with pytest.raises(UsageError, match=r"--held-out 4 parts runs that belong together .*: give --held-out 3"):
        learning_curve([2], workspace=tmp_path, estimators=["class-share"], held_out=4, figure=False)


def test_orders_of_one_subset_are_divided_all_the_same():
    plain = of_design("uniform", 1)
    runs = [reordered(plain.runs[0], index, index) for index in range(6)]
    assert [[run.index for run in split.test] for split in divided(plain, runs, 3)] == [[0, 3], [1, 4], [2, 5]]


def test_repeats_neither_teach_nor_test():
    dynamics = of_design("contrast")
    runs = [replace(run, role=REPEAT) if run.index >= 20 else run for run in dynamics.runs]
    for split in (*divided(dynamics, runs, 4), stored_split(runs)):
        assert all(run.index < 20 for part in (split.fit, split.validation, split.test) for run in part)
    assert most_folds(runs[19:]) is None
    with pytest.raises(DataError, match="no usable run is held out"):
        divided(dynamics, runs[20:], None)


def test_blocks_of_the_repeat_design_count_as_one_run():
    dynamics = of_design("repeat", 16)
    runs = [run if run.index % 4 == 0 else replace(run, role=REPEAT) for run in dynamics.runs]
    splits = divided(dynamics, runs, 4)
    assert [[run.index for run in split.test] for split in splits] == [[0], [4], [8], [12]]


def test_a_reserve_decides_what_is_held_out_only_where_it_is_what_is_set_aside():
    plain = of_design("contrast")
    assert folds_for(plain, None, 4) == (4, ())
    marked = tuple(replace(e, fields={"reserved": True}) if i < 4 else e for i, e in enumerate(plain.pool))
    dynamics = replace(of_design("contrast", reserve_pool=4), pool=marked)
    reserved, shared = hold_out_examples(dynamics, "train", None, 1), hold_out_examples(dynamics, "train", 0.2, 1)
    assert folds_for(dynamics, reserved, 4)[0] is None
    assert "--folds 4 changes nothing" in folds_for(dynamics, reserved, 4)[1][0]
    assert "4 reserved examples" in folds_for(dynamics, reserved, None)[1][0]
    assert folds_for(dynamics, shared, 4) == (4, ())
    assert folds_for(dynamics, hold_out_examples(dynamics, "test", None, 1), 4) == (4, ())
    assert "a reserve of 4 that no run to fit has" in folds_for(dynamics, None, None)[1][0]


def test_no_more_than_one_fit_is_held_at_a_time(space, monkeypatch):
    made: list[weakref.ref] = []
    most = 0

    def watched(named, *rest):
        nonlocal most
        gc.collect()
        most = max(most, sum(one() is not None for one in made))
        made.append(weakref.ref(named.estimator))
        return fit_or_load(named, *rest)

    monkeypatch.setattr(held_out, "fit_or_load", watched)
    comparison = compare(workspace=space, estimators=["exposure-gp"], folds=3, figure=False)
    assert len(made) >= 3
    assert most <= 1
    assert all(row.scores for row in comparison.rows)


def test_too_little_memory_for_one_is_a_row_with_the_reason(space, monkeypatch):
    def full(named, *rest):
        if named.part.name == "class-share":
            raise ResourceError("class-share takes up to 90 GB of memory, where 16 GB are free", "ask of less")
        return fit_or_load(named, *rest)

    monkeypatch.setattr(held_out, "fit_or_load", full)
    rows = {row.estimator: row for row in compare(workspace=space, estimators=["mean-run"], folds=3, figure=False).rows}
    assert rows["class-share"].error == "class-share takes up to 90 GB of memory, where 16 GB are free: ask of less"
    assert rows["mean-run"].error is None
