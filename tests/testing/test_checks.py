"""The checks pass sound parts and name the promise that a broken one breaks."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pytest

from gptfl import testing
from gptfl.core import FIT, Example, FeatureSet, FitData, MetricInfo, Prediction, Query, TaskData
from gptfl.errors import DataError
from gptfl.plugins import EncoderTags, EstimatorTags
from gptfl.plugins.interfaces import Observation


class Drift:
    """Every example pulls every test example by its class's mean change a visit: small but whole."""

    name = "drift"
    tags = EstimatorTags()

    def __init__(self, damping: float = 1.0) -> None:
        self.damping = damping

    def settings(self) -> Mapping[str, Any]:
        return {"damping": self.damping}

    def fit(self, data: FitData) -> Self:
        changes = [np.diff(data.recorded(run), axis=0).sum(axis=1) for run in data.fit_runs]
        counts = [(run.curriculum.batches >= 0).sum(axis=1) for run in data.fit_runs]
        total = np.nansum(np.concatenate(changes)) / len(data.test)
        self.pull_ = np.array([self.damping * total / np.concatenate(counts).sum()])
        return self

    def predict(self, query: Query) -> Prediction:
        seen = np.cumsum((query.batches >= 0).sum(axis=2), axis=1)
        seen = np.concatenate([np.zeros((len(seen), 1)), seen], axis=1)[:, query.steps]
        return Prediction(query.first[:, None] + self.pull_ * (seen - seen[:, :1])[:, :, None])

    def state(self) -> Mapping[str, np.ndarray]:
        return {"pull": self.pull_}

    def restore(self, state: Mapping[str, np.ndarray]) -> Self:
        if "pull" not in state:
            raise DataError("a drift simulator lacks its array 'pull'", "fit it again")
        self.pull_ = state["pull"]
        return self


def test_a_sound_estimator_passes() -> None:
    testing.check_estimator(Drift, damping=0.5)


def changed(base: type, **members: Any) -> type:
    """A subclass with one thing broken."""
    return type("Broken", (base,), members)


def predicting(change: Callable[[Query, np.ndarray], np.ndarray]) -> type:
    """A drift whose predictions are changed."""
    return changed(Drift, predict=lambda self, query: Prediction(change(query, Drift.predict(self, query).values)))


def _spoil(data: FitData) -> None:
    data.recorded(data.fit_runs[0])[1] = 0.0


class Restless(Drift):
    """Never learns the same thing twice."""

    fits: ClassVar[int] = 0

    def fit(self, data: FitData) -> Self:
        Restless.fits += 1
        super().fit(data)
        self.pull_ = self.pull_ * Restless.fits
        return self


ESTIMATORS = {
    "lacks restore": (changed(Drift, restore=property(lambda self: self.no_such)), "Broken lacks restore of Estimator"),
    "unknown need": (changed(Drift, tags=EstimatorTags(requires={"magic"})), r"requires \['magic'\], not some of"),
    "settings not JSON": (changed(Drift, settings=lambda self: {"damping": np.ones(1)}), "can't be written as JSON"),
    "settings a tuple": (changed(Drift, settings=lambda self: {"damping": (1, 2)}), "does not come back from JSON"),
    "settings unknown": (changed(Drift, settings=lambda self: {"other": 1}), "does not take what settings"),
    "settings forgotten": (changed(Drift, __init__=lambda self, damping=1.0: setattr(self, "damping", damping / 2)), "changes on its way"),
    "fit returns nothing": (changed(Drift, fit=lambda self, data: None), "returns NoneType, not self"),
    "fit changes data": (changed(Drift, fit=lambda self, data: _spoil(data) or Drift.fit(self, data)), "changes the data"),
    "fit unstable": (Restless, "fitted twice with the same seed predicts differently"),
    "fit blind to gaps": (changed(Drift, fit=lambda self, data: _plain_fit(self, data)), "missing .NaN. holds"),
    "wrong shape": (predicting(lambda query, values: values[:, 1:]), "not .run, recorded, test."),
    "wrong first": (predicting(lambda query, values: values + 1), "not the given first value"),
    "not finite": (predicting(lambda query, values: values / 0.0), "not finite"),
    "integers": (predicting(lambda query, values: values.astype(int)), "has dtype int64"),
    "state of objects": (changed(Drift, state=lambda self: {"pull": np.array([{}])}), "has dtype object"),
    "state of lists": (changed(Drift, state=lambda self: {"pull": [1]}), "is list, not a numpy array"),
    "state with a path": (changed(Drift, state=lambda self: {"a/b": self.pull_}), "names an array 'a/b'"),
    "state incomplete": (changed(Drift, state=lambda self: {"pull": self.pull_ * 0}), "after factory"),
    "restore trusts": (
        changed(Drift, restore=lambda self, state: Drift.restore(self, {"pull": np.array(state["pull"])})),
        "without its arrays raises KeyError rather than DataError",
    ),
    "padding": (predicting(lambda query, values: values + _ramp(values) * query.batches.shape[2]), "padded with -1"),
    "empty steps": (predicting(lambda query, values: values + _ramp(values) * query.batches.shape[1]), "empty steps"),
    "company": (predicting(lambda query, values: values + _ramp(values) * len(query.batches)), "when it is asked alone"),
    "peeks": (predicting(lambda query, values: values + _ramp(values) * np.maximum(query.batches, 0).sum(axis=(1, 2))[:, None, None]), "later batches"),
}  # fmt: skip


