"""What a simulation is held against: the average recorded run, another subset, and the skill on held-out runs."""

from dataclasses import replace

import numpy as np
import pytest

from gptfl.core import Prediction
from gptfl.core.splits import stored_split
from gptfl.errors import DataError
from gptfl.simulation.counterfactual import Counterfactual
from gptfl.simulation.outcome import mean_over
from gptfl.simulation.reference import (
    KEPT_TRUST,
    OtherSubset,
    Trust,
    against_average,
    against_subset,
    average_at,
    held_out_trust,
    trust_of,
    trust_to_keep,
)
from gptfl.simulation.requirements import NamedEstimator

SUBSET = ("train-0", "train-4", "train-7")


def training_mean(source):
    split = stored_split(source.recording.dynamics.runs)
    return np.mean([run.metrics["loss"] for run in split.fit + split.validation], axis=0)


def fresh(source, **changed):
    return replace(source, memo={}, **changed)


def with_predict(source, predict):
    """The same simulator, whose estimator answers this."""
    made = type("Told", (), {"name": "told", "tags": source.named.estimator.tags, "predict": predict})()
    return fresh(source, named=NamedEstimator(source.named.part, made))


def without_roles(source, roles):
    dynamics = source.recording.dynamics
    runs = tuple(run for run in dynamics.runs if run.role not in roles)
    return fresh(source, recording=replace(source.recording, dynamics=replace(dynamics, runs=runs)))


def test_the_average_run_is_known_between_its_steps_only(source_of):
    source = source_of("mean-run")
    mean = training_mean(source)
    found = average_at(source, np.array([-1, 0, 1, 6, 7]))
    np.testing.assert_allclose(found[1], mean[0])
    np.testing.assert_allclose(found[2], (mean[0] + mean[1]) / 2)
    np.testing.assert_allclose(found[3], mean[-1])
    assert np.isnan(found[[0, 4]]).all()


def test_skill_is_the_share_of_the_average_runs_error_that_is_removed(source_of):
    source = fresh(source_of("class-share"))
    runs = stored_split(source.recording.dynamics.runs).test
    recorded = np.stack([run.metrics["loss"] for run in runs])
    request = Counterfactual().request(source, 0)
    predicted = source.predict(request.query).values
    left = ((predicted - recorded)[:, 1:] ** 2).sum() / ((training_mean(source) - recorded)[:, 1:] ** 2).sum()
    trust = held_out_trust(source)
    assert trust.skill == pytest.approx(1 - left)
    assert trust.runs == len(runs)
    assert trust.note.startswith(f"trust: on the {len(runs)} held-out runs this simulator has skill {1 - left:.2f} (")
    assert held_out_trust(fresh(source_of("mean-run"))).skill == pytest.approx(0.0, abs=1e-9)
    assert trust_to_keep(source) == {KEPT_TRUST: {"skill": trust.skill, "runs": trust.runs}}


def test_what_a_file_keeps_of_its_skill_is_taken_and_worked_out_anew_where_it_cannot_be(source_of):
    source = source_of("mean-run")
    for kept, skill in (
        ({"skill": 0.25, "runs": 3}, 0.25),
        ({"skill": float("nan"), "runs": 3}, 0.0),
        ({"skill": 0.25, "runs": 0}, 0.0),
        ({"skill": "0.25", "runs": 3}, 0.0),
        ([0.25, 3], 0.0),
    ):
        found = trust_of(fresh(source, found=replace(source.found, info={**source.found.info, KEPT_TRUST: kept})))
        assert found.skill == pytest.approx(skill, abs=1e-9)
    assert (
        "below 0: worse than the average run"
        in trust_of(fresh(source, found=replace(source.found, info={KEPT_TRUST: {"skill": -0.5, "runs": 1}}))).text
    )


def test_skill_that_cannot_be_told_says_why(source_of):
    source = source_of("mean-run")
    none = without_roles(source, ("test",))
    assert held_out_trust(none) == Trust(None, 0, "not known, for the recording has no held-out run")
    assert held_out_trust(none).note.endswith("; gptfl compare --folds K holds out every run in turn")
    dynamics = source.recording.dynamics
    one = replace(source.recording, dynamics=replace(dynamics, runs=dynamics.runs[:1]))
    alone = held_out_trust(fresh(source, recording=one))
    assert alone.note == "trust: not known, since nothing of a single run can be held out"

    def too_long(self, query):
        raise DataError("they are too long", "ask for less")

    refused = with_predict(source, too_long)
    assert held_out_trust(refused).text == "not known, for mean-run can't answer them: they are too long"
    assert trust_to_keep(refused) == {}


def test_a_longer_question_is_compared_where_the_average_ends(source_of):
    source = source_of("class-share")
    mean = training_mean(source)
    asked = Counterfactual(subset=SUBSET).request(source, 0)
    plain = against_average(source, asked)
    assert (plain.step, plain.notes) == (6, ())
    np.testing.assert_allclose(plain.final, mean[-1])
    longer = replace(asked, query=replace(asked.query, steps=np.array([0, 6, 9])))
    found = against_average(source, longer)
    assert found.step == 6
    assert np.isnan(found.values[2]).all()
    np.testing.assert_allclose(found.final, mean[-1])
    assert "known from step 0 to 6 and this one ends at step 9" in found.notes[0]
    shorter = against_average(source, replace(asked, query=replace(asked.query, steps=np.array([0, 3]))))
    np.testing.assert_allclose(shorter.final, (mean[1] + mean[2]) / 2)
    assert shorter.notes == ("compared at step 3; the average recorded run goes on to step 6",)


def test_another_subset_is_laid_out_as_the_question_is(source_of):
    source = source_of("class-share")
    choice = Counterfactual(subset=SUBSET, orders=3)
    asked = choice.request(source, 5)
    same = OtherSubset.compared(source, choice, SUBSET)
    found = against_subset(source, same, asked, 5)
    assert found.what == "another subset (3 examples)"
    own = mean_over(source.predict(asked.query).values)
    np.testing.assert_array_equal(found.values, own)
    np.testing.assert_array_equal(found.final, own[-1])


def test_a_drop_is_held_against_the_whole_pool_unless_something_is_named(source_of, tmp_path):
    source = source_of("class-share")
    assert OtherSubset.compared(source, Counterfactual(subset=SUBSET), None) is None
    whole = OtherSubset.compared(source, Counterfactual(drop=SUBSET), None)
    assert whole.name == "the whole pool"
    np.testing.assert_array_equal(whole.members, np.arange(10))
    path = tmp_path / "größe.txt"
    path.write_text("train-3\ntrain-1\n")
    named = OtherSubset.compared(source, Counterfactual(drop=SUBSET), path)
    assert named.name == "größe.txt"
    assert sorted(named.members) == [1, 3]


def test_a_prediction_of_the_average_run_changes_nothing(source_of):
    """To the last digit, so that a table of changes shows none."""
    source = source_of("mean-run")
    asked = Counterfactual(subset=SUBSET, orders=3).request(source, 5)
    values = mean_over(Prediction(source.predict(asked.query).values).values)
    mean = against_average(source, asked)
    np.testing.assert_array_equal(values[-1].astype(np.float32), mean.final.astype(np.float32))
