"""What a page asks for: rows, texts, effects and searches, of places that are checked."""

import base64
import json

import numpy as np
import pytest

from gptfl.core import MetricInfo
from gptfl.errors import UsageError
from gptfl.influence.matrix import InfluenceMatrix
from gptfl.report.page.arrays import packed
from gptfl.report.page.content import PageParts
from gptfl.report.page.remote import MOST_TEXTS, RemotePage
from tests.synthetic import examples

POOL, TESTS = examples("train", 11, 2), examples("test", 3, 2)
MEAN = np.arange(33.0).reshape(11, 3)


@pytest.fixture
def page() -> RemotePage:
    matrix = InfluenceMatrix("what", MEAN, None, np.arange(11)[::-1], np.arange(3))
    return RemotePage(PageParts("r", {}, MetricInfo("loss", False), POOL, TESTS, matrix=matrix))


def bits(on) -> str:
    return base64.b64encode(np.packbits(np.asarray(on, dtype=bool), bitorder="little").tobytes()).decode()


def test_parts_are_those_asked_for(page):
    assert [one["id"] for one in page.rows(9, 100)["rows"]] == ["train-9", "train-10"]
    assert [one["prompt"] for one in page.texts([3, 1])["rows"]] == [POOL[3].prompt, POOL[1].prompt]
    assert page.block(1, 2) == {"mean": packed(MEAN[[9, 8]]), "spread": None}
    on = np.unpackbits(np.frombuffer(base64.b64decode(page.search("TRAIN-1")["rows"]), np.uint8), bitorder="little")
    assert np.flatnonzero(on).tolist() == [1, 10]
    assert page.ids(np.arange(11) < 2)["text"] == "train-0\ntrain-1\n"
    data = json.loads(page.html.partition('id="data">')[2].partition("</script>")[0])
    assert data["pool"] == {"count": 11}


def test_a_subset_is_a_bit_a_row(page):
    on = np.arange(11) % 3 == 0
    assert (page.subset(bits(on)) == on).all()
    for wrong in (None, 3, "", "A", bits(np.ones(17)), "!!!!"):
        with pytest.raises(UsageError, match="a subset is no bit a row"):
            page.subset(wrong)


def test_places_that_are_not_there_are_refused(page):
    for action in (
        lambda: page.rows(11, 1),
        lambda: page.texts([0, -1]),
        lambda: page.texts([0] * (MOST_TEXTS + 1)),
        lambda: page.block(11, 1),
        lambda: page.block(0, 0),
    ):
        with pytest.raises(UsageError):
            action()
