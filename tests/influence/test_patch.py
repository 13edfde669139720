"""The rows of a patch: worse than the average row, suspicious, and few."""

import csv
import io
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest

import gptfl
from gptfl.core import MetricInfo
from gptfl.influence.closed_form import on_target
from gptfl.influence.patch import held_against_the_average, patch_places, patch_table
from gptfl.influence.ranking import Ranking, RankResult
from gptfl.influence.verdicts import Verdicts
from gptfl.store.id_files import read_ids
from tests.synthetic import examples

POOL = examples("train", 10, 2)


def results() -> tuple[RankResult, RankResult]:
    sign = np.array([-1, -1, -1, 1, -1, -1, 1, 1, -1, -1], dtype=float)
    decided = np.array([1, 1, 0, 1, 1, 1, 1, 0, 1, 0], dtype=bool)
    suspicion = np.array([0.5, -0.1, 2.0, 3.0, 1.5, 0.0, 1.0, 1.0, 0.7, 0.3])
    influence = sign * np.arange(1, 11) / 10
    verdicts = Verdicts(0.1, sign, np.full(10, 0.05), decided)
    ranking = Ranking(
        "exposure-gp", "exposure-gp", "remove", influence, 4, Path("x"), influence - 0.1, influence + 0.1, "", verdicts
    )
    ranked = RankResult("r", MetricInfo("loss", higher_is_better=False), "mean", "the mean", POOL, (ranking,))
    return ranked, replace(ranked, rankings=(replace(ranking, influence=suspicion, verdicts=None),))


def test_a_patch_holds_what_harms_and_is_suspicious_most_suspicious_first() -> None:
    ranked, cleaned = results()
    # 2 and 9 aren't decided, 3 helps, 1 and 5 aren't suspicious.
    assert patch_places(ranked, cleaned, 0.9) == [4, 8, 0]
    assert patch_places(ranked, cleaned, 0.2) == [4, 8]
    assert patch_places(ranked, cleaned, 0.05) == []
    assert patch_places(cleaned, cleaned, 0.9) == []  # nothing tells verdicts


def test_the_table_says_why_and_is_a_file_of_ids(tmp_path: Path) -> None:
    ranked, cleaned = results()
    path = tmp_path / "patch.csv"
    path.write_text(patch_table(ranked, cleaned, [4, 8]))
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    assert [row["id"] for row in rows] == [POOL[4].id, POOL[8].id]
    assert float(rows[0]["suspicion"]) == pytest.approx(1.5)
    assert float(rows[1]["influence"]) == pytest.approx(-0.9)
    assert {row["verdict"] for row in rows} == {"harmful"}
    assert [one.id for one in read_ids(path, {one.id for one in POOL})] == [POOL[4].id, POOL[8].id]


def test_verdicts_against_the_average_row_are_of_the_closed_form(space: Path) -> None:
    gptfl.fit("exposure-gp", workspace=space)
    simulator = gptfl.open_simulator(workspace=space)
    ranked = simulator.influence("mean", how="closed-form")
    found = held_against_the_average(ranked, simulator.opened, 0.1).rankings[0]
    mean, spread, _ = on_target(simulator.opened, np.arange(8), None, lambda *_: None)
    assert found.verdicts is not None
    np.testing.assert_allclose(found.influence, ranked.rankings[0].influence)
    wrong = np.array([NormalDist().cdf(-abs(one) / sure) for one, sure in zip(mean, spread, strict=True)])
    np.testing.assert_allclose(found.verdicts.wrong_sign, wrong, atol=1e-6)
    decided = wrong[found.verdicts.decided]
    assert len(decided) > 0
    assert decided.mean() <= 0.1
    assert {found.verdicts.of(place) for place in np.flatnonzero(found.verdicts.decided & (mean < 0))} == {"harmful"}
