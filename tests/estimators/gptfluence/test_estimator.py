from dataclasses import replace

import numpy as np
import pytest
import torch

from gptfl.core import Curriculum, Example, Features, FeatureSet, FitData, MetricInfo, Query, Run, Unseen, role_of
from gptfl.errors import DataError, UsageError
from gptfl.estimators.gptfluence.estimator import GPTfluence
from gptfl.estimators.gptfluence.recurrence import rollout
from gptfl.estimators.gptfluence.update_rule import UpdateRule

POOL, TEST, STEPS, BATCH = 20, 6, 16, 4
LOSS = MetricInfo("loss", higher_is_better=False)


def recording(runs: int = 24, order: int = 1, every: int = 1, seed: int = 0) -> tuple[list[Run], Features]:
    """Runs of a recurrence whose factors are inner products of affine maps of the vectors."""
    random, size = np.random.default_rng(seed), BATCH * every
    vectors = {side: random.normal(size=(n, 4)) for side, n in (("train", POOL), ("test", TEST))}
    train, test = np.zeros((order + 1, POOL, 5)), np.zeros((order + 1, TEST, 5))
    for factor, (mean, spread) in enumerate([(0.95 if order == 1 else 1.3, 0.02), (-0.35, 0.02), (0.1, 0.1)]):
        place = factor if factor < order else order
        if factor == 1 and order == 1:
            continue
        train[place, :, 0], test[place, :, 0] = mean / size, 1.0
        train[place, :, 1:] = vectors["train"] * spread / size
        test[place, :, 1:] = vectors["test"]
    steps = np.arange(0, STEPS + 1, every)
    first = random.uniform(1, 3, size=TEST)
    made = []
    for index in range(runs):
        members = random.permutation(POOL)[: POOL // 2]
        batches = random.choice(members, size=(STEPS, BATCH))
        values = rollout(
            torch.from_numpy(train), torch.from_numpy(test), batches[None], steps, first[None], UpdateRule(size)
        )[0]
        made.append(Run(index, index, role_of(index), Curriculum(batches, np.ones(STEPS)), steps, {"loss": values}))
    sets = {"vectors": FeatureSet(vectors["train"].astype(np.float32), vectors["test"].astype(np.float32))}
    return made, Features("made", {}, "", sets)


def fit_data(runs: list[Run], features: Features | None, seed: int = 0) -> FitData:
    pool, test = (tuple(Example(f"{name}-{i}", "", "") for i in range(n)) for name, n in (("p", POOL), ("t", TEST)))
    by_role = {role: tuple(run for run in runs if run.role == role) for role in ("fit", "validation")}
    return FitData(pool, test, LOSS, by_role["fit"], by_role["validation"], features, seed)


def held_out(runs: list[Run]) -> tuple[Query, np.ndarray, np.ndarray]:
    """What to ask about the test runs, their recorded values, and the average run to fit."""
    tested = [run for run in runs if run.role == "test"]
    values = np.stack([run.metrics["loss"] for run in tested])
    query = Query(
        np.stack([run.curriculum.batches for run in tested]),
        np.stack([run.curriculum.learning_rates for run in tested]),
        tested[0].steps,
        values[:, 0],
    )
    return query, values, np.mean([run.metrics["loss"] for run in runs if run.role == "fit"], axis=0)


def skill(estimator: GPTfluence, runs: list[Run]) -> float:
    query, values, mean = held_out(runs)
    predicted = estimator.predict(query).values
    assert np.array_equal(predicted[:, 0], query.first)
    return 1 - float(np.square(predicted - values).sum() / np.square(mean - values).sum())


QUICK = {"width": 16, "epochs": 1500, "learning_rate": 3e-3, "weight_decay": 0.0}


@pytest.mark.parametrize(
    ("settings", "order", "every"),
    [
        ({}, 1, 1),
        ({"projection": "linear"}, 1, 1),
        ({"order": 2, "projection": "linear"}, 2, 1),
        ({"projection": "linear"}, 1, 2),
    ],
)
def test_a_recurrence_of_its_own_form_is_recovered(settings: dict, order: int, every: int) -> None:
    runs, features = recording(order=order, every=every)
    assert skill(GPTfluence(**QUICK | settings).fit(fit_data(runs, features)), runs) > 0.97


def test_shared_projections_learn_too() -> None:
    runs, features = recording()
    assert skill(GPTfluence(**QUICK, shared=True).fit(fit_data(runs, features)), runs) > 0.3


def test_the_scale_of_the_metric_changes_nothing() -> None:
    runs, features = recording(runs=8)
    settings = QUICK | {"epochs": 100}
    plain = GPTfluence(**settings).fit(fit_data(runs, features)).predict(held_out(runs)[0]).values
    large = [replace(run, metrics={"loss": run.metrics["loss"] * 64}) for run in runs]
    scaled = GPTfluence(**settings).fit(fit_data(large, features)).predict(held_out(large)[0]).values
    np.testing.assert_allclose(scaled / 64, plain, rtol=1e-4)


def test_the_same_seed_gives_the_same_bits_and_settings_of_the_process_stay() -> None:
    runs, features = recording(runs=8)
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    fits = [GPTfluence(epochs=30).fit(fit_data(runs, features, seed)) for seed in (3, 3, 4)]
    states = [fitted.state() for fitted in fits]
    assert all(np.array_equal(states[0][name], states[1][name]) for name in states[0])
    assert not np.array_equal(states[0]["train.out.weight"], states[2]["train.out.weight"])
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    assert float(torch.tensor(1e-310, dtype=torch.float64).mul(1.0)) > 0.0


@pytest.mark.parametrize("settings", [{}, {"projection": "linear", "order": 2}, {"shared": True, "width": 3}])
def test_state_and_settings_are_the_fitted_estimator(settings: dict) -> None:
    runs, features = recording(runs=8)
    fitted = GPTfluence(epochs=20, **settings).fit(fit_data(runs, features))
    state = fitted.state()
    double = {name for name, array in state.items() if array.dtype != np.float32}
    assert double == {"vectors.mean", "vectors.scale"}
    again = GPTfluence(**fitted.settings()).restore(state)
    query = held_out(runs)[0]
    assert np.array_equal(again.predict(query).values, fitted.predict(query).values)


def test_a_state_that_does_not_fit_is_refused() -> None:
    runs, features = recording(runs=8)
    state = dict(GPTfluence(epochs=0).fit(fit_data(runs, features)).state())
    for name, array, problem in (
        ("train.out.bias", None, "lacks array"),
        ("train.out.bias", np.zeros((2, 1, 9), np.float32), "not \\(2, 1, 4\\)"),
        ("vectors.test", np.zeros((6, 3), np.float32), "don't match"),
        ("test.out.weight", np.full((2, 4, 4), np.nan, np.float32), "finite"),
        ("scale", np.float32(0), "out of range"),
        ("vectors.scale", None, "lacks array 'vectors.scale'"),
        ("vectors.scale", np.float64(0), "don't fit its vectors"),
        ("vectors.mean", np.zeros(3), "don't fit its vectors"),
    ):
        broken = {key: value for key, value in {**state, name: array}.items() if value is not None}
        with pytest.raises(DataError, match=problem):
            GPTfluence(epochs=0).restore(broken)


def test_gaps_in_a_recording_are_left_out() -> None:
    runs, features = recording()
    random = np.random.default_rng(1)
    holed = []
    for run in runs:
        values = run.metrics["loss"].copy()
        values[2::5] = np.nan  # steps at which the metric wasn't recorded
        values[1:][random.random(values[1:].shape) < 0.05] = np.nan
        holed.append(replace(run, metrics={"loss": values}))
    fitted = GPTfluence(**QUICK, projection="linear").fit(fit_data(holed, features))
    assert skill(fitted, runs) > 0.8


def test_runs_of_other_steps_fit_together() -> None:
    runs, features = recording(runs=12)
    cut = [
        replace(run, steps=run.steps[1 + k % 2 : 9 + k], metrics={"loss": run.metrics["loss"][1 + k % 2 : 9 + k]})
        for k, run in enumerate(runs)
    ]
    fitted = GPTfluence(**QUICK | {"epochs": 50}).fit(fit_data(cut, features))
    query = held_out(runs)[0]
    late = replace(query, steps=np.array([1, 2, 16]))
    assert fitted.predict(late).values.shape == (len(query.first), 3, TEST)


def test_without_validation_runs_the_last_one_is_held_out_and_told() -> None:
    runs, features = recording(runs=5)
    data = fit_data(runs, features)
    fitted = GPTfluence(epochs=10).fit(data)
    assert any("held out the last run to fit" in note for note in fitted.notes_)
    explicit = replace(data, fit_runs=data.fit_runs[:-1], validation_runs=data.fit_runs[-1:])
    assert GPTfluence(epochs=10).fit(explicit).checks_ == fitted.checks_
    alone = GPTfluence(epochs=10).fit(replace(data, fit_runs=data.fit_runs[:1]))
    assert any("the only run" in note for note in alone.notes_)


def test_progress_is_reported() -> None:
    runs, features = recording(runs=8)
    calls: list[tuple[str, int, int, str]] = []
    data = replace(fit_data(runs, features), progress=lambda *call: calls.append(call))
    GPTfluence(epochs=20).fit(data)
    assert [call[1:3] for call in calls] == [(0, 20), (10, 20), (20, 20)]
    assert "validation all-steps MSE" in calls[0][3]


def test_progress_ends_complete_where_the_fit_stops_early() -> None:
    runs, features = recording(runs=8)
    calls: list[tuple[str, int, int, str]] = []
    data = replace(fit_data(runs, features), progress=lambda *call: calls.append(call))
    fitted = GPTfluence(epochs=2000, patience=1, learning_rate=1e-9).fit(data)
    stopped = fitted.checks_[-1][0]
    assert stopped < 2000
    assert calls[-1] == ("fit gptfluence", stopped, stopped, "stopped early")


@pytest.mark.parametrize(
    "settings",
    [{"projection": "cubic"}, {"order": 0}, {"width": 0}, {"patience": 0}, {"learning_rate": 0.0}, {"epochs": -1}],
)
def test_senseless_settings_are_refused(settings: dict) -> None:
    with pytest.raises(UsageError, match=str(next(iter(settings)))):
        GPTfluence(**settings)


def test_what_it_cannot_learn_from_is_refused() -> None:
    runs, features = recording(runs=6)
    vectors = features.sets["vectors"]
    two = replace(features, sets={"a": vectors, "b": vectors})
    for data, settings, problem in (
        (fit_data(runs, None), {}, "needs the examples' vectors"),
        (fit_data(runs, two), {}, "2 sets: a, b"),
        (fit_data(runs, two), {"feature_set": "c"}, "no set 'c'"),
        (fit_data(runs, replace(features, sets={"a": replace(vectors, train=vectors.train[1:])})), {}, "19 pool"),
        (fit_data([replace(run, role="test") for run in runs], features), {}, "no run to fit"),
    ):
        with pytest.raises(DataError, match=problem):
            GPTfluence(epochs=1, **settings).fit(data)
    GPTfluence(epochs=1, feature_set="b").fit(fit_data(runs, two))


def test_an_unfitted_one_says_so() -> None:
    with pytest.raises(DataError, match="isn't fitted"):
        GPTfluence().predict(held_out(recording(runs=6)[0])[0])


def test_the_fit_can_begin_at_persistence_or_as_pytorch_fills_a_layer():
    runs, features = recording(6)
    data = fit_data(runs, features)
    still = GPTfluence(start="persistence", epochs=0, width=8).fit(data)
    run = runs[3].curriculum
    query = Query(run.batches[None], run.learning_rates[None], runs[3].steps, runs[3].metrics["loss"][:1])
    values = still.predict(query).values
    np.testing.assert_allclose(values, np.broadcast_to(values[:, :1], values.shape), rtol=0.1)
    parameters = GPTfluence(start="random", epochs=0, width=8).fit(data).parameters_
    inputs = still.sides_.form.inputs
    hidden, out = parameters["train.hidden.weight"], parameters["train.out.weight"]
    assert 0.8 / inputs**0.5 < float(hidden.abs().max()) <= 1 / inputs**0.5
    assert 0.8 / 8**0.5 < float(out.abs().max()) <= 1 / 8**0.5
    with pytest.raises(UsageError, match="start"):
        GPTfluence(start="warm")


def questions(runs, features, pool, test):
    """What held-out runs are asked of an estimator fitted to the first examples, with all vectors given."""
    query = held_out(runs)[0]
    examples = fit_data(runs, features)
    seen = (np.where(np.arange(count) < first, np.arange(count), -1) for count, first in ((POOL, pool), (TEST, test)))
    return replace(query, unseen=Unseen(examples.pool, examples.test, *seen, features))


def test_unseen_examples_are_placed_by_the_standard_of_the_fit() -> None:
    runs, features = recording(runs=8)
    vectors = features.sets["vectors"]
    whole = GPTfluence(epochs=5).fit(fit_data(runs, features))
    query = held_out(runs)[0]
    query_of_all = questions(runs, features, 0, 0)
    # Nothing is taken for seen, and yet the vectors come out where the fit has them.
    np.testing.assert_allclose(whole.predict(query_of_all).values, whole.predict(query).values, rtol=1e-5)
    again = GPTfluence(**whole.settings()).restore(whole.state())
    np.testing.assert_array_equal(again.predict(query_of_all).values, whole.predict(query_of_all).values)
    # Of what was fitted the vectors are known, whatever is given.
    other = replace(features, sets={"vectors": replace(vectors, train=vectors.train + 1, test=vectors.test - 1)})
    known = whole.predict(questions(runs, other, POOL, TEST)).values
    np.testing.assert_array_equal(known, whole.predict(query).values)


def test_unseen_examples_without_vectors_are_refused() -> None:
    runs, features = recording(runs=8)
    fitted = GPTfluence(epochs=1).fit(fit_data(runs, features))
    query_of_all = questions(runs, features, 18, TEST)
    wide = FeatureSet(np.zeros((POOL, 7)), np.zeros((TEST, 7)))
    for given, problem in (
        (None, "needs the examples' vectors"),
        (replace(features, sets={"vectors": wide}), "vectors of 7 numbers, those fitted of 4"),
    ):
        with pytest.raises(DataError, match=problem):
            fitted.predict(replace(query_of_all, unseen=replace(query_of_all.unseen, features=given)))
    with pytest.raises(DataError, match="asked for example 40 of 20 that were fitted"):
        fitted.predict(replace(query_of_all, unseen=replace(query_of_all.unseen, pool_seen=np.arange(POOL) + 21)))
    old = {name: array for name, array in fitted.state().items() if name not in ("vectors.mean", "vectors.scale")}
    restored = GPTfluence(epochs=1).restore(old)
    query = held_out(runs)[0]
    np.testing.assert_array_equal(restored.predict(query).values, fitted.predict(query).values)
    with pytest.raises(DataError, match=r"fitted before there were unseen examples .*: run gptfl fit again"):
        restored.predict(query_of_all)
