from dataclasses import replace

import numpy as np
import pytest

from gptfl.core import Curriculum, Features, FitData, Query, Run, Unseen
from gptfl.core.curriculum import linear_decay
from gptfl.errors import DataError, UsageError
from gptfl.estimators.baselines import MeanRun
from gptfl.estimators.gptfluence.estimator import GPTfluence
from gptfl.testing import check_estimator
from gptfl.testing.synthetic import make_dynamics, make_features, make_query

ALL = {"anchored": True, "step_size": True, "rollout": "all", "around": "mean-run"}
COMBINED = [
    {"anchored": True},
    {"step_size": True},
    {"rollout": 3},
    {"around": "mean-run"},
    {"anchored": True, "step_size": True, "rollout": "all"},
    {**ALL, "order": 2},
    {"step_size": True, "around": "mean-run", "shared": True},
]


def lawful(runs: int = 24) -> tuple[list[Run], Features]:
    """Runs whose loss moves by step size times an inner product of the vectors, on top of a common decay."""
    dynamics = make_dynamics(runs=runs, pool=20, test=6, steps=16, batch_size=4)
    features = make_features(dynamics, width=4)
    vectors = features.sets["text"]
    effect = 0.3 * vectors.train @ vectors.test.T
    made = []
    for run in dynamics.runs:
        values = [np.full(6, 3.0)]
        for t, (batch, rate) in enumerate(zip(run.curriculum.batches, run.curriculum.learning_rates, strict=True)):
            values.append(values[-1] - 0.2 * np.exp(-t / 5) + rate * effect[batch].sum(axis=0))
        made.append(replace(run, metrics={"loss": np.array(values)}))
    return made, features


def fit_data(runs: list[Run], features: Features) -> FitData:
    dynamics = make_dynamics(runs=2, pool=20, test=6, steps=16, batch_size=4)
    fit, validation = (tuple(run for run in runs if run.role == role) for role in ("fit", "validation"))
    return FitData(dynamics.pool, dynamics.test, dynamics.metrics["loss"], fit, validation, features)


def queried(runs: list[Run]) -> tuple[Query, np.ndarray]:
    tested = [run for run in runs if run.role == "test"]
    return make_query(tested), np.stack([run.metrics["loss"] for run in tested])


@pytest.mark.parametrize("settings", COMBINED)
def test_every_combination_keeps_an_estimators_promises(settings: dict) -> None:
    check_estimator(GPTfluence, epochs=20, width=4, **settings)


def test_a_law_of_step_sizes_and_a_common_course_is_recovered() -> None:
    runs, features = lawful()
    query, values = queried(runs)
    mean = np.mean([run.metrics["loss"] for run in runs if run.role != "test"], axis=0)
    quick = {"width": 8, "epochs": 300, "learning_rate": 3e-3, "weight_decay": 0.0, "projection": "linear"}

    def unexplained(**settings: object) -> float:
        predicted = GPTfluence(**quick, **settings).fit(fit_data(runs, features)).predict(query).values
        return float(np.square(predicted - values).sum() / np.square(mean - values).sum())

    found = {step_size: unexplained(**{**ALL, "rollout": 4, "step_size": step_size}) for step_size in (True, False)}
    assert found[True] < 0.02
    assert found[True] < found[False] / 2


def test_a_smaller_learning_rate_changes_less_with_step_sizes_and_nothing_without() -> None:
    runs, features = lawful(12)
    query, _ = queried(runs)
    slow = replace(query, learning_rates=query.learning_rates / 1000)
    for settings in ({"anchored": True}, {}):
        sized = GPTfluence(**settings, step_size=True, epochs=50).fit(fit_data(runs, features))
        assert sized.tags.ignores == frozenset()
        assert np.abs(sized.predict(slow).values - query.first[:, None]).max() < 0.02
        plain = GPTfluence(**settings, epochs=50).fit(fit_data(runs, features))
        assert plain.tags.ignores == {"learning rates"}
        np.testing.assert_array_equal(plain.predict(slow).values, plain.predict(query).values)


def test_anchored_factors_of_nothing_are_persistence() -> None:
    runs, features = lawful(12)
    query, _ = queried(runs)
    fitted = GPTfluence(anchored=True, start="persistence", epochs=0).fit(fit_data(runs, features))
    for name in fitted.parameters_:
        fitted.parameters_[name] *= 0
    np.testing.assert_allclose(
        fitted.predict(query).values, np.repeat(query.first[:, None], len(query.steps), axis=1), rtol=1e-6
    )


