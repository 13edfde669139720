"""TracIn and Grad-Dot against plain loops, and against a recording of which they are exactly right."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from gptfl import testing
from gptfl.core import FIT, TEST, VALIDATION, Dynamics, FitData, GradientProducts, MetricInfo, Query, blocked_rows
from gptfl.errors import DataError, GptflError, UsageError
from gptfl.plugins.optional import InfluencesItself, InfluencesTests
from gptfl.plugins.registry import get_registry
from gptfl_tracin.own_run import OwnRun
from gptfl_tracin.points import Points, mean_rates, spread_evenly
from gptfl_tracin.predictive import FromReference, GradDot, TracInCP

LOSS = MetricInfo("loss", higher_is_better=False)
EXACT = testing.make_dynamics(gradients=True)


def fit_data(dynamics: Dynamics = EXACT, **changes: Any) -> FitData:
    runs = dynamics.with_role(FIT), dynamics.with_role(VALIDATION)
    data = FitData(dynamics.pool, dynamics.test, LOSS, *runs, gradients=dynamics.gradients)
    return dataclasses.replace(data, **changes)


def products_of(dynamics: Dynamics = EXACT) -> GradientProducts:
    assert dynamics.gradients is not None
    return dynamics.gradients


def query(dynamics: Dynamics = EXACT) -> Query:
    return testing.make_query(dynamics.with_role(TEST))


def loop(query: Query, products: np.ndarray, shares: list[float], interpolate: bool = False) -> np.ndarray:
    """The equation as it is written down, one example at a time."""
    result = []
    for batches, rates, first in zip(query.batches, query.learning_rates, query.first, strict=True):
        length = max(t + 1 for t, batch in enumerate(batches) if any(i >= 0 for i in batch))
        values = [first]
        for t, batch in enumerate(batches):
            members = [i for i in batch if i >= 0]
            change = np.zeros(len(first))
            for j in range(len(first)):
                for i in members:
                    at = t / length
                    product = products[max([k for k, share in enumerate(shares) if share <= at], default=0), i, j]
                    if interpolate:
                        product = np.interp(at, shares, products[:, i, j])
                    change[j] -= rates[t] * product / len(members)
            values.append(values[-1] + change)
        result.append([values[step] for step in query.steps])
    return np.array(result)


@pytest.mark.parametrize(
    ("factory", "settings"),
    [
        (TracInCP, {}),
        (TracInCP, {"preconditioned": True, "calibrate": True}),
        (TracInCP, {"interpolate": True, "checkpoints": 2}),
        (GradDot, {}),
        (GradDot, {"preconditioned": True, "calibrate": True}),
        (OwnRun, {}),
        (OwnRun, {"direction": "update", "calibrate": True}),
    ],
)
def test_keeps_the_promises_of_an_estimator(factory: Any, settings: dict[str, Any]) -> None:
    testing.check_estimator(factory, **settings)


def test_are_found_as_an_installed_plugin() -> None:
    registry = get_registry()
    for name in ("tracin-cp", "grad-dot", "tracin-own-run"):
        assert registry.find("estimator", name).owner.startswith("gptfl-tracin ")
        made = registry.make("estimator", name, calibrate=True)
        assert made.tags.metrics == {"loss"}
        assert made.tags.oracle == (name == "tracin-own-run")
        assert isinstance(made, InfluencesTests) == isinstance(made, InfluencesItself) == (not made.tags.oracle)


@pytest.mark.parametrize("estimator", [TracInCP(), OwnRun(), OwnRun("update"), TracInCP(calibrate=True)])
@pytest.mark.parametrize("every", [1, 5])
def test_is_exact_where_losses_are_linear_and_descent_is_plain(estimator: Any, every: int) -> None:
    dynamics = testing.make_dynamics(gradients=True, every=every, steps=14)
    values = estimator.fit(fit_data(dynamics)).predict(query(dynamics)).values
    recorded = np.stack([run.metrics["loss"] for run in dynamics.with_role(TEST)])
    np.testing.assert_allclose(values, recorded, atol=1e-12)
    assert estimator.scale_ == pytest.approx(1.0)


@pytest.mark.parametrize("interpolate", [False, True])
@pytest.mark.parametrize("preconditioned", [False, True])
def test_tracin_equals_a_plain_loop_also_for_shorter_runs_and_batches(preconditioned: bool, interpolate: bool) -> None:
    gradients = products_of()
    queried = query()
    batches, rates = queried.batches.copy(), queried.learning_rates.copy()
    batches[0, 7:] = -1
    rates[0, 7:] = 0
    batches[1, 2, 1:] = -1
    batches[1, 4] = -1
    queried = dataclasses.replace(queried, batches=batches, learning_rates=rates)
    products = (gradients.preconditioned if preconditioned else gradients.raw)[int(preconditioned) :]
    shares = (gradients.steps / 12)[int(preconditioned) :]
    if not interpolate:
        products, shares = products[:-1], shares[:-1]
    fitted = TracInCP(preconditioned, interpolate=interpolate).fit(fit_data())
    expected = loop(queried, products, list(shares), interpolate)
    np.testing.assert_allclose(fitted.predict(queried).values, expected, atol=1e-12)


def test_grad_dot_takes_the_last_point_for_every_step() -> None:
    last = products_of().raw[-1:]
    values = GradDot().fit(fit_data()).predict(query()).values
    np.testing.assert_allclose(values, loop(query(), last, [1.0]), atol=1e-12)


def test_a_later_start_counts_changes_from_there() -> None:
    queried = dataclasses.replace(query(), steps=np.array([3, 4, 9]))
    whole = TracInCP().fit(fit_data()).predict(query()).values
    values = TracInCP().fit(fit_data()).predict(queried).values
    np.testing.assert_allclose(values - queried.first[:, None], (whole - whole[:, 3:4])[:, [3, 4, 9]], atol=1e-12)


def test_large_batches_are_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = TracInCP(interpolate=True).fit(fit_data()).predict(query()).values
    monkeypatch.setattr(blocked_rows, "BLOCK_BYTES", 80)
    np.testing.assert_allclose(TracInCP(interpolate=True).fit(fit_data()).predict(query()).values, expected, rtol=1e-12)


def test_checkpoints_are_spread_evenly_and_none_is_at_the_end() -> None:
    assert TracInCP().fit(fit_data()).points_.steps.tolist() == [0, 4, 8]
    assert TracInCP(checkpoints=2).fit(fit_data()).points_.steps.tolist() == [0, 8]
    assert TracInCP(checkpoints=3, interpolate=True).fit(fit_data()).points_.steps.tolist() == [0, 8, 12]
    assert TracInCP(preconditioned=True).fit(fit_data()).points_.steps.tolist() == [4, 8]
    assert GradDot().fit(fit_data()).points_.steps.tolist() == [12]
    for count in range(1, 30):
        for number in range(1, count + 1):
            assert len(set(spread_evenly(count, number))) == number


def test_calibration_is_least_squares_on_the_training_runs() -> None:
    data = fit_data()
    runs = [
        dataclasses.replace(run, metrics={"loss": run.metrics["loss"][:1] + 3 * (run.metrics["loss"] - run.metrics["loss"][:1])})
        for run in EXACT.runs
    ]  # fmt: skip
    runs[0].metrics["loss"][4, 1] = np.nan
    scaled = dataclasses.replace(EXACT, runs=tuple(runs))
    fitted = TracInCP(calibrate=True).fit(fit_data(scaled))
    assert fitted.scale_ == pytest.approx(3.0)
    assert "multiplied by 3" in fitted.notes_[0]
    plain = GradDot().fit(data)
    calibrated = GradDot(calibrate=True).fit(data)
    above = below = 0.0
    for run in data.fit_runs + data.validation_runs:
        predicted = plain.predict(testing.make_query([run])).values[0]
        for row in range(1, len(run.steps)):
            for j in range(len(data.test)):
                above += (predicted[row, j] - predicted[0, j]) * (data.recorded(run)[row, j] - data.recorded(run)[0, j])
                below += (predicted[row, j] - predicted[0, j]) ** 2
    assert calibrated.scale_ == pytest.approx(above / below)
    values = calibrated.predict(query()).values
    first = query().first[:, None]
    np.testing.assert_allclose(values - first, calibrated.scale_ * (plain.predict(query()).values - first), atol=1e-12)


def test_a_wrong_sign_is_reported() -> None:
    gradients = products_of()
    turned = dataclasses.replace(gradients, raw=-gradients.raw)
    fitted = TracInCP(calibrate=True).fit(fit_data(gradients=turned))
    assert fitted.scale_ < 0
    assert "negative" in fitted.notes_[0]


def test_a_preconditioned_product_that_outweighs_all_others_is_reported() -> None:
    gradients = products_of()
    assert TracInCP(preconditioned=True).fit(fit_data()).notes_ == ()
    preconditioned, raw = gradients.preconditioned.copy(), gradients.raw.copy()
    preconditioned[1, 0, 0] = raw[1, 0, 0] = 1e6
    data = fit_data(gradients=dataclasses.replace(gradients, raw=raw, preconditioned=preconditioned))
    (note,) = TracInCP(preconditioned=True).fit(data).notes_
    assert f"at step {gradients.steps[1]} of the reference run one preconditioned product outweighs" in note
    assert TracInCP().fit(data).notes_ == ()


def test_influence_is_the_sum_over_segments_of_mean_step_size_times_product() -> None:
    gradients = products_of()
    fitted = TracInCP().fit(fit_data())
    rates = gradients.learning_rates
    means = [rates[0:4].mean(), rates[4:8].mean(), rates[8:12].mean()]
    expected = sum(mean * gradients.raw[k] for k, mean in enumerate(means))
    np.testing.assert_allclose(fitted.influence(), expected)
    own = sum(mean * gradients.self_raw[k] for k, mean in enumerate(means))
    np.testing.assert_allclose(fitted.self_influence(), own)
    assert (fitted.self_influence() > 0).all()
    np.testing.assert_allclose(GradDot().fit(fit_data()).influence(), rates.mean() * gradients.raw[-1])
    np.testing.assert_array_equal(mean_rates(np.array([2, 4]), np.arange(4.0)), [1.5, 0.0])


def test_influence_is_what_taking_the_example_lowers_the_loss_by() -> None:
    """One step in each segment, of that example alone, at the segment's mean step size."""
    fitted = TracInCP().fit(fit_data())
    for example in (0, 3):
        queried = Query(np.full((1, 3, 1), example), fitted.points_.rates[None], np.array([0, 3]), np.zeros((1, 5)))
        np.testing.assert_allclose(-fitted.predict(queried).values[0, -1], fitted.influence()[example])


