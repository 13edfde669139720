"""Pages of one result: their section of the whole page, by the same template and under the same policy."""

import re

import numpy as np
import pytest

import gptfl
from gptfl.errors import DataError, UsageError
from gptfl.report.page.arrays import packed
from gptfl.report.page.sections import check_page, section_of, write_section
from tests.report.page.test_render import Scripts


def texts(path):
    return path.read_text(encoding="utf-8")


@pytest.fixture
def results(hostile):
    """A result of each kind that has a section, by name."""
    ids = [one.id for one in gptfl.open_recording(workspace=hostile).pool]
    simulator = gptfl.open_simulator(workspace=hostile)
    return {
        "comparison": gptfl.compare(workspace=hostile, estimators=("exposure-gp",), figure=False),
        "ranking": gptfl.rank(workspace=hostile),
        "simulation": simulator.simulate(ids[:6], every_order=True),
        "held-out": simulator.simulate(),
        "selection": gptfl.select(4, workspace=hostile, search=0),
        "mixture": simulator.select(4, by="source"),
    }


NAMES = ("comparison", "ranking", "simulation", "held-out", "selection", "mixture")


@pytest.mark.parametrize("name", NAMES)
def test_a_page_of_a_result_is_closed_and_hostile_texts_do_nothing(results, tmp_path, name):
    path = gptfl.save(results[name], tmp_path / "x.html")
    text = texts(path)
    found = Scripts(text)
    whole = Scripts(
        texts(gptfl.write_report(tmp_path / "w.html", workspace=tmp_path / "work", no_comparison=True).path)
    )
    assert found.scripts == whole.scripts, "the same assets"
    assert [one for one in found.links if not one.startswith("data:image/png")] == []
    policies = [
        re.search(r'Content-Security-Policy" content="([^"]+)"', one)[1] for one in (text, texts(tmp_path / "w.html"))
    ]
    assert policies[0] == policies[1]
    assert "window.broken" not in text.replace("\\u003cscript>window.broken", "").replace(
        'onerror=\\"window.broken', ""
    ).replace("&lt;script&gt;window.broken", "").replace("onerror=&#34;window.broken", "")
    assert re.findall(r'data-tab="(\w+)"', text) == ["trust", "about"]
    assert "Made by <code>gptfl.save, of a" in text
    gptfl.save(results[name], path)  # its own page is replaced


def test_numbers_of_a_page_are_the_results(results, tmp_path):
    one = results["simulation"]
    found = Scripts(texts(gptfl.save(one, tmp_path / "x.html"))).data["held_out"]
    assert found["predicted"] == packed(one.values)
    assert found["recorded"] is None
    low, _ = one.prediction.intervals[0.9]
    assert found["low"] == packed(low)
    held = Scripts(texts(gptfl.save(results["held-out"], tmp_path / "y.html"))).data["held_out"]
    assert held["recorded"] == packed(results["held-out"].request.recorded)
    assert held["runs"] == list(results["held-out"].labels)
    compared = texts(gptfl.save(results["comparison"], tmp_path / "z.html"))
    assert all(row.estimator in compared for row in results["comparison"].rows)
    assert "Calibration" in compared
    ranked = Scripts(texts(gptfl.save(results["ranking"], tmp_path / "r.html")))
    order = [results["ranking"].pool[place].id for place in results["ranking"].rankings[0].order]
    assert [example["id"] for example in ranked.data["pool"]] == order


def test_a_trajectory_with_nothing_known_is_a_gap(results, tmp_path):
    from dataclasses import replace

    one = results["held-out"]
    reference = replace(one.reference, values=np.full_like(one.reference.values, np.nan))
    found = Scripts(texts(gptfl.save(replace(one, reference=reference), tmp_path / "x.html"))).data
    assert found["held_out"]["average"][0][0] is None


def test_a_ranking_shows_the_rows_asked_for_and_what_made_it(results, tmp_path):
    write_section(results["ranking"], tmp_path / "x.html", "gptfl rank --top 3", top=3, reverse=True)
    text = texts(tmp_path / "x.html")
    order = results["ranking"].rankings[0].order[::-1]
    assert [one["id"] for one in Scripts(text).data["pool"]] == [results["ranking"].pool[one].id for one in order[:3]]
    assert "Made by <code>gptfl rank --top 3</code>" in text
    assert section_of(results["ranking"]).tabs == {"trust": "Ranking", "about": "About"}
    with pytest.raises(UsageError, match=r"--html x\.txt is not an \.html file"):
        check_page(tmp_path.joinpath("x.txt").relative_to(tmp_path), "--html")


def test_what_is_no_page_or_not_its_own_is_refused(results, tmp_path):
    with pytest.raises(UsageError, match=r"Comparison is not saved as \.pdf: end it in \.json, \.csv, \.tex, \.html"):
        gptfl.save(results["comparison"], tmp_path / "x.pdf")
    mine = tmp_path / "mine.html"
    mine.write_text("<p>mine</p>")
    with pytest.raises(DataError, match="is not overwritten"):
        gptfl.save(results["comparison"], mine)
    assert mine.read_text() == "<p>mine</p>"
    with pytest.raises(UsageError, match="can't be saved"):
        gptfl.save(object(), tmp_path / "x.html")
    assert not (tmp_path / "x.html").exists()
