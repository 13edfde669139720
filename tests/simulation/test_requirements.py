"""What an estimator needs, and the one line that says why it can't be used."""

import re
from dataclasses import replace

import numpy as np
import pytest

from gptfl.core import MetricInfo
from gptfl.estimators.through_loss.estimator import ThroughLoss
from gptfl.features.lookup import FeatureLookup
from gptfl.options.defaults import FEW_RUNS, ON_GRADIENTS, ON_TEXT, PAPER
from gptfl.plugins import EstimatorTags
from gptfl.recording.recording import open_recording
from gptfl.simulation.requirements import default_estimator, refusal, unmet_need
from gptfl.store.features import write_features
from gptfl.store.recordings import write_dynamics
from tests.synthetic import LOSS, synthetic


def test_who_does_not_generalise_is_reported_why():
    class Narrow:
        name = "narrow"
        tags = EstimatorTags(unseen={"train"})

    assert refusal(Narrow(), ("train",)) is None
    assert str(refusal(Narrow(), ("train", "test"))) == (
        "narrow answers only about the test examples that it was fitted to: use an estimator that generalises, such as "
        "gptfluence"
    )


class Needy:
    """Stands for an estimator with these needs."""

    name = "needy"

    def __init__(self, **tags):
        self.tags = EstimatorTags(**tags)


UNMET = {
    "features": "needy needs features, and .* holds none of syn: run gptfl featurize first",
    "classes": "needy needs classes, and the recording's task has none: use another estimator",
    "gradients": r"needy needs gradients, which syn\.dynamics\.h5 doesn't hold: .*--gradients reference",
    "derivatives": r"needy needs derivatives, which syn\.dynamics\.h5 doesn't hold: .*--gradients own",
    "luck": "needy needs luck, which the recording doesn't hold: use another estimator",
}


@pytest.mark.parametrize("need", UNMET)
def test_each_need_that_is_not_met_has_its_line(need, source_of):
    recording = source_of("mean-run").recording
    pool = tuple(replace(example, choices=(), label=None) for example in recording.dynamics.pool)
    bare = replace(recording, dynamics=replace(recording.dynamics, pool=pool))
    assert re.fullmatch(UNMET[need], str(unmet_need(Needy(requires={need}), bare, None, LOSS)))
    assert unmet_need(Needy(takes={need}), bare, None, LOSS) is None


def test_what_is_there_is_no_hindrance(source_of):
    source = source_of("mean-run")
    dynamics, features = synthetic(4)
    full = replace(source.recording, dynamics=dynamics)
    assert unmet_need(Needy(requires={"classes", "features"}), full, features, LOSS) is None
    runs = tuple(replace(run, derivatives={"gradient": run.metrics["loss"]}) for run in dynamics.runs)
    assert (
        unmet_need(Needy(requires={"derivatives"}), replace(full, dynamics=replace(dynamics, runs=runs)), None, LOSS)
        is None
    )
    some = replace(dynamics, runs=(*runs[:3], dynamics.runs[3]))
    assert "derivatives" in str(unmet_need(Needy(requires={"derivatives"}), replace(full, dynamics=some), None, LOSS))


def test_a_metric_that_is_not_predicted_is_told_with_one_that_is(source_of):
    recording = source_of("mean-run").recording
    other = MetricInfo("bleu", higher_is_better=True)
    assert str(unmet_need(Needy(metrics={"loss", "rougeL"}), recording, None, other)) == (
        "needy predicts loss, rougeL only, not bleu: give --metric loss, or use another estimator"
    )
    assert str(unmet_need(Needy(metrics={"rougeL"}), recording, None, other)) == (
        "needy predicts rougeL only, not bleu: use another estimator"
    )


def test_gradient_features_decide_the_default(source_of, tmp_path):
    dynamics, features = synthetic(2)
    path = tmp_path / "a.dynamics.h5"
    write_dynamics(path, dynamics)
    loss = dynamics.metrics["loss"]
    assert default_estimator(FeatureLookup(open_recording(path)), loss) == (PAPER, ())
    write_features(tmp_path / "a.gradients.features.h5", replace(features, encoder=ON_GRADIENTS))
    name, notes = default_estimator(FeatureLookup(open_recording(path)), loss)
    assert name == FEW_RUNS
    assert notes == (f"fits {FEW_RUNS}, since there are gradient features; --estimator {PAPER} is the paper's",)


def test_metrics_of_generated_text_go_by_the_loss_where_it_is_there(tmp_path):
    dynamics, features = synthetic(4)
    rouge = MetricInfo("rougeL", higher_is_better=True, low=0.0, high=1.0)
    runs = [replace(run, metrics={**run.metrics, "rougeL": np.exp(-run.metrics["loss"])}) for run in dynamics.runs]
    both = replace(dynamics, metrics={**dynamics.metrics, "rougeL": rouge}, runs=tuple(runs))
    alone = tuple(replace(run, metrics={"rougeL": run.metrics["rougeL"]}) for run in runs)
    recordings = {
        "both": both,
        "few": replace(both, runs=both.runs[:2]),
        "alone": replace(both, runs=alone, metrics={"rougeL": rouge}),
    }
    names = {}
    for stem, one in recordings.items():
        write_dynamics(tmp_path / f"{stem}.dynamics.h5", one)
        write_features(tmp_path / f"{stem}.gradients.features.h5", replace(features, encoder=ON_GRADIENTS))
        lookup = FeatureLookup(open_recording(tmp_path / f"{stem}.dynamics.h5"))
        names[stem] = default_estimator(lookup, rouge)[0]
        assert default_estimator(lookup, rouge, "test")[0] == FEW_RUNS
    assert names == {"both": ON_TEXT, "few": FEW_RUNS, "alone": FEW_RUNS}
    problem = unmet_need(ThroughLoss(), open_recording(tmp_path / "alone.dynamics.h5"), features, rouge)
    assert str(problem).startswith("through-loss needs the loss, which alone.dynamics.h5 doesn't hold beside rougeL")
    problem = unmet_need(
        ThroughLoss(), open_recording(tmp_path / "both.dynamics.h5"), features, dynamics.metrics["loss"]
    )
    assert str(problem).startswith("through-loss predicts what was recorded beside the loss, not the loss")
