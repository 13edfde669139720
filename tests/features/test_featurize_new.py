"""Rows that a recording lacks get vectors like those of its features (``featurize_new``), which other commands find."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import gptfl
from gptfl.core import Dynamics
from gptfl.errors import DataError, UsageError
from gptfl.features import new_gradients
from gptfl.features.featurize import featurize
from gptfl.store.features import read_feature_rows, read_features
from gptfl.store.recordings import read_dynamics
from gptfl.store.workspace import reference_folder
from tests.recording.test_collect import record

SETS = ["raw-0", "raw-4", "split-4"]


@pytest.fixture(scope="module")
def made(neox: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording with its reference run and gradient features, and four of its rows as if they were new ones."""
    folder = tmp_path_factory.mktemp("new")
    path = record(neox, folder, sketches=True, sketch_dimensions=24, sketch_points=2, keep_reference=True, runs=4).path
    featurize(workspace=folder)
    rows = [
        {"id": f"n{i}", "prompt": one.prompt, "target": one.target}
        for i, one in enumerate(read_dynamics(path).pool[:4])
    ]
    (folder / "more.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


@pytest.fixture
def space(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "copy"))


def recorded(space: Path) -> Dynamics:
    return read_dynamics(space / "errands-small-neox.dynamics.h5")


def test_new_rows_have_the_gradients_that_collect_would_have_sketched(space: Path) -> None:
    result = featurize(workspace=space, new=space / "more.jsonl")
    assert result.path.name == "errands-small-neox.new-more.gradients.features.h5"
    assert (result.encoder, sorted(result.dims), result.embedded, result.reused) == ("gradients", SETS, 4, 0)
    own = read_features(space / "errands-small-neox.gradients.features.h5")
    found, keys, none = read_feature_rows(result.path)
    assert (len(keys), none) == (4, ())
    assert found.identity == own.identity
    for name in SETS:
        got, expected = found.sets[name].train, own.sets[name].train[:4]
        assert found.sets[name].kind == "gradient"
        off = np.linalg.norm(got - expected, axis=1)
        assert (off <= 1e-2 * np.linalg.norm(expected, axis=1)).all()
    again = featurize(workspace=space, new=space / "more.jsonl")
    assert (again.embedded, again.reused) == (0, 4)


def test_they_are_of_no_use_as_the_recordings_own(space: Path) -> None:
    featurize(workspace=space, new=space / "more.jsonl")
    assert gptfl.fit(workspace=space).estimator == "exposure-gp"


def test_settings_of_the_recordings_features_are_kept(space: Path) -> None:
    featurize("gradients", workspace=space, settings={"points": 4, "dimensions": 5, "divided": "pool"})
    result = featurize("gradients", workspace=space, new=space / "more.jsonl")
    own = read_features(space / "errands-small-neox.gradients.features.h5").sets
    found = read_features(result.path).sets
    assert sorted(found) == sorted(own) == ["preconditioned-4", "raw-4"]
    for name, one in found.items():
        np.testing.assert_allclose(one.train, own[name].train[:4], rtol=1e-2, atol=2e-2 * np.abs(own[name].train).max())


def test_simulate_takes_the_vectors_that_are_there_and_makes_others(
    space: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gptfl.fit(workspace=space)
    asked = {"workspace": space, "new_train": space / "more.jsonl", "subset": ["n0", "n1", recorded(space).pool[5].id]}
    made = gptfl.simulate(**asked)
    featurize(workspace=space, new=space / "more.jsonl")
    shutil.rmtree(reference_folder(space / "errands-small-neox.dynamics.h5"))

    def never(*given: object) -> None:
        raise AssertionError("the vectors are there")

    monkeypatch.setattr(new_gradients, "sketch_new", never)
    found = gptfl.simulate(**asked)
    np.testing.assert_allclose(found.values, made.values, rtol=1e-4)


def test_a_row_that_is_an_old_one_counts_as_it_does(space: Path) -> None:
    """A new row with the text of a recorded one moves the metric as that does, but for what a row does by itself."""
    gptfl.fit(workspace=space)
    ids = [one.id for one in recorded(space).pool]
    given = {"workspace": space, "new_train": space / "more.jsonl"}
    new = gptfl.simulate(subset=["n0", "n1", *ids[6:10]], **given)
    old = gptfl.simulate(subset=[*ids[:2], *ids[6:10]], **given)
    other = gptfl.simulate(subset=[*ids[2:4], *ids[6:10]], **given)
    assert abs(new.values[-1] - old.values[-1]).mean() < abs(other.values[-1] - old.values[-1]).mean()


def test_check_tells_of_new_rows_by_their_gradients(space: Path) -> None:
    gptfl.fit(workspace=space)
    found = gptfl.check(space / "more.jsonl", workspace=space)
    assert found.rows == 4
    assert found.additions[0].low < found.additions[0].influence < found.additions[0].high


def test_without_the_reference_run_it_says_which_command_keeps_it(space: Path) -> None:
    shutil.rmtree(reference_folder(space / "errands-small-neox.dynamics.h5"))
    with pytest.raises(DataError, match=r"keeps no reference run.*--keep-reference"):
        featurize(workspace=space, new=space / "more.jsonl")


def test_texts_are_embedded_as_the_recordings_were(space: Path) -> None:
    with pytest.raises(DataError, match="holds no features of errands-small-neox by the encoder 'tfidf-svd'"):
        featurize("tfidf-svd", workspace=space, new=space / "more.jsonl")
    own = featurize("tfidf-svd", workspace=space, settings={"dims": 4})
    result = featurize("tfidf-svd", workspace=space, new=space / "more.jsonl")
    assert (result.encoder, result.embedded, result.dims) == ("tfidf-svd", 4, own.dims)
    got, expected = (read_features(one.path).sets["text"].train[:4] for one in (result, own))
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"settings": {"dims": 3}}, "--set and --new were given together"),
        ({"data": "x"}, "--data and --new were given together"),
        ({"recipe": "x"}, "--recipe and --new were given together"),
    ],
)
def test_options_that_say_nothing_of_new_rows(space: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        featurize(workspace=space, new=space / "more.jsonl", **options)


def test_rows_that_are_none_and_recordings_without_features(space: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.jsonl is no file"):
        featurize(workspace=space, new=space / "absent.jsonl")
    (space / "errands-small-neox.gradients.features.h5").unlink()
    with pytest.raises(DataError, match="has no features, which say how new rows are embedded: run gptfl featurize"):
        featurize(workspace=space, new=space / "more.jsonl")