def test_around_the_mean_run_nothing_learned_is_the_mean_run() -> None:
    runs, features = lawful(12)
    query, _ = queried(runs)
    fitted = GPTfluence(anchored=True, around="mean-run", epochs=0).fit(fit_data(runs, features))
    state = {
        name: array * 0 if name in fitted.parameters_ or name == "mean.sums" else array
        for name, array in fitted.state().items()
    }
    fitted.restore(state)
    mean = np.mean([run.metrics["loss"] for run in runs if run.role != "test"], axis=0)
    np.testing.assert_allclose(fitted.predict(query).values[:, 1:], np.stack([mean[1:]] * len(query.first)), rtol=1e-5)


def test_the_mean_run_ends_where_the_recording_does() -> None:
    runs, features = lawful(12)
    query, _ = queried(runs)
    longer = replace(
        query,
        batches=np.concatenate([query.batches, query.batches], axis=1),
        learning_rates=np.concatenate([query.learning_rates] * 2, axis=1),
        steps=np.arange(20),
    )
    fitted = GPTfluence(around="mean-run", epochs=1).fit(fit_data(runs, features))
    with pytest.raises(
        DataError, match=r"step sizes add up to .* by step 17, those of the recorded runs to at most 0\.85"
    ):
        fitted.predict(longer)
    old = GPTfluence(around="mean-run").restore({k: v for k, v in fitted.state().items() if k != "clock"})
    with pytest.raises(DataError, match="step 17 is outside steps 0 to 16"):
        old.predict(longer)


OTHER_RATES = {
    "a third": linear_decay(0.1, 16) / 3,
    "fewer and larger": linear_decay(0.15, 8),
    "more and smaller": linear_decay(0.05, 32),
    "a pause": np.r_[np.zeros(3), np.full(13, 0.05)],
}


@pytest.mark.parametrize(
    "settings", [{}, {"anchored": True}, {"step_size": True}, {"anchored": True, "step_size": True}]
)
@pytest.mark.parametrize("rates", OTHER_RATES.values(), ids=OTHER_RATES)
def test_at_other_step_sizes_the_mean_run_is_taken_by_the_clock(settings: dict, rates: np.ndarray) -> None:
    runs, features = lawful(12)
    data = fit_data(runs, features)
    fitted = GPTfluence(**settings, around="mean-run", epochs=0, start="random").fit(data)
    query, _ = queried(runs)
    # All of them see what the runs did on average, as far as their factors go: the same example again and again.
    for name, value in fitted.parameters_.items():
        if not name.endswith("bias"):
            fitted.parameters_[name] = 0 * value
    train, _ = fitted.sides_.project(fitted.parameters_)
    course = fitted.course_[0]
    fitted.course_ = course, course.totals[None, :, None] * train[:, :1]
    many = np.resize(query.batches, (2, len(rates), query.batches.shape[2]))
    steps = np.unique(np.append(np.arange(0, len(rates), 3), len(rates)))
    other = replace(query, batches=many, learning_rates=np.tile(rates, (2, 1)), steps=steps, first=query.first[:2])
    mean = MeanRun().fit(data).predict(other).values
    np.testing.assert_allclose(fitted.predict(other).values[:, 1:], mean[:, 1:], rtol=2e-3, atol=2e-3)
    again = GPTfluence(**settings, around="mean-run").restore(fitted.state())
    np.testing.assert_array_equal(again.predict(other).values, fitted.predict(other).values)


def test_before_there_was_a_clock_each_step_stood_for_itself() -> None:
    runs, features = lawful(8)
    fitted = GPTfluence(around="mean-run", epochs=2).fit(fit_data(runs, features))
    query, _ = queried(runs)
    slow = replace(query, learning_rates=query.learning_rates / 2)
    assert np.abs(fitted.predict(slow).values - fitted.predict(query).values).max() > 0.01
    old = GPTfluence(around="mean-run").restore({k: v for k, v in fitted.state().items() if k != "clock"})
    np.testing.assert_array_equal(old.predict(slow).values, fitted.predict(query).values)


