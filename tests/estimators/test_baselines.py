from dataclasses import replace

import numpy as np
import pytest

from gptfl.core import FitData, Query, Unseen
from gptfl.errors import DataError, UsageError
from gptfl.estimators.baselines import MeanRun, Persistence
from gptfl.estimators.class_share import ClassShare
from gptfl.estimators.unseen_tests import extrapolated
from gptfl.plugins.registry import get_registry
from gptfl.scores.pointwise import skill
from tests.synthetic import LOSS, synthetic


def data_of(dynamics, runs=None):
    runs = dynamics.runs if runs is None else runs
    fit = tuple(r for r in runs if r.role == "fit")
    return FitData(dynamics.pool, dynamics.test, LOSS, fit, tuple(r for r in runs if r.role == "validation"))


def query_of(runs):
    return Query(
        np.stack([r.curriculum.batches for r in runs]),
        np.stack([r.curriculum.learning_rates for r in runs]),
        runs[0].steps,
        np.stack([r.metrics["loss"][0] for r in runs]),
    )


@pytest.mark.parametrize("estimator", [Persistence, MeanRun, ClassShare])
def test_state_restores_the_same_predictions(estimator):
    dynamics, _ = synthetic()
    fitted = estimator().fit(data_of(dynamics))
    query = query_of(dynamics.with_role("test"))
    again = estimator(**fitted.settings()).restore(fitted.state())
    np.testing.assert_array_equal(again.predict(query).values, fitted.predict(query).values)
    assert fitted.predict(query).values.shape == (len(query.first), len(query.steps), 8)
    np.testing.assert_array_equal(fitted.predict(query).values[:, 0], query.first)


@pytest.mark.parametrize("name", ["persistence", "mean-run", "class-share"])
def test_registered_under_their_names(name):
    assert get_registry().make("estimator", name).name == name


def test_persistence_repeats_the_first_value():
    dynamics, _ = synthetic(runs=4)
    query = query_of(dynamics.runs)
    values = Persistence().fit(data_of(dynamics)).predict(query).values
    for step in range(len(query.steps)):
        np.testing.assert_array_equal(values[:, step], query.first)


def test_mean_run_averages_fit_and_validation_runs():
    dynamics, _ = synthetic()
    learned = [r.metrics["loss"] for r in dynamics.runs if r.role != "test"]
    values = MeanRun().fit(data_of(dynamics)).predict(query_of(dynamics.with_role("test"))).values
    np.testing.assert_allclose(values[0, 1:], np.mean(learned, axis=0)[1:])
    np.testing.assert_array_equal(values[0, 1:], values[-1, 1:])


@pytest.mark.parametrize("estimator", [MeanRun, ClassShare])
def test_refuses_to_go_past_what_was_recorded(estimator):
    dynamics, _ = synthetic()
    query = query_of(dynamics.runs[:2])
    with pytest.raises(DataError, match="step 19 is outside steps 0 to 18"):
        estimator().fit(data_of(dynamics)).predict(replace(query, steps=np.array([0, 19])))


@pytest.mark.parametrize("estimator", [MeanRun, ClassShare])
def test_refuses_other_test_examples(estimator):
    dynamics, _ = synthetic()
    query = query_of(dynamics.runs[:2])
    with pytest.raises(DataError, match="asked for 3 test examples, fitted on 8"):
        estimator().fit(data_of(dynamics)).predict(replace(query, first=query.first[:, :3]))


@pytest.mark.parametrize("estimator", [MeanRun, ClassShare])
def test_no_run_and_no_common_step_are_refused(estimator):
    dynamics, _ = synthetic(runs=4)
    with pytest.raises(DataError, match="no run to fit"):
        estimator().fit(data_of(dynamics, ()))
    values = dynamics.runs[0].metrics["loss"].copy()
    values[:, 2] = np.nan
    with pytest.raises(DataError, match="no step at which loss is known"):
        estimator().fit(data_of(dynamics, (replace(dynamics.runs[0], metrics={"loss": values}),)))


@pytest.mark.parametrize("estimator", [MeanRun, ClassShare])
@pytest.mark.parametrize("spoil", ["missing", "flat", "short"])
def test_restore_refuses_a_damaged_state(estimator, spoil):
    state = dict(estimator().fit(data_of(synthetic()[0])).state())
    if spoil == "missing":
        del state["steps"]
    else:
        state["steps"] = state["steps"][:-1] if spoil == "short" else np.array(1)
    with pytest.raises(DataError, match="fit it again"):
        estimator().restore(state)


