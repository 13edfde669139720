"""Sketches that are kept in any order are read in that of the examples, and what is no use is made again."""

from pathlib import Path

import numpy as np

from gptfl.core import FeatureSet
from gptfl.store.feature_blocks import FeatureBlocks
from gptfl.training.gradient_sketches import Estimated
from gptfl.training.kept_rows import POOL, TEST, KeptRows, SpanRows

SPANS = [[range(4), range(4, 8), range(8, 10)], [range(3)]]
RANDOM = np.random.default_rng(0)
WHOLE = [RANDOM.normal(size=(10, 5)).astype(np.float32), RANDOM.normal(size=(3, 5)).astype(np.float32)]
PRODUCTS = RANDOM.normal(size=(10, 3)).astype(np.float32)


def opened(folder: Path, wide: bool = False) -> KeptRows:
    return KeptRows(FeatureBlocks(folder / "a.h5", "gradients", {}, "f" * 16, packed=False), 2, SPANS, wide)


def keep(rows: KeptRows, place: int, side: int, places: list[int], *names: str) -> None:
    rows.keep(place, side, places, dict.fromkeys(names, WHOLE[side][places] + place), 0.5)


def estimated(span: range, divided: bool) -> Estimated:
    raw, own = PRODUCTS[span.start : span.stop], PRODUCTS[span.start : span.stop, 0]
    nothing = np.full_like(raw, np.nan), np.full_like(own, np.nan)
    return Estimated(raw, 2 * raw if divided else nothing[0], own, 3 * own if divided else nothing[1])


def test_rows_come_in_the_order_of_the_examples(tmp_path: Path) -> None:
    rows = opened(tmp_path)
    for places in ([3, 0], [7, 4, 6, 5], [9, 8], [2, 1]):
        keep(rows, 1, POOL, places, "0 0", "0 1")
    keep(rows, 1, TEST, [2, 0, 1], "0 0")
    for one in (rows, opened(tmp_path)):
        assert (one.done, one.seconds, one.notes) == (13, 2.5, [])
        assert (one.names(1, POOL), one.names(1, TEST), one.names(0, POOL)) == (("0 0", "0 1"), ("0 0",), ())
        assert one.missing(0, POOL, 1) == {4, 5, 6, 7}
        assert not any(one.missing(1, POOL, span) for span in range(3))
        np.testing.assert_array_equal(one.whole(1, TEST, "0 0"), WHOLE[TEST] + 1)
        found = SpanRows(one, 1, "0 1", 5)
        np.testing.assert_array_equal(np.asarray(found), WHOLE[POOL] + 1)
        np.testing.assert_array_equal(found.read(3, 9), WHOLE[POOL][3:9] + 1)
        np.testing.assert_array_equal(found[np.array([9, 0, 5])], WHOLE[POOL][[9, 0, 5]] + 1)


def test_what_isnt_kept_yet_is_read_with_the_rest(tmp_path: Path) -> None:
    rows = opened(tmp_path)
    keep(rows, 0, POOL, [6, 4], "1 0")
    held = [([7, 5], {"1 0": WHOLE[POOL][[7, 5]]})]
    np.testing.assert_array_equal(rows.read(0, POOL, 1, "1 0", held), WHOLE[POOL][4:8])


def test_products_lie_by_spans(tmp_path: Path) -> None:
    rows = opened(tmp_path, wide=True)
    for place in (0, 1):
        for number, span in enumerate(SPANS[POOL]):
            rows.keep_products(place, number, estimated(span, divided=place == 1))
    again = opened(tmp_path, wide=True)
    assert all(again.is_estimated(place, span) for place in (0, 1) for span in range(3))
    np.testing.assert_array_equal(np.asarray(again.products(0, 0)), PRODUCTS)
    assert np.isnan(np.asarray(again.products(0, 1))).all()
    np.testing.assert_array_equal(again.products(1, 1).read(2, 9), 2 * PRODUCTS[2:9])
    np.testing.assert_array_equal(again.own(1, 1), 3 * PRODUCTS[:, 0])
    assert np.isnan(again.own(0, 1)).all()


def test_examples_without_wide_sketches_count_where_their_products_are_there(tmp_path: Path) -> None:
    rows = opened(tmp_path, wide=True)
    keep(rows, 0, POOL, [0, 1], "0 0", "1 0")
    keep(rows, 0, POOL, [2, 3], "0 0")
    assert opened(tmp_path, wide=True).missing(0, POOL, 0) == {2, 3}
    assert opened(tmp_path, wide=True).kept.numbers() == [0], "what is no use is deleted"
    keep(rows, 0, POOL, [2, 3], "0 0")
    rows.keep_products(0, 0, estimated(SPANS[POOL][0], divided=False))
    assert not opened(tmp_path, wide=True).missing(0, POOL, 0)


def test_a_file_of_examples_that_are_there_already_is_none_of_these(tmp_path: Path) -> None:
    rows = opened(tmp_path)
    keep(rows, 0, POOL, [1, 0], "0 0")
    none = np.zeros((0, 5), np.float32)
    # As of another process that sketched some of the same.
    rows.kept.keep(2, {"0 0": FeatureSet(WHOLE[POOL][[2, 1]], none, "gradient")}, 0.5, (["2", "1"], []))
    again = opened(tmp_path)
    (note,) = again.notes
    assert "block-000000.h5 holds vectors of other examples or settings" in note
    assert again.missing(0, POOL, 0) == {0, 3}