def test_own_run_adds_up_what_was_recorded_along_the_run() -> None:
    random = np.random.default_rng(0)
    queried = query()
    changes = random.normal(size=(*queried.first.shape[:1], len(queried.steps), queried.first.shape[1]))
    queried = dataclasses.replace(queried, derivatives={"gradient": changes, "update": 2 * changes})
    values = OwnRun().fit(fit_data()).predict(queried).values
    for run in range(len(values)):
        for row in range(len(queried.steps)):
            np.testing.assert_allclose(values[run, row], queried.first[run] + changes[run, 1 : row + 1].sum(axis=0))
    twice = OwnRun("update").fit(fit_data()).predict(queried).values
    np.testing.assert_allclose(twice - queried.first[:, None], 2 * (values - queried.first[:, None]), atol=1e-12)


@pytest.mark.parametrize(
    ("factory", "settings", "match"),
    [
        (TracInCP, {"checkpoints": 0}, "tracin-cp: checkpoints is 0: give a whole number of at least 1"),
        (TracInCP, {"checkpoints": "most"}, "checkpoints is 'most'"),
        (TracInCP, {"preconditioned": "yes"}, "preconditioned is 'yes': give true or false"),
        (GradDot, {"calibrate": 1}, "grad-dot: calibrate is 1"),
        (OwnRun, {"direction": "loss"}, "direction is 'loss': give gradient or update"),
    ],
)
def test_a_setting_that_makes_no_sense_is_reported(factory: Any, settings: dict[str, Any], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        factory(**settings)


def raised(error: type[GptflError], match: str) -> Any:
    return pytest.raises(error, match=match)


@pytest.mark.parametrize("estimator", [TracInCP(), GradDot()])
def test_what_the_recording_lacks_is_reported(estimator: FromReference) -> None:
    with raised(DataError, "needs gradients, which the recording doesn't hold: .* --gradients reference$"):
        estimator.fit(fit_data(gradients=None))
    with raised(DataError, "predicts loss only, not accuracy"):
        estimator.fit(fit_data(metric=dataclasses.replace(LOSS, name="accuracy")))
    empty = dataclasses.replace(products_of(), raw=np.full((4, 10, 5), np.nan))
    with raised(DataError, "finds no point with gradient products"):
        estimator.fit(fit_data(gradients=empty))


def test_what_cannot_be_answered_is_reported() -> None:
    with raised(DataError, "checkpoints is 9, and the recording has 3 that it can go by: give at most 3"):
        TracInCP(checkpoints=9).fit(fit_data())
    nothing = dataclasses.replace(products_of(), raw=np.zeros((4, 10, 5)))
    with raised(DataError, "foretells no change of the runs to fit"):
        TracInCP(calibrate=True).fit(fit_data(gradients=nothing))
    fitted = TracInCP().fit(fit_data())
    with raised(DataError, "a pool of 10, asked about example number 10"):
        fitted.predict(dataclasses.replace(query(), batches=np.full((2, 12, 3), 10)))
    with raised(DataError, "knows 5 test examples, asked about 4"):
        fitted.predict(dataclasses.replace(query(), first=query().first[:, :4]))
    with raised(DataError, "about step 20 of 12 batches"):
        fitted.predict(dataclasses.replace(query(), steps=np.array([0, 20])))
    with raised(DataError, "isn't fitted"):
        TracInCP().predict(query())
    with raised(DataError, "'products' is missing or ill-shaped"):
        TracInCP().restore({**fitted.state(), "products": np.zeros(3)})
    with raised(DataError, "shapes of its arrays don't agree"):
        TracInCP().restore({**fitted.state(), "rates": np.zeros(9)})


def test_own_run_says_that_it_explains_recorded_runs_only() -> None:
    fitted = OwnRun().fit(fit_data())
    with raised(DataError, "explains recorded runs only, .* or use tracin-cp for other curricula"):
        fitted.predict(dataclasses.replace(query(), derivatives={}))
    one = {"update": query().derivatives["update"]}
    with raised(DataError, "along the gradient were not recorded: set direction to update"):
        fitted.predict(dataclasses.replace(query(), derivatives=one))
    with raised(DataError, "have gaps"):
        fitted.predict(dataclasses.replace(query(), derivatives={"gradient": np.full((2, 13, 5), np.nan)}))
    with raised(DataError, "don't fit the runs"):
        fitted.predict(dataclasses.replace(query(), derivatives={"gradient": np.zeros((2, 3, 5))}))


def test_steps_and_points_that_coincide_do_so_in_whole_numbers() -> None:
    """Step 7 of 49 lies at a seventh, where the reference run of 7 steps has a point."""
    products = np.stack([np.full((1, 1), 1.0), np.full((1, 1), 5.0)])
    points = Points(np.array([0, 1]), 7, products, np.ones((2, 1)), np.ones(2))
    batches = np.zeros((1, 49, 1), dtype=int)
    changes = np.diff(points.changes(batches, np.ones((1, 49)), np.arange(50), interpolate=False)[0, :, 0])
    np.testing.assert_array_equal(changes, [-1.0] * 7 + [-5.0] * 42)


def test_products_of_a_batch_count_by_the_examples_tokens() -> None:
    """The recorded products are by an example's tokens over the pool's mean; a step divides by those of its batch."""
    random = np.random.default_rng(2)
    tokens, gradients = np.array([1.0, 9.0, 4.0]), random.normal(size=(1, 3, 2))
    relative = tokens / tokens.mean()
    points = Points(np.array([0]), 2, gradients * relative[:, None], np.ones((1, 3)), np.ones(1), relative)
    batches, rates = np.array([[0, 1, 1], [2, -1, -1], [0, 2, -1]]), np.array([0.5, 2.0, 1.0])
    expected = [
        -rate * sum(tokens[i] * gradients[0, i] for i in batch if i >= 0) / sum(tokens[i] for i in batch if i >= 0)
        for batch, rate in zip(batches, rates, strict=True)
    ]
    changes = np.diff(points.changes(batches[None], rates[None], np.arange(4), interpolate=False)[0], axis=0)
    np.testing.assert_allclose(changes, expected)