@pytest.mark.parametrize("settings", COMBINED)
def test_the_same_seed_gives_the_same_bits(settings: dict) -> None:
    runs, features = lawful(8)
    states = [GPTfluence(epochs=10, **settings).fit(fit_data(runs, features)).state() for _ in range(2)]
    assert all(np.array_equal(states[0][name], states[1][name]) for name in states[0])


def test_a_broken_state_of_the_options_is_refused() -> None:
    runs, features = lawful(8)
    state = dict(GPTfluence(epochs=0, **ALL).fit(fit_data(runs, features)).state())
    for name, array, problem in (
        ("rate", None, "lacks array 'rate'"),
        ("rate", np.float32(0), "mean learning rate 0.0 is out of range"),
        ("mean.values", None, "lacks array 'mean.values'"),
        ("mean.values", np.zeros((17, 5)), "mean run doesn't fit"),
        ("mean.steps", np.zeros(17), "mean run doesn't fit"),
        ("mean.sums", np.zeros((2, 3, 4), np.float32), "mean run doesn't fit"),
    ):
        broken = {key: value for key, value in {**state, name: array}.items() if value is not None}
        with pytest.raises(DataError, match=problem):
            GPTfluence(epochs=0, **ALL).restore(broken)


def test_a_simulator_from_before_the_options_is_restored() -> None:
    runs, features = lawful(8)
    fitted = GPTfluence(epochs=5).fit(fit_data(runs, features))
    old = {name: value for name, value in fitted.settings().items() if name not in ALL}
    query, _ = queried(runs)
    restored = GPTfluence(**old).restore(fitted.state())
    np.testing.assert_array_equal(restored.predict(query).values, fitted.predict(query).values)


def test_step_sizes_of_nothing_are_refused() -> None:
    runs, features = lawful(8)
    still = [replace(run, curriculum=Curriculum(run.curriculum.batches, np.zeros(16))) for run in runs]
    with pytest.raises(DataError, match="the mean learning rate of the runs to fit is 0"):
        GPTfluence(step_size=True, epochs=0).fit(fit_data(still, features))


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"anchored": "yes"}, "anchored is 'yes': give true or false"),
        ({"step_size": 1}, "step_size is 1: give true or false"),
        ({"rollout": 0}, "rollout is 0: give a whole number of at least 1, or all"),
        ({"rollout": "whole"}, "rollout is 'whole': give a whole number of at least 1, or all"),
        ({"around": "mean"}, "around is 'mean': give nothing or mean-run"),
    ],
)
def test_senseless_options_are_refused(settings: dict, problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        GPTfluence(**settings)
    assert problem in str(caught.value)


def test_the_fit_hears_nothing_of_the_validation_runs_through_the_mean_run() -> None:
    runs, features = lawful(12)
    data = fit_data(runs, features)
    assert data.validation_runs
    raised = [replace(run, metrics={"loss": run.metrics["loss"] + 0.1}) for run in data.validation_runs]
    settings = {**ALL, "epochs": 10}
    # So few epochs end at the same parameters if the gradients are the same.
    one, other = (
        GPTfluence(**settings).fit(replace(data, validation_runs=tuple(validation))).parameters_
        for validation in (data.validation_runs, raised)
    )
    assert all(bool((one[name] == other[name]).all()) for name in one)


def test_gradients_are_standardised_on_each_side() -> None:
    runs, _ = lawful(12)
    gradients = make_features(make_dynamics(runs=2, pool=20, test=6, steps=16, batch_size=4), width=4, kind="gradient")
    text = gradients.sets["text"]
    divided = replace(gradients, sets={"text": replace(text, train=text.train * 500)})
    query, _ = queried(runs)
    fits = [GPTfluence(epochs=5).fit(fit_data(runs, one)) for one in (gradients, divided)]
    plain, scaled = (fitted.predict(query).values for fitted in fits)
    np.testing.assert_allclose(plain, scaled, rtol=1e-4)
    unseen = Unseen(
        *(fit_data(runs, divided).pool, fit_data(runs, divided).test), np.arange(20), np.full(6, -1), divided
    )
    again = GPTfluence(epochs=5).restore(fits[1].state())
    # Nothing of the test side is taken for seen, and yet its vectors come out where the fit has them.
    np.testing.assert_allclose(again.predict(replace(query, unseen=unseen)).values, scaled, rtol=1e-5)
