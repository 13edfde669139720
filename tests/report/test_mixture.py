"""A mixture as table, picture and numbers, and what is said of it."""

import csv
import json

import numpy as np

from gptfl.influence.two_sides import Gain
from gptfl.report.mixture import (
    better_words,
    draw_mixture,
    mixture_csv,
    mixture_figure,
    mixture_ids_text,
    mixture_json,
    mixture_rows,
    mixture_table,
)
from tests.report.chosen import mixture
from tests.report.made import printed


def test_what_the_interval_holds_is_said():
    assert better_words(mixture()) == "not clearly better than the pool's own mixture: the interval holds 0"
    assert better_words(mixture(better=Gain(0.2, 0.1, 0.3))).startswith("clearly better")
    assert better_words(mixture(better=Gain(-0.2, -0.3, -0.1))).startswith("clearly worse")
    assert better_words(mixture(better=Gain(0.2))) == "nothing says whether that is more than chance"
    assert better_words(mixture(usual=np.array([1, 2]))).startswith("these are the pool's own shares")


def test_groups_come_the_greatest_share_first():
    assert [row["group"] for row in mixture_rows(mixture())] == ["c$", "a <b>"]
    rows = list(csv.DictReader(mixture_csv(mixture()).splitlines()))
    assert [(row["chosen"], row["rows"]) for row in rows] == [("2", "2"), ("1", "4")]
    text = printed(mixture_table(mixture(), 1), 100)
    assert "c$" in text
    assert "a <b>" not in text
    document = json.loads(mixture_json(mixture()))
    assert document["better_than_pool_shares"] == {"value": 0.1, "low": -0.1, "high": 0.3, "verdict": "can't tell"}
    assert mixture_ids_text(mixture()).splitlines()[1:] == list(mixture().ids)


def test_the_picture_has_both_shares_of_each_group(tmp_path):
    (axes,) = mixture_figure(mixture()).axes
    assert len(axes.patches) == 4
    draw_mixture(mixture(), tmp_path / "a.svg")
    assert (tmp_path / "a.svg").is_file()
