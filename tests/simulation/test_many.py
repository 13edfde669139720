"""Many subsets in one pass: each as if it were asked about alone."""

import numpy as np
import pytest

from gptfl.errors import DataError, UsageError
from gptfl.simulation import many
from gptfl.simulation.counterfactual import Counterfactual
from gptfl.simulation.many import simulate_subsets
from gptfl.simulation.outcome import mean_over
from gptfl.simulation.reference import against_average
from gptfl.simulation.schedule import Overrides

SUBSETS = (("train-0", "train-4", "train-7"), ("train-1",), ("train-8", "train-2", "train-3", "train-9"))


@pytest.mark.parametrize("orders", [1, 3])
@pytest.mark.parametrize("estimator", ["class-share", "exposure-gp"])
def test_each_is_answered_as_alone(source_of, estimator, orders):
    source = source_of(estimator)
    found = simulate_subsets(source, SUBSETS, orders, seed=5)
    assert found.sizes == (3, 1, 4)
    for place, subset in enumerate(SUBSETS):
        asked = Counterfactual(subset=subset, orders=orders).request(source, 5)
        answer = source.predict(asked.query)
        np.testing.assert_allclose(found.values[place], mean_over(answer.values), rtol=1e-5)
        change = mean_over(answer.values)[-1] - against_average(source, asked).final
        np.testing.assert_allclose(found.change[place], change, rtol=1e-4, atol=1e-6)
        for level, (low, high) in answer.intervals.items():
            np.testing.assert_allclose(found.intervals[level][0][place], mean_over(low)[-1], rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(found.intervals[level][1][place], mean_over(high)[-1], rtol=1e-4, atol=1e-5)
        if answer.novelty is not None:
            assert found.novelty[place] == pytest.approx(answer.novelty.mean(), abs=1e-6)
    assert found.order == sorted(range(3), key=lambda place: found.final[place].mean())


def test_in_parts_it_is_the_same_and_told_as_it_goes_on(source_of, monkeypatch):
    source = source_of("class-share")
    whole = simulate_subsets(source, SUBSETS, 2)
    # 2 orders of 4 recorded steps and 5 test examples: one subset at a time.
    monkeypatch.setattr(many, "MAX_NUMBERS", 2 * 4 * 5)
    said = []
    found = simulate_subsets(source, SUBSETS, 2, progress=lambda what, done, of, text: said.append((done, of)))
    assert said == [(0, 3), (1, 3), (2, 3), (3, 3)]
    np.testing.assert_allclose(found.values, whole.values, rtol=1e-6)


def test_what_cannot_be_laid_out_together_is_refused(source_of):
    source = source_of("mean-run")
    with pytest.raises(UsageError, match="there is no subset to simulate: give at least one"):
        simulate_subsets(source, ())
    with pytest.raises(
        UsageError, match="--epochs makes runs of as many steps as their subsets are large: give --steps"
    ):
        simulate_subsets(source, SUBSETS, overrides=Overrides(epochs=2))
    with pytest.raises(DataError, match=r"subset 1.*größe"):
        simulate_subsets(source, (("train-0",), ("größe",)))


def test_overrides_hold_for_all(source_of):
    found = simulate_subsets(source_of("class-share"), SUBSETS[:2], overrides=Overrides(steps=3))
    assert found.steps[-1] == 3
    assert any("compared at step 3" in note for note in found.notes)
