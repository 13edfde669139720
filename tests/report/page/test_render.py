"""What a page holds as text; test_browser.py looks at it in a browser."""

import json
import os
import re
from html.parser import HTMLParser
from importlib import resources

import pytest

import gptfl
from gptfl.core import Example, MetricInfo
from gptfl.errors import DataError, UsageError
from gptfl.report.page.content import PageParts
from gptfl.report.page.render import SCRIPTS, html_of


class Scripts(HTMLParser):
    """The elements of a page, and the scripts that it would run."""

    def __init__(self, text):
        super().__init__()
        self.scripts, self.data, self.links, self._in = [], None, [], None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.links += [value for name, value in attributes if name in ("src", "href") and not value.startswith("#")]
        self._in = (given.get("type"), given.get("id")) if tag == "script" else self._in

    def handle_endtag(self, tag):
        self._in = None if tag == "script" else self._in

    def handle_data(self, data):
        if self._in == (None, None):
            self.scripts.append(data)
        elif self._in is not None:
            self.data = json.loads(data)


@pytest.fixture
def page(hostile):
    """The page of a recording of hostile texts, and what made it."""
    made = gptfl.write_report(workspace=hostile)
    return made, made.path.read_text(encoding="utf-8")


def test_a_page_has_every_part_there_is(page):
    made, _ = page
    assert made.path.name == "report.html"
    assert made.parts == ("what if", "who moves whom", "suspects", "comparison", "held-out runs")
    assert made.missing == (("a prediction held against a training", "gptfl verify --subset subset.txt"),)


def test_texts_stand_in_it_as_texts(page):
    found = Scripts(page[1])
    assert len(found.scripts) == 2, "uPlot and the page's own"
    assert found.data["pool"][0]["prompt"] == "<script>window.broken = 1</script> number 0:"
    assert found.data["groups"]["source"]["values"] == ["a<b>", "web"]
    assert "window.broken" not in page[1].replace("\\u003cscript>window.broken", "").replace(
        'onerror=\\"window.broken', ""
    )


def test_nothing_is_fetched_and_only_its_own_scripts_run(page):
    text = page[1]
    assert Scripts(text).links == []
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)[1]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert not re.search(r'\s(style|onclick|onerror)="', text.partition('<script type="application/json"')[0])


def test_an_earlier_page_is_replaced_and_nothing_else(hostile):
    gptfl.write_report(workspace=hostile, no_comparison=True)
    gptfl.write_report(workspace=hostile, no_comparison=True)
    mine = hostile / "mine.html"
    mine.write_text("<!doctype html>\n<p>mine")
    with pytest.raises(DataError, match="is not overwritten"):
        gptfl.write_report(mine, workspace=hostile)
    with pytest.raises(UsageError, match=r"is not an \.html file"):
        gptfl.write_report(hostile / "report.pdf", workspace=hostile)


def test_without_a_simulator_the_page_says_what_makes_one(hostile):
    for path in hostile.glob("*.simulator.h5"):
        path.unlink()
    made = gptfl.write_report(workspace=hostile)
    assert "what if" not in made.parts
    assert made.missing[0] == ("what-if answers, influences and suspects", "gptfl featurize && gptfl fit")
    assert "gptfl featurize, then gptfl fit" in made.path.read_text()


def test_a_verification_is_shown(hostile):
    (hostile / "syn.exposure-gp.loss-1.verified.json").write_text(
        json.dumps(
            {
                "recording": "syn.dynamics.h5",
                "estimator": "exposure-gp",
                "metric": "loss",
                "what": "3 <b> examples",
                "predicted": 1.5,
                "recorded": 1.25,
                "reference": 2.0,
            }
        )
    )
    (hostile / "other.verified.json").write_text("{")
    made = gptfl.write_report(workspace=hostile, no_comparison=True)
    assert "verifications" in made.parts
    text = made.path.read_text()
    assert "Verified: 3 &lt;b&gt; examples" in text
    assert (
        "predicted a mean loss of 1.5 (-0.5 from the average recorded run), and the training gave 1.25 (-0.75)" in text
    )


def test_a_subset_that_was_saved_is_offered_and_what_is_no_file_is_passed_over(hostile):
    (hostile / "mine.txt").write_text("train-3\ntrain-1\n", encoding="utf-8")
    (hostile / "notes.txt").write_text("not an id\n", encoding="utf-8")
    (hostile / "gone.txt").symlink_to(hostile / "nowhere.txt")
    (hostile / "gone.verified.json").symlink_to(hostile / "nowhere.json")
    os.mkfifo(hostile / "pipe.txt")
    made = gptfl.write_report(workspace=hostile, no_comparison=True)
    assert Scripts(made.path.read_text(encoding="utf-8")).data["subsets"] == [{"name": "mine", "rows": [3, 1]}]


def test_no_script_is_left_out():
    """A script that isn't listed would be missing in every page, and only a browser could tell."""
    there = {one.name for one in resources.files("gptfl.report.page").joinpath("assets").iterdir()}
    assert {name for name in there if name.endswith(".js")} == {*SCRIPTS, "uPlot.iife.min.js"}
    assert SCRIPTS[-1] == "main.js"


def test_a_text_that_ends_a_script_ends_none():
    bad = "</script><script>alert(1)</script><!--"
    commands = dict.fromkeys(("simulate", "verify", "verify_drop"), bad)

    def page(text):
        pool, tests = (Example("a", text, text),), (Example("t", text, "x"),)
        return html_of(PageParts(text, {text: text}, MetricInfo("loss", False), pool, tests, commands=commands))

    assert "alert(1)</script>" not in page(bad)
    assert page(bad).count("</script>") == page("plain").count("</script>")
