"""Mean-run and the classes, against least squares."""

from dataclasses import replace

import numpy as np
import pytest

from gptfl.core import Unseen
from gptfl.errors import DataError, UsageError
from gptfl.estimators.baselines import MeanRun
from gptfl.estimators.class_share import ClassShare
from gptfl.scores.pointwise import skill
from tests.estimators.questions import data_of, only_first, query_of, unseen_of
from tests.synthetic import synthetic


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