def _ramp(values: np.ndarray) -> np.ndarray:
    return np.arange(values.shape[1])[None, :, None] * 1.0


def _plain_fit(made: Any, data: FitData) -> Any:
    made.pull_ = np.array([np.mean([np.diff(data.recorded(run), axis=0).mean() for run in data.fit_runs])])
    return made


@pytest.mark.parametrize(("factory", "broken"), ESTIMATORS.values(), ids=ESTIMATORS)
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
def test_a_broken_estimator_is_reported_what_it_breaks(factory: type, broken: str) -> None:
    with pytest.raises(AssertionError, match=broken):
        testing.check_estimator(factory)


class Letters:
    """Counts letters."""

    name = "letters"
    tags = EncoderTags(per_example=True)

    def identity(self) -> Mapping[str, Any]:
        return {"alphabet": "abc"}

    def encode(self, pool: Sequence[Example], test: Sequence[Example]) -> Mapping[str, FeatureSet]:
        def counts(examples: Sequence[Example]) -> np.ndarray:
            return np.array([[float(example.text.count(letter)) for letter in "abc"] for example in examples])

        return {"letters": FeatureSet(counts(pool), counts(test))}


def encoding(change: Callable[[FeatureSet], FeatureSet]) -> type:
    """Letters whose set is changed."""
    return changed(Letters, encode=lambda self, a, b: {"letters": change(Letters().encode(a, b)["letters"])})


ENCODERS = {
    "identity": (changed(Letters, identity=lambda self: {"at": id(self)}), "different identity"),
    "tags": (changed(Letters, tags={"per_example": True}), "tags are .*, not EncoderTags"),
    "no sets": (changed(Letters, encode=lambda self, a, b: {}), "no mapping of named sets"),
    "short": (encoding(lambda s: dataclasses.replace(s, train=s.train[1:])), r"\(train\) has shape \(7, 3\)"),
    "columns": (encoding(lambda s: dataclasses.replace(s, test=s.test[:, 1:])), "3 columns for the pool and 2"),
    "integers": (encoding(lambda s: dataclasses.replace(s, test=s.test.astype(int))), "not a floating-point"),
    "infinite": (encoding(lambda s: dataclasses.replace(s, test=s.test + np.inf)), "not finite"),
    "random": (encoding(lambda s: dataclasses.replace(s, test=s.test + np.random.rand())), "differs when encoded"),
    "centred": (encoding(lambda s: dataclasses.replace(s, train=s.train - s.train.mean(axis=0))), "which other examples"),
}  # fmt: skip


def test_a_sound_encoder_passes() -> None:
    testing.check_encoder(Letters)
    testing.check_encoder(changed(ENCODERS["centred"][0], tags=EncoderTags(per_example=False)))


@pytest.mark.parametrize(("factory", "broken"), ENCODERS.values(), ids=ENCODERS)
def test_a_broken_encoder_is_reported_what_it_breaks(factory: type, broken: str) -> None:
    with pytest.raises(AssertionError, match=broken):
        testing.check_encoder(factory)