def test_class_share_explains_what_classes_do():
    dynamics, _ = synthetic(runs=36, example_effect=0.0, class_effect=2.0)
    held_out = dynamics.with_role("test")
    recorded = np.stack([r.metrics["loss"] for r in held_out])
    data, query = data_of(dynamics), query_of(held_out)
    mean_run = MeanRun().fit(data).predict(query).values
    assert skill(ClassShare().fit(data).predict(query).values, recorded, mean_run) > 0.8


def test_class_share_falls_back_to_the_mean_where_classes_do_nothing():
    dynamics, _ = synthetic(runs=8, example_effect=0.0, class_effect=0.0, noise=0.1)
    held_out = dynamics.runs[3:4]
    recorded = np.stack([r.metrics["loss"] for r in held_out])
    data, query = data_of(dynamics), query_of(held_out)
    mean_run = MeanRun().fit(data).predict(query).values
    assert skill(ClassShare().fit(data).predict(query).values, recorded, mean_run) > -0.2


def test_class_share_of_one_run_is_that_run():
    dynamics, _ = synthetic(runs=1)
    values = ClassShare().fit(data_of(dynamics)).predict(query_of(dynamics.runs)).values
    np.testing.assert_allclose(values[0], dynamics.runs[0].metrics["loss"])


def test_class_share_matches_a_least_squares_fit_when_hardly_penalised():
    dynamics, _ = synthetic()
    data, query = data_of(dynamics), query_of(dynamics.with_role("test"))
    fitted = ClassShare(strength=1e-9).fit(data)

    def share(run):
        size = np.repeat(run.curriculum.learning_rates, 4)
        return (size * (run.curriculum.batches.ravel() % 2)).sum() / size.sum()

    learned = data.fit_runs + data.validation_runs
    design = np.array([[1.0, share(run)] for run in learned])
    target = np.stack([run.metrics["loss"][-1] for run in learned])
    weights = np.linalg.lstsq(design, target, rcond=None)[0]
    expected = np.array([[1.0, share(run)] for run in dynamics.with_role("test")]) @ weights
    np.testing.assert_allclose(fitted.predict(query).values[:, -1], expected, atol=1e-6)


def test_class_share_takes_missing_values():
    dynamics, _ = synthetic()
    first = dynamics.runs[0]
    values = first.metrics["loss"].copy()
    values[-1, 0] = np.nan
    holed = replace(dynamics, runs=(replace(first, metrics={"loss": values}), *dynamics.runs[1:]))
    without = replace(dynamics, runs=dynamics.runs[1:])
    query = query_of(dynamics.with_role("test"))
    got, full, fewer = (ClassShare(1.0).fit(data_of(d)).predict(query).values for d in (holed, dynamics, without))
    np.testing.assert_allclose(got[:, -1, 0], fewer[:, -1, 0])
    np.testing.assert_allclose(got[:, -1, 1:], full[:, -1, 1:])


def test_class_share_needs_classes_and_a_sound_strength():
    dynamics, _ = synthetic(classes=0)
    with pytest.raises(DataError, match="needs the class of every pool example"):
        ClassShare().fit(data_of(dynamics))
    for strength in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match=r"strength is .*: give a positive number"):
            ClassShare(strength)


def test_class_share_refuses_examples_it_does_not_know():
    dynamics, _ = synthetic()
    query = query_of(dynamics.runs[:1])
    with pytest.raises(DataError, match="class it doesn't know"):
        ClassShare().fit(data_of(dynamics)).predict(replace(query, batches=query.batches + 24))


def in_mixture(examples):
    """Every second example is of a task without classes."""
    return tuple(
        replace(e, fields={"task": "sst2"}) if i % 4 < 2 else replace(e, choices=(), label=None, fields={"task": "wmt"})
        for i, e in enumerate(examples)
    )


def test_class_share_takes_a_task_without_classes_as_one():
    dynamics, _ = synthetic()
    mixed = replace(dynamics, pool=in_mixture(dynamics.pool), test=in_mixture(dynamics.test))
    classes = [0 if i % 4 == 0 else 1 if i % 4 == 1 else 2 for i in range(len(dynamics.pool))]
    numbered = (replace(e, label=c, choices=()) for e, c in zip(dynamics.pool, classes, strict=True))
    numbered_dynamics = replace(dynamics, pool=tuple(numbered))
    query = query_of(dynamics.with_role("test"))
    fitted = ClassShare().fit(data_of(mixed))
    assert fitted.slope_.shape[1] == 3
    np.testing.assert_array_equal(
        fitted.predict(query).values, ClassShare().fit(data_of(numbered_dynamics)).predict(query).values
    )


