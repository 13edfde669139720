import numpy as np
import pytest

from gptfl.core import role_of
from gptfl.core.queries import query_for
from gptfl.errors import DataError, PluginError
from gptfl.estimators.class_share import ClassShare
from gptfl.simulation.fit import fit
from gptfl.store.recordings import read_dynamics, write_dynamics
from gptfl.store.simulators import read_simulator
from tests.synthetic import LOSS, synthetic


def test_writes_a_simulator_that_predicts_as_the_fitted_one(space):
    result = fit("class-share", workspace=space, settings={"strength": 0.5})
    assert (result.fit_runs, result.validation_runs) == (18, 2)
    assert result.settings == {"strength": 0.5}
    found = read_simulator(result.path)
    dynamics = read_dynamics(space / "syn.dynamics.h5")
    assert (found.estimator, found.metric, found.key) == ("class-share", LOSS, result.key)
    assert (found.dynamics, found.examples, found.features) == (dynamics.fingerprint, dynamics.examples, None)
    assert found.info["fit_runs"] == [i for i in range(24) if role_of(i) == "fit"]
    query = query_for(dynamics.with_role("test"), LOSS)
    again = ClassShare(**found.settings).restore(found.state).predict(query).values
    assert np.isfinite(again).all()


def test_the_key_tells_what_determines_the_fit(space):
    keys = {
        fit("recall", workspace=space).key,
        fit("recall", workspace=space, seed=1).key,
        fit("recall", workspace=space, settings={"scale": 2.0}).key,
        fit("recall", workspace=space, encoder="synthetic").key,
        fit("mean-run", workspace=space).key,
    }
    assert len(keys) == 5
    assert fit("recall", workspace=space).key in keys


def test_test_runs_do_not_matter(space):
    before = fit("recall", workspace=space).key
    dynamics, _ = synthetic(24)
    write_dynamics(
        space / "syn.dynamics.h5",
        type(dynamics)(
            dynamics.pool, dynamics.test, dynamics.metrics, tuple(r for r in dynamics.runs if r.role != "test")
        ),
    )
    assert fit("recall", workspace=space).key == before


def test_output_goes_where_it_is_asked(space, tmp_path):
    assert fit("recall", workspace=space, output=tmp_path / "x.h5").path == tmp_path / "x.h5"
    assert read_simulator(tmp_path / "x.h5").info["provider"] == "tests.plugin_estimators"


@pytest.mark.parametrize("name", ["syn.dynamics.h5", "syn.synthetic.features.h5", "ids.txt"])
def test_output_overwrites_nothing_but_a_simulator(space, name):
    (space / "ids.txt").write_text("train-1\n")
    before = {path: path.read_bytes() for path in space.iterdir()}
    with pytest.raises(DataError, match=f"{name}.*is not overwritten: give another --output"):
        fit("recall", workspace=space, output=space / name)
    assert {path: path.read_bytes() for path in space.iterdir()} == before
    fit("recall", workspace=space, output=space / "x.h5")
    fit("mean-run", workspace=space, output=space / "x.h5")
    assert read_simulator(space / "x.h5").estimator == "mean-run"


@pytest.mark.parametrize(
    ("estimator", "match"),
    [
        ("featured", r"featured needs features, and .* holds none of syn: run gptfl featurize first"),
        ("greedy", "greedy needs checkpoints, which the recording doesn't hold"),
        ("refusing", "too little to learn from"),
    ],
)
def test_unmet_needs_stop_before_any_work(space, estimator, match):
    (space / "syn.synthetic.features.h5").unlink()
    with pytest.raises(DataError, match=match):
        fit(estimator, workspace=space)
    assert not list(space.glob("*.simulator.h5"))


def test_a_default_that_nobody_named_is_told_with_its_reason(space):
    (space / "syn.synthetic.features.h5").unlink()
    with pytest.raises(DataError) as caught:
        fit(workspace=space)
    why = "no --estimator is given, and without gradient features it is gptfluence: gptfluence needs features"
    assert caught.value.problem.startswith(why)
    assert caught.value.remedy == "run gptfl featurize first, or name another with --estimator"
    with pytest.raises(DataError, match=r"^gptfluence needs features"):
        fit("gptfluence", workspace=space)


def test_classes_that_are_not_there_are_a_data_error(space):
    write_dynamics(space / "syn.dynamics.h5", synthetic(24, classes=0)[0])
    with pytest.raises(DataError, match="class-share needs classes"):
        fit("class-share", workspace=space)


def test_too_few_runs_are_a_data_error(space):
    write_dynamics(space / "syn.dynamics.h5", synthetic(1)[0])
    with pytest.raises(DataError, match="1 run to fit and at least 2 are needed: record more runs"):
        fit("mean-run", workspace=space)


@pytest.mark.parametrize(
    ("estimator", "settings", "match"),
    [
        ("recal", {}, "unknown estimator 'recal': did you mean 'recall'"),
        ("recall", {"scael": 1}, "has no setting 'scael'"),
        ("raising", {}, "'raising' of tests.plugin_estimators raised ValueError in fit: no idea"),
        ("forgetful", {}, "fit returned NoneType"),
    ],
)
def test_broken_plugins_are_named(space, estimator, settings, match):
    with pytest.raises(PluginError, match=match):
        fit(estimator, workspace=space, settings=settings)