class Sums:
    """Twenty sums to learn from and ten to test."""

    name = "sums"
    learning_rate = 1e-4

    def __init__(self, data: Path | None = None) -> None:
        self.data = data

    def load(self, pool: int | None, test: int | None, seed: int) -> TaskData:
        return TaskData("sums", self.side("pool", pool, 20), self.side("test", test, 10))

    def side(self, side: str, count: int | None, most: int) -> tuple[Example, ...]:
        if count is not None and count > most:
            raise DataError(f"task sums has {most} {side} examples, asked for {count}", "ask for fewer")
        return tuple(Example(f"{side}-{n}", f"{n}+{n}=", f"{2 * n}") for n in range(most if count is None else count))


def listing(change: Callable[[tuple[Example, ...]], Any]) -> type:
    """Sums whose sides are changed."""
    return changed(Sums, side=lambda self, *given: change(Sums.side(self, *given)))


TASKS = {
    "rate": (changed(Sums, learning_rate=0), "learning_rate is 0"),
    "list": (listing(list), "not a tuple of examples"),
    "ids": (listing(lambda e: (*e[:-1], e[0])), "holds id 'pool-0' more than once"),
    "target": (listing(lambda e: tuple(dataclasses.replace(x, target="") for x in e)), "has no target"),
    "label": (listing(lambda e: tuple(dataclasses.replace(x, label=2, choices=("a", "b")) for x in e)), "no index"),
    "fields": (listing(lambda e: tuple(dataclasses.replace(x, fields={"a": b""}) for x in e)), "as JSON"),
    "count": (listing(lambda e: e[1:]), "asked for 6"),
    "prefix": (listing(lambda e: e[::-1]), "not the beginning of a larger one"),
    "generous": (changed(Sums, side=lambda self, s, n, most: Sums.side(self, s, n, 99 if n == most + 1 else most)), "21 pool"),
    "name": (changed(Sums, name="other"), "calls its task 'sums'"),
}  # fmt: skip


def test_a_sound_task_passes() -> None:
    testing.check_task(Sums)


@pytest.mark.parametrize(("factory", "broken"), TASKS.values(), ids=TASKS)
def test_a_broken_task_is_reported_what_it_breaks(factory: type, broken: str) -> None:
    with pytest.raises(AssertionError, match=broken):
        testing.check_task(factory)


class Margin:
    """How much likelier the target is than the next choice, in nats."""

    info = MetricInfo("margin", higher_is_better=True)
    needs = frozenset({"choices"})

    def check(self, examples: Sequence[Example]) -> None:
        for example in examples:
            if len(example.choices) < 2:
                raise DataError(f"example {example.id} has no choices", "take another metric")

    def measure(self, observation: Observation) -> np.ndarray:
        assert observation.choice_log_probs is not None
        rest = [
            max(p for p, choice in zip(probs, example.choices, strict=True) if choice != example.target)
            for example, probs in zip(observation.examples, observation.choice_log_probs, strict=True)
        ]
        return observation.target_log_prob - np.array(rest)


METRICS = {
    "upside down": (changed(Margin, info=MetricInfo("margin", False)), "higher_is_better=False"),
    "range": (changed(Margin, info=MetricInfo("margin", True, 0, 1)), "outside its range 0 to 1"),
    "empty range": (changed(Margin, info=MetricInfo("margin", True, 1, 1)), "empty range"),
    "needs": (changed(Margin, needs=frozenset({"sleep"})), "needs frozenset"),
    "unchecked": (changed(Margin, check=lambda self, examples: None), "raises nothing, where DataError"),
    "mean": (changed(Margin, measure=lambda self, o: Margin.measure(self, o)[:1]), "not one value an example"),
}


def test_a_sound_metric_passes() -> None:
    testing.check_metric(Margin)


@pytest.mark.parametrize(("factory", "broken"), METRICS.values(), ids=METRICS)
def test_a_broken_metric_is_reported_what_it_breaks(factory: type, broken: str) -> None:
    with pytest.raises(AssertionError, match=broken):
        testing.check_metric(factory)


def test_the_synthetic_recording_is_whole_and_seeded() -> None:
    one, other = (testing.make_dynamics(every=5, missing=0.2) for _ in range(2))
    assert one.fingerprint == other.fingerprint != testing.make_dynamics(seed=1).fingerprint
    run = one.with_role(FIT)[0]
    assert run.steps.tolist() == [0, 5, 10, 12]
    assert np.isfinite(run.metrics["loss"][0]).all()
    assert any(np.isnan(run.metrics["loss"]).any() for run in one.runs)
    assert testing.make_features(one).examples == one.examples