def test_class_share_keeps_the_classes_of_two_tasks_apart():
    dynamics, _ = synthetic()
    pool = tuple(replace(e, fields={"task": ("rte", "sst2")[i % 3 == 0]}) for i, e in enumerate(dynamics.pool))
    assert ClassShare().fit(data_of(replace(dynamics, pool=pool))).slope_.shape[1] == 4


def unseen_of(dynamics, pool, test):
    """A question about the whole recording by an estimator that was fitted to its first test examples."""
    seen = np.arange(len(dynamics.test))
    return Unseen(dynamics.pool, dynamics.test, np.arange(pool), np.where(seen < test, seen, -1))


def only_first(data, test):
    runs = tuple(replace(run, metrics={"loss": run.metrics["loss"][:, :test]}) for run in data.fit_runs)
    return replace(data, test=data.test[:test], fit_runs=runs, validation_runs=())


def test_mean_run_extrapolates_the_average_change_to_unseen_test_examples():
    dynamics, _ = synthetic(8)
    query = replace(query_of(dynamics.runs), unseen=unseen_of(dynamics, 24, 6))
    fitted = MeanRun().fit(only_first(data_of(dynamics), 6))
    values = fitted.predict(query).values
    assert values.shape[2] == 8
    np.testing.assert_array_equal(values[:, 0], query.first)
    plain = fitted.predict(replace(query, first=query.first[:, :6], unseen=None)).values
    np.testing.assert_array_equal(values[:, :, :6], plain)
    np.testing.assert_allclose(values[:, :, 6:], extrapolated(fitted.mean_, query.first[:, 6:]))


def test_class_share_moves_an_unseen_test_example_as_those_of_its_class_do():
    dynamics, _ = synthetic(10)
    query = replace(query_of(dynamics.runs), unseen=unseen_of(dynamics, 24, 6))
    fitted = ClassShare(1e-3).fit(only_first(data_of(dynamics), 6))
    values = fitted.predict(query).values
    plain = fitted.predict(replace(query, first=query.first[:, :6], unseen=None)).values
    np.testing.assert_allclose(values[:, :, :6], plain)
    base = MeanRun().fit(only_first(data_of(dynamics), 6)).predict(query).values[:, :, 6:]
    for run in range(len(query.first)):
        for step in range(1, len(query.steps)):
            own = fitted.shares_of(dynamics.runs[run])[0, step]
            for column, example in enumerate(dynamics.test[6:]):
                kin = [i for i in range(6) if dynamics.test[i].label == example.label]
                pull = (own - fitted.share_[step]) @ fitted.slope_[step][:, kin].mean(axis=1)
                assert values[run, step, 6 + column] == pytest.approx(base[run, step, column] + pull)


def test_class_share_counts_a_new_training_example_for_its_class():
    dynamics, _ = synthetic(8)
    fitted = ClassShare(0.1).fit(data_of(dynamics))
    query = query_of(dynamics.runs)
    twin = replace(dynamics.pool[3], id="twin")
    unseen = Unseen((*dynamics.pool, twin), dynamics.test, np.append(np.arange(24), -1), np.arange(8))
    batches = np.where(query.batches == 3, 24, query.batches)
    assert (batches == 24).any()
    values = fitted.predict(replace(query, batches=batches, unseen=unseen)).values
    np.testing.assert_array_equal(values, fitted.predict(query).values)
    strange = replace(unseen, pool=(*dynamics.pool, replace(twin, label=None)))
    with pytest.raises(DataError, match="training example 'twin' is of no class that it was fitted to"):
        fitted.predict(replace(query, batches=batches, unseen=strange))


def test_a_class_share_of_before_answers_what_it_could():
    dynamics, _ = synthetic(8)
    fitted = ClassShare(0.1).fit(only_first(data_of(dynamics), 6))
    old = {name: array for name, array in fitted.state().items() if name not in ("share", "test_classes")}
    restored = ClassShare(0.1).restore(old)
    query = query_of(dynamics.runs)
    plain = replace(query, first=query.first[:, :6])
    np.testing.assert_array_equal(restored.predict(plain).values, fitted.predict(plain).values)
    with pytest.raises(DataError, match="fitted before there were unseen test examples: run gptfl fit again"):
        restored.predict(replace(query, unseen=unseen_of(dynamics, 24, 6)))
    with pytest.raises(DataError, match="'test_classes' is missing"):
        ClassShare(0.1).restore({**old, "share": fitted.share_})
