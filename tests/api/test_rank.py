import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import gptfl
from gptfl.errors import DataError, PluginError, UsageError
from tests import ranking_estimators
from tests.ranked import (
    FLIPPED,
    FLIPS,
    POOL,
    TEST,
    use_kin,
    write,
)


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


def test_the_same_seed_gives_the_same_ranking(space) -> None:
    gptfl.fit("gptfluence", workspace=space, settings={"epochs": 5})
    once, again, other = (gptfl.rank(workspace=space, seed=seed).rankings[0].influence for seed in (1, 1, 2))
    assert np.array_equal(once, again)
    assert not np.array_equal(once, other)


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
        (
            {"output": "x.tex"},
            UsageError,
            "--output x.tex has no known suffix for a table: end it in .csv, .parquet or .json",
        ),
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
