"""What is wrong with a pool, each sign against its definition."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest

import gptfl
from gptfl.core import Example
from gptfl.errors import UsageError
from gptfl.influence.cleaning import COMBINED, suspicion_of, word_neighbours
from gptfl.plugins.registry import build
from gptfl.report.ranking import to_csv, to_json
from gptfl.scores.detection import detect
from gptfl.store.features import write_features
from gptfl.store.recordings import write_dynamics
from tests.synthetic import synthetic

DYNAMICS, FEATURES = synthetic(runs=14, pool=24, test=5, subset=8, batch_size=4, steps=12, every=3, example_effect=0.3)


def flip(example: Example) -> Example:
    fields = {"flipped": True, "clean_label": example.label}
    label = 1 - (example.label or 0)
    return replace(example, label=label, target=example.choices[label], fields=fields, digest="")


@pytest.fixture
def space(tmp_path: Path) -> Path:
    pool = tuple(flip(e) if place % 6 == 0 else e for place, e in enumerate(DYNAMICS.pool))
    dynamics = replace(DYNAMICS, pool=pool)
    write_dynamics(tmp_path / "made.dynamics.h5", dynamics)
    write_features(tmp_path / "made.synthetic.features.h5", replace(FEATURES, examples=dynamics.examples))
    gptfl.fit("exposure-gp", workspace=tmp_path)
    return tmp_path


def test_suspicion_is_the_mean_of_the_normal_scores_above_the_middle() -> None:
    normal = NormalDist()
    one, other = np.array([3.0, 1.0, 2.0, 2.0]), np.array([0.0, 5.0, 1.0, 2.0])
    first = [normal.inv_cdf(share) for share in (3.5 / 4, 0.5 / 4, 2 / 4, 2 / 4)]
    second = [normal.inv_cdf(share) for share in (0.5 / 4, 3.5 / 4, 1.5 / 4, 2.5 / 4)]
    above = [np.maximum(scores, 0.0) for scores in (first, second)]
    chance = 1.0 / np.sqrt(2.0 * np.pi)
    assert suspicion_of([one, other]) == pytest.approx(np.mean(above, axis=0) - chance)
    assert suspicion_of([np.ones(4)]) == pytest.approx(np.full(4, -chance))


def test_what_one_sign_says_is_not_taken_back_by_the_others() -> None:
    """A row that is first by two signs and last by three comes before one that is in the middle by every sign."""
    random = np.random.default_rng(0)
    signs = [random.permutation(100.0 * np.arange(100)) for _ in range(5)]
    for place, sign in enumerate(signs):
        sign[0] = 1e6 if place < 2 else -1.0
        sign[1] = np.median(sign)
    suspicion = suspicion_of(signs)
    assert suspicion[0] > 0 > suspicion[1]
    assert suspicion_of([random.normal(size=20_000) for _ in range(3)]).mean() == pytest.approx(0.0, abs=0.01)


def test_words_tell_what_is_unlike() -> None:
    texts = ["the lamp is on the table"] * 3 + ["quantum flux of a neutron star"]
    near = word_neighbours(build([]), [Example(str(place), text, "yes") for place, text in enumerate(texts)])
    assert near is not None
    assert near.apart.argmax() == 3
    assert word_neighbours(build([]), [Example(str(place), "", "") for place in range(3)]) is None


def test_every_sign_is_a_column_and_is_held_against_the_flips(space: Path) -> None:
    result = gptfl.rank(purpose="cleaning", workspace=space, figure=False, output=space / "suspects.csv")
    signs = result.signs
    assert signs is not None
    assert list(signs) == ["harm", "label unlike neighbours", "harm beyond neighbours", "outlier"]
    target = gptfl.rank(workspace=space, figure=False).rankings[0]
    np.testing.assert_allclose(signs["harm"], -target.influence)
    combined = suspicion_of(list(signs.values()))
    np.testing.assert_allclose(result.rankings[0].influence, combined)
    flipped = np.arange(24) % 6 == 0
    for name, values in {COMBINED: combined, **signs}.items():
        assert result.detections[name].area == detect(values, flipped).area
    assert any("tells no influence of the rows on themselves" in note for note in result.notes)
    assert any("first loss isn't known" in note for note in result.notes)
    rows = list(csv.DictReader((space / "suspects.csv").read_text().splitlines()))
    assert list(rows[0]) == ["estimator", "rank", "id", COMBINED, *signs, "class", "flipped", "text"]
    assert float(rows[0][COMBINED]) == combined.max()
    assert to_csv(result, 3) == to_csv(result, 3, reverse=True)  # the first are the suspicious ones either way
    examples = json.loads(to_json(result, 2))["rankings"][0]["examples"]
    assert [one["id"] for one in examples] == [one["id"] for one in rows[:2]]
    same = gptfl.open_simulator(workspace=space).influence(purpose="cleaning")
    np.testing.assert_allclose(same.rankings[0].influence, combined)


def test_what_can_not_be_asked_for_cleaning_is_one_line(space: Path) -> None:
    gptfl.fit("mean-run", workspace=space)
    with pytest.raises(UsageError, match="purpose is cleaning, and 2 simulators were given: give one"):
        gptfl.rank(purpose="cleaning", estimators=["exposure-gp", "mean-run"], workspace=space, figure=False)
    with pytest.raises(UsageError, match="purpose 'clean' is unknown: use target, cleaning or mixture"):
        gptfl.rank(purpose="clean", workspace=space)