class Along(Drift):
    """Drift that also looks at the recorded derivatives."""

    name = "along"
    tags = EstimatorTags(requires={"derivatives", "gradients"})

    def fit(self, data: FitData) -> Self:
        if data.gradients is None:
            raise DataError("there are no gradients", "record them")
        return super().fit(data)

    def predict(self, query: Query) -> Prediction:
        if "gradient" not in query.derivatives:
            raise DataError("there are no derivatives", "record them")
        return Prediction(query.first[:, None] + np.cumsum(query.derivatives["gradient"], axis=1))


def test_what_an_estimator_requires_is_there_and_then_is_not() -> None:
    testing.check_estimator(Along)
    with pytest.raises(AssertionError, match="'along': fit\\(\\) without the gradients it requires raises nothing"):
        testing.check_estimator(changed(Along, fit=Drift.fit))
    with pytest.raises(AssertionError, match=r"predict\(\) without the derivatives it requires raises nothing"):
        testing.check_estimator(changed(Along, predict=Drift.predict))
    with pytest.raises(AssertionError, match="none of which the recording has"):
        testing.check_estimator(changed(Along, tags=dataclasses.replace(Along.tags, metrics={"accuracy"})))


@pytest.mark.parametrize("every", [1, 5])
def test_the_gradients_of_a_synthetic_recording_tell_exactly_what_happens(every: int) -> None:
    dynamics = testing.make_dynamics(gradients=True, steps=14, every=every)
    products = dynamics.gradients
    assert products is not None
    for run in dynamics.runs:
        values = run.metrics["loss"]
        np.testing.assert_allclose(values[0] + np.cumsum(run.derivatives["gradient"], axis=0), values, atol=1e-12)
        predicted = values[0].copy()
        for step, (batch, rate) in enumerate(zip(run.curriculum.batches, run.curriculum.learning_rates, strict=True)):
            point = max(k for k, start in enumerate(products.steps) if start <= step)
            predicted -= rate * np.mean([products.raw[point, i] for i in batch], axis=0)
        np.testing.assert_allclose(values[-1], predicted, atol=1e-12)
    assert np.isnan(products.preconditioned[0]).all()
    assert np.isfinite(products.preconditioned[1:]).all()


class Level(Drift):
    """Drift that also remembers each test example's mean value, and gives an unseen one the mean of all."""

    name = "level"
    tags = EstimatorTags(unseen={"train", "test"})

    def fit(self, data: FitData) -> Self:
        super().fit(data)
        self.level_ = np.array(
            [
                np.nanmean(np.concatenate([data.recorded(run)[:, i] for run in data.fit_runs]))
                for i in range(len(data.test))
            ]
        )
        return self

    def predict(self, query: Query) -> Prediction:
        seen = np.arange(len(self.level_)) if query.unseen is None else query.unseen.test_seen
        level = np.where(seen >= 0, self.level_[seen], self.level_.mean())
        values = Drift.predict(self, query).values + 0.1 * level * (query.steps > query.steps[0])[:, None]
        return Prediction(values)

    def state(self) -> Mapping[str, np.ndarray]:
        return {**super().state(), "level": self.level_}

    def restore(self, state: Mapping[str, np.ndarray]) -> Self:
        self.level_ = state.get("level")
        return super().restore(state)


def _in_order(self: Level, query: Query) -> Prediction:
    """Takes the asked test examples for those fitted, in order."""
    level = np.resize(self.level_, query.first.shape[1])
    values = Drift.predict(self, query).values + 0.1 * level * (query.steps > query.steps[0])[:, None]
    return Prediction(values)


def _short(self: Level, query: Query) -> Prediction:
    return Prediction(Level.predict(self, query).values[:, :, : len(self.level_)])


def _company(self: Level, query: Query) -> Prediction:
    values = Level.predict(self, query).values
    return Prediction(values + (query.unseen is not None) * (query.steps > 0)[:, None])


@pytest.mark.parametrize(
    ("members", "broken"),
    [
        ({"tags": EstimatorTags(unseen={"tests"})}, "generalises to {'tests'}, not of"),
        ({"predict": _short}, "with unseen examples, not"),
        ({"predict": _in_order}, "the order of the examples asked about matters"),
        ({"predict": _company}, "predicts seen examples differently in the company of unseen ones"),
    ],
)
def test_what_an_estimator_says_it_generalises_to_is_asked_of_it(members: dict[str, Any], broken: str) -> None:
    testing.check_estimator(Level)
    with pytest.raises(AssertionError, match=broken):
        testing.check_estimator(changed(Level, **members))


