import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import gptfl
from gptfl.core import Query
from gptfl.errors import DataError, PluginError, UsageError
from gptfl.features import lookup
from gptfl.features import vectors as feature_vectors
from gptfl.influence import simulated as simulated_influence
from gptfl.simulation.simulator import open_fitted
from gptfl.store.features import write_features
from gptfl.store.recordings import write_dynamics
from gptfl.store.simulators import read_simulator, write_simulator
from tests import ranking_estimators
from tests.api.ranked import (
    DYNAMICS,
    FEATURES,
    FLIPPED,
    FLIPS,
    IDS,
    POOL,
    TEST,
    TESTS,
    dropped,
    loop,
    replaced,
    use_kin,
    write,
)
from tests.synthetic import synthetic


@pytest.fixture(autouse=True)
def registry():
    with use_kin():
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("made"))


@pytest.fixture
def space(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path, dirs_exist_ok=True))


@pytest.fixture(scope="module")
def several_fits(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with simulators of all kinds; the one made last is of mean-run."""
    folder = Path(shutil.copytree(made, tmp_path_factory.mktemp("fits"), dirs_exist_ok=True))
    with use_kin():
        for name in ("local", "liar", "witness", "bayes", "crooked", "muddled", "mean-run"):
            gptfl.fit(name, workspace=folder)
    return folder


@pytest.mark.parametrize(("how", "plainly"), [("drop", dropped), ("replace", replaced)])
@pytest.mark.parametrize("numbers", [simulated_influence.MAX_NUMBERS, 200])
def test_batched_influences_are_those_of_a_plain_loop(space, monkeypatch, how, plainly, numbers) -> None:
    monkeypatch.setattr(simulated_influence, "MAX_NUMBERS", numbers)
    fitted = gptfl.fit("gptfluence", workspace=space, settings={"epochs": 30})
    source = open_fitted(fitted.path, None, space, None, None)
    for on, reading in (("mean", np.mean), (f"test:{TESTS[2]}", lambda values: values[2])):
        result = gptfl.rank(workspace=space, on=on, how=how, orders=2, seed=5)
        expected = loop(source, plainly, reading)
        np.testing.assert_allclose(result.rankings[0].influence, expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("how", ["drop", "replace"])
def test_an_additive_simulator_gives_back_its_own_influences(space, how) -> None:
    gptfl.fit("kin", workspace=space)
    vectors = np.asarray(FEATURES.sets["vectors"].train, dtype=float)
    tests = np.asarray(FEATURES.sets["vectors"].test, dtype=float)
    for on, truth in (("mean", vectors @ tests.mean(axis=0)), ("self", (vectors**2).sum(axis=1))):
        influence = gptfl.rank(workspace=space, on=on, how=how, orders=40).rankings[0].influence
        assert np.corrcoef(influence, truth)[0, 1] > 0.9


def test_self_asks_about_the_pool_as_test_examples(space, monkeypatch) -> None:
    queries: list[Query] = []
    predict = ranking_estimators.Kin.predict
    monkeypatch.setattr(
        ranking_estimators.Kin, "predict", lambda self, query: queries.append(query) or predict(self, query)
    )
    gptfl.fit("kin", workspace=space)
    result = gptfl.rank(workspace=space, on="self", how="drop", orders=1)
    unseen = next(query.unseen for query in queries if query.unseen is not None)
    assert unseen.pool == unseen.test == DYNAMICS.pool
    assert unseen.pool_seen.tolist() == list(range(POOL))
    assert set(unseen.test_seen.tolist()) == {-1}
    one = unseen.features.sets["vectors"]
    assert np.array_equal(one.train, one.test)
    start = np.mean([run.metrics["loss"][0] for run in DYNAMICS.runs])
    assert any(f"the mean of the test examples, {start:.4g}" in note for note in result.notes)
    assert any("extrapolation" in note for note in result.notes)
    first = next(query.first for query in queries if query.unseen is not None)
    np.testing.assert_allclose(first, start)


def test_own_first_scores_that_were_measured_are_taken(space) -> None:
    gptfl.fit("kin", workspace=space)
    values = dict(zip(IDS, np.linspace(1, 2, POOL).tolist(), strict=True))
    content = {"recording": DYNAMICS.examples, "metric": "loss", "model": "m", "values": values}
    path = space / "syn.loss.first-scores.json"
    path.write_text(json.dumps(content))
    assert not any("taken to start" in note for note in gptfl.rank(workspace=space, on="self").notes)
    path.write_text(json.dumps({**content, "values": {}}))
    with pytest.raises(DataError, match=r"first-scores.json is damaged \(KeyError\): delete it"):
        gptfl.rank(workspace=space, on="self")
    path.write_text(json.dumps({**content, "recording": "another"}))
    assert any("taken to start" in note for note in gptfl.rank(workspace=space, on="self").notes)


def test_what_an_estimator_says_itself_is_taken_by_default(space) -> None:
    gptfl.fit("teller", workspace=space)
    vectors, tests = (np.asarray(one, float) for one in (FEATURES.sets["vectors"].train, FEATURES.sets["vectors"].test))
    ranked = gptfl.rank(workspace=space, on="self").rankings[0]
    assert (ranked.how, ranked.step) == ("derivative", None)
    np.testing.assert_allclose(ranked.influence, (vectors**2).sum(axis=1))
    group = gptfl.rank(workspace=space, on=TESTS[:2]).rankings[0]
    np.testing.assert_allclose(group.influence, (vectors @ tests[:2].T).mean(axis=1))
    ids = space / "ids.txt"
    ids.write_text("\n".join(TESTS[:2]))
    filed = gptfl.rank(workspace=space, on=f"group:{ids}", how="derivative").rankings[0]
    assert np.array_equal(filed.influence, group.influence)
    assert gptfl.rank(workspace=space, how="replace").rankings[0].step == 8


@pytest.mark.parametrize("chunk", [3, 4096])
def test_influence_in_closed_form_is_that_of_a_dense_loop(space, monkeypatch, chunk) -> None:
    fitted = gptfl.fit("bayes", workspace=space)
    monkeypatch.setattr(feature_vectors, "CHUNK", chunk)
    # The features are only ever read in rows.
    monkeypatch.setattr(lookup, "read_features", None)
    expected = []
    result = gptfl.rank(
        workspace=space, on=TESTS[1:4], how="closed-form", progress=lambda *given: expected.append(given)
    )
    ranking = result.rankings[0]
    assert (ranking.how, ranking.step) == ("closed-form", 8)
    assert [one[1:3] for one in expected] == [(min(stop, POOL), POOL) for stop in range(chunk, POOL + chunk, chunk)]
    # The same Gaussian process by its kernel, a curriculum at a time: the average run against one example more.
    runs = [run for run in DYNAMICS.runs if run.role == "fit"]
    vectors = np.asarray(FEATURES.sets["vectors"].train, float)
    seen = np.zeros((len(runs), POOL))
    for row, run in enumerate(runs):
        for batch, rate in zip(run.curriculum.batches, run.curriculum.learning_rates, strict=True):
            for place in batch:
                seen[row, place] += rate / len(batch)
    rate = np.mean([run.curriculum.learning_rates for run in runs]) / runs[0].curriculum.batches.shape[1]
    values = np.stack([run.metrics["loss"][-1] for run in runs])
    inputs = (seen - seen.mean(axis=0)) @ vectors
    gram = np.linalg.inv(
        inputs @ inputs.T * ranking_estimators.PRIOR**2 + ranking_estimators.NOISE**2 * np.eye(len(runs))
    )
    for place in range(POOL):
        moved = rate * (vectors[place] - vectors.mean(axis=0))
        cross = inputs @ moved * ranking_estimators.PRIOR**2
        mean = (cross @ gram @ (values - values.mean(axis=0)))[1:4].mean()
        spread = np.sqrt((moved @ moved * ranking_estimators.PRIOR**2 - cross @ gram @ cross) / 3)
        assert ranking.influence[place] == pytest.approx(-mean, rel=1e-6, abs=1e-9)
        assert ranking.high[place] - ranking.influence[place] == pytest.approx(1.6448536 * spread, rel=1e-4)
        assert ranking.influence[place] - ranking.low[place] == pytest.approx(1.6448536 * spread, rel=1e-4)
    assert any(note.startswith("trust in bayes: on the") for note in result.notes)
    assert open_fitted(fitted.path, None, space, None, None).scope.features is None


def test_influence_in_closed_form_agrees_with_simulated_replacements(space) -> None:
    gptfl.fit("bayes", workspace=space)
    closed, simulated = (
        gptfl.rank(workspace=space, how=how, orders=40).rankings[0] for how in ("closed-form", "replace")
    )
    assert simulated.low is None
    assert np.corrcoef(closed.influence, simulated.influence)[0, 1] > 0.95


def test_closed_form_knows_nothing_of_test_examples_set_aside(space) -> None:
    gptfl.fit("sly", workspace=space, unseen="test", settings={})
    source = open_fitted(None, None, space, None, None)
    seen = [one.id for one, place in zip(DYNAMICS.test, source.scope.test_seen, strict=True) if place >= 0]
    ranked = gptfl.rank(workspace=space, on=seen).rankings[0]
    assert ranked.how == "remove"
    with pytest.raises(DataError, match=r"was fitted without test example 'test-\d', and tells no influence on it"):
        gptfl.rank(workspace=space)


def test_ties_stay_in_the_pools_order(space) -> None:
    gptfl.fit("mean-run", workspace=space)
    result = gptfl.rank(workspace=space)
    assert result.rankings[0].order == list(range(POOL))
    assert np.ptp(result.rankings[0].influence) == 0
    assert any("tells no example from another" in note for note in result.notes)


def test_the_same_seed_gives_the_same_ranking(space) -> None:
    gptfl.fit("gptfluence", workspace=space, settings={"epochs": 5})
    once, again, other = (gptfl.rank(workspace=space, seed=seed).rankings[0].influence for seed in (1, 1, 2))
    assert np.array_equal(once, again)
    assert not np.array_equal(once, other)


def test_a_metric_to_be_high_turns_the_sign(tmp_path) -> None:
    gained = replace(DYNAMICS, metrics={"loss": replace(DYNAMICS.metrics["loss"], higher_is_better=True)})
    signs = []
    for name, dynamics in (("low", DYNAMICS), ("high", gained)):
        folder = tmp_path / name
        folder.mkdir()
        write(folder, dynamics)
        gptfl.fit("kin", workspace=folder)
        signs.append(gptfl.rank(workspace=folder).rankings[0].influence)
    np.testing.assert_allclose(signs[0], -signs[1])


@pytest.mark.usefixtures("laid_out")
def test_flips_are_looked_for_where_influence_is_suspect(tmp_path, monkeypatch) -> None:
    space = write(tmp_path, FLIPPED)
    gptfl.fit("teller", workspace=space)
    influence = np.where(np.isin(np.arange(POOL), FLIPS), 2.0, 1.0)
    monkeypatch.setattr(ranking_estimators.Teller, "self_influence", lambda self: influence)
    monkeypatch.setattr(
        ranking_estimators.Teller, "influence", lambda self: np.repeat(-influence[:, None], TEST, axis=1)
    )
    for on in ("self", "mean"):
        result = gptfl.rank(workspace=space, on=on)
        assert result.detections["teller"].area == pytest.approx(1.0)
        assert result.flipped.tolist() == [place in FLIPS for place in range(POOL)]
        assert result.figure == space / f"syn.loss.{on}.flips.png"
        assert result.figure.read_bytes()[:4] == b"\x89PNG"
    gptfl.fit("mean-run", workspace=space)
    values = {example.id: float(place in FLIPS) for place, example in enumerate(FLIPPED.pool)}
    first = {"recording": FLIPPED.examples, "metric": "loss", "model": "m", "values": values}
    (space / "syn.loss.first-scores.json").write_text(json.dumps(first))
    out = space / "out.json"
    both = gptfl.rank(workspace=space, estimators=["teller", "mean-run"], figure=space / "a.pdf", output=out)
    areas = {name: one.area for name, one in both.detections.items()}
    expected = {"teller": 1.0, "mean-run": 0.5, "own first loss": 1.0, "teller on itself": 1.0}
    assert areas == pytest.approx(expected)
    stored = json.loads(out.read_text())
    assert stored["flipped"] == len(FLIPS)
    assert stored["detection"]["mean-run"]["found"] == pytest.approx(stored["detection"]["mean-run"]["checked"])
    assert [row["flipped"] for row in stored["rankings"][0]["examples"]].count(True) == len(FLIPS)


def test_two_simulators_of_one_estimator_keep_apart(space) -> None:
    made = [gptfl.fit("gptfluence", workspace=space, settings={"epochs": epochs}) for epochs in (1, 2)]
    result = gptfl.rank([one.path for one in made], workspace=space)
    assert [one.label for one in result.rankings] == [one.path.name.removesuffix(".simulator.h5") for one in made]


def test_runs_over_the_whole_pool_leave_nothing_to_replace_with(tmp_path) -> None:
    dynamics, features = synthetic(runs=8, pool=6, test=3, subset=6, batch_size=3, steps=4, every=1)
    write_dynamics(tmp_path / "all.dynamics.h5", dynamics)
    write_features(tmp_path / "all.synthetic.features.h5", features)
    gptfl.fit("kin", workspace=tmp_path)
    with pytest.raises(DataError, match=r"--how replace: the recorded runs see all 6 .*: use --how drop"):
        gptfl.rank(workspace=tmp_path, how="replace")
    assert len(gptfl.rank(workspace=tmp_path, how="drop").rankings[0].influence) == 6


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"how": "foo"}, UsageError, "how 'foo' is unknown: use remove, replace, drop, closed-form, derivative"),
        ({"how": "drp"}, UsageError, "how 'drp' is unknown: did you mean 'drop'"),
        ({"top": 0}, UsageError, "top is 0: give 1 or more"),
        ({"orders": 0}, UsageError, "orders is 0: give 1 or more"),
        ({"on": "everything"}, UsageError, "on 'everything' is unknown: use mean, self, test:ID or group:FILE"),
        ({"on": "test-1"}, UsageError, "on 'test-1' is unknown: did you mean test:test-1"),
        ({"on": "test:tst-1"}, DataError, r"--on test:tst-1: 'tst-1' is not an id of the test set of 5: did you mean"),
        ({"on": "group:absent.txt"}, DataError, "absent.txt does not exist"),
        ({"on": "self", "estimators": ["local"]}, DataError, "local can't tell influence on self: .*use --on mean"),
        ({"how": "derivative"}, DataError, r"mean-run can't tell --how derivative on mean \(it has no influence\)"),
        (
            {"how": "closed-form"},
            DataError,
            r"mean-run can't tell --how closed-form on mean \(it has no influence_of\)",
        ),
        (
            {"estimators": ["bayes"], "how": "closed-form", "on": "self"},
            DataError,
            "bayes can't tell --how closed-form on",
        ),
        ({"estimators": ["crooked"]}, PluginError, "told influences or spreads that are not finite or below 0"),
        ({"estimators": ["muddled"]}, PluginError, r"told influences of shape \(14,\), not \(14, 1\)"),
        ({"estimators": ["bayes"], "features": "none.h5"}, DataError, "none.h5 does not exist"),
        ({"figure": "x.png"}, DataError, "has no flipped labels, and --figure x.png would"),
        ({"output": "x.tex"}, UsageError, "--output x.tex has no known suffix for a table: end it in .csv or .json"),
        ({"estimators": ["liar"], "how": "derivative"}, PluginError, r"influences of shape \(2, 2\), not finite"),
        ({"estimators": ["witness"]}, DataError, "witness looks along the runs that it explains"),
        ({"estimators": ["class-share"]}, DataError, "no simulator of estimator class-share"),
    ],
)
def test_what_cannot_be_ranked_is_reported_in_one_line(several_fits, tmp_path, options, error, says) -> None:
    space = shutil.copytree(several_fits, tmp_path / "fits")
    with pytest.raises(error, match=says) as caught:
        gptfl.rank(workspace=space, **options)
    assert "\n" not in str(caught.value)


def test_examples_set_aside_from_the_fit_are_ranked_with_the_others(space) -> None:
    vectors, tests = (np.asarray(one, float) for one in (FEATURES.sets["vectors"].train, FEATURES.sets["vectors"].test))
    gptfl.fit("teller", workspace=space, unseen="both")
    for on, truth in (("mean", vectors @ tests.mean(axis=0)), ("self", (vectors**2).sum(axis=1))):
        influence = gptfl.rank(workspace=space, on=on, how="replace", orders=40).rankings[0].influence
        assert np.corrcoef(influence, truth)[0, 1] > 0.9
        with pytest.raises(DataError, match=r"was fitted with examples set aside.*use --how replace"):
            gptfl.rank(workspace=space, on=on)


def test_simulators_of_two_recordings_or_metrics_are_not_mixed(space, tmp_path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    write(other, FLIPPED)
    paths = [gptfl.fit("kin", workspace=folder).path for folder in (space, other)]
    with pytest.raises(DataError, match="was fitted to other examples than"):
        gptfl.rank(paths)
    found = read_simulator(paths[0])
    write_simulator(space / "syn.kin.gain.simulator.h5", replace(found, metric=replace(found.metric, name="gain")))
    with pytest.raises(UsageError, match="is a simulator of gain, not loss"):
        gptfl.rank([paths[0], space / "syn.kin.gain.simulator.h5"])