class Sure(Drift):
    """Drift that tells intervals and a novelty, and goes on from the last value observed."""

    name = "sure"
    tags = EstimatorTags(conditions=True)

    def predict(self, query: Query) -> Prediction:
        values = super().predict(query).values
        if query.observed is not None:
            for run, test in np.ndindex(query.first.shape):
                known = np.flatnonzero(np.isfinite(query.observed[run, :, test]))
                if len(known):
                    step = known[-1]
                    values[run, step:, test] += query.observed[run, step, test] - values[run, step, test]
        half = np.broadcast_to(0.1 * (query.steps > query.steps[0])[None, :, None], values.shape)
        intervals = {level: (values - 2 * level * half, values + 2 * level * half) for level in (0.5, 0.9)}
        return Prediction(values, intervals, np.full(len(values), 0.5))


def telling(change: Callable[[Prediction], Prediction]) -> type:
    """A sure one that tells something else of its predictions."""
    return changed(Sure, predict=lambda self, query: change(Sure.predict(self, query)))


def bounding(change: Callable[[float, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]) -> type:
    """A sure one whose intervals are changed."""
    return telling(
        lambda prediction: dataclasses.replace(
            prediction, intervals={k: change(k, *both) for k, both in prediction.intervals.items()}
        )
    )


def novelties(change: Callable[[np.ndarray], np.ndarray]) -> type:
    """A sure one whose novelty is changed."""
    return telling(lambda prediction: dataclasses.replace(prediction, novelty=change(np.asarray(prediction.novelty))))


LIARS = {
    "level": (telling(lambda p: dataclasses.replace(p, intervals={90: p.intervals[0.9]})), "level 90, which is not"),
    "shape": (bounding(lambda level, low, high: (low[:, 1:], high[:, 1:])), "interval is not of shape"),
    "infinite": (bounding(lambda level, low, high: (low - np.inf, high)), "not finite"),
    "reversed": (bounding(lambda level, low, high: (high, low)), "lower bounds above upper"),
    "first": (bounding(lambda level, low, high: (low - level, high + level)), "doubts the first value"),
    "nested": (telling(lambda p: dataclasses.replace(p, intervals={0.5: p.intervals[0.9], 0.9: p.intervals[0.5]})), "0.5 interval reaches beyond the 0.9"),
    "novelty shape": (novelties(lambda novelty: novelty[:1]), "not one a run"),
    "novelty range": (novelties(lambda novelty: 3 * novelty), "not within 0 and 1"),
    "novelty NaN": (novelties(lambda novelty: novelty * np.nan), "not finite"),
    "deaf": (changed(Sure, predict=lambda self, query: Sure.predict(self, dataclasses.replace(query, observed=None))), "no closer to the observed"),
    "contrary": (changed(Sure, predict=lambda self, query: Sure.predict(self, query if query.observed is None else dataclasses.replace(query, observed=2 * query.observed))), "no closer to the observed"),
    "secretive": (changed(Sure, tags=EstimatorTags()), "heeds observed values all the same"),
    "undone by NaN": (changed(Sure, predict=lambda self, query: _knows_more(Sure.predict(self, query), query)), "when nothing was observed"),
    "scribbles": (changed(Sure, predict=lambda self, query: _scribbled(query) or Sure.predict(self, query)), "changes the observed values"),
}  # fmt: skip


def _knows_more(prediction: Prediction, query: Query) -> Prediction:
    if query.observed is not None and not np.isfinite(query.observed).any():
        prediction.values[:, 1:] += 1.0
    return prediction


def _scribbled(query: Query) -> None:
    if query.observed is not None:
        query.observed[np.isfinite(query.observed)] += 1.0


def test_an_estimator_that_is_sure_of_itself_passes() -> None:
    testing.check_estimator(Sure)


@pytest.mark.parametrize(("factory", "broken"), LIARS.values(), ids=LIARS)
def test_an_estimator_that_is_wrongly_sure_is_reported(factory: type, broken: str) -> None:
    with pytest.raises(AssertionError, match=broken):
        testing.check_estimator(factory)
