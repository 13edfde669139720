"""What fitting takes from vectors that are read once, as arrays and back, and of some runs."""

from dataclasses import replace

import numpy as np
import pytest

from gptfl.core.blocked_products import BlockedProducts, as_products
from gptfl.estimators.exposure_gp import remembered, run_sums
from gptfl.estimators.exposure_gp.estimator import ExposureGp
from gptfl.estimators.exposure_gp.read_once import ReadOnce
from tests.estimators.exposure_gp.worlds import Held, exact, in_blocks, products_in_blocks, question, world


def test_it_comes_back_from_its_arrays_and_is_cut_to_runs():
    data, _ = world(runs=5)
    model = ExposureGp(link="log").fit(data).model_
    blocked = ExposureGp(link="log").fit(type(data)(**{**fields(data), "features": in_blocks(data.features)})).model_
    read = blocked.states.read
    again = ReadOnce.from_arrays(read.arrays(), blocked.recorded, blocked.sources)
    for name, array in read.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], array)
    some, rows = np.array([0, 3]), np.array([1, 2])
    cut = read.of_runs(some, rows)
    for ours, row in zip(cut.own, rows, strict=True):
        np.testing.assert_array_equal(ours.cross, read.own[row].cross[np.ix_(some, some)])
    np.testing.assert_array_equal(cut.sums.shared[0], read.sums.shared[0][rows][:, some])
    dense = [effects[1].copy() for effects, _ in model.states.fitted(model.recorded.steps)]
    np.testing.assert_allclose(read.sums.shared[0], dense, rtol=1e-4, atol=1e-4)


def fields(data):
    return {name: getattr(data, name) for name in data.__slots__}


class Counted(Held):
    """Rows in memory that count how many of them were read."""

    read_rows = 0

    def read(self, start, stop):
        self.read_rows += stop - start
        return super().read(start, stop)

    def take(self, places):
        self.read_rows += len(places)
        return super().take(places)


@pytest.mark.parametrize("kind", ["gradient", "embedding"])
@pytest.mark.parametrize("weighted", [False, True])
def test_fits_that_share_a_memo_read_each_run_once_and_answer_alike(kind, weighted):
    data, queried = world(runs=12, queried=3, kind=kind)
    if weighted:
        data = replace(data, pool=tuple(replace(one, weight=1 + i % 3) for i, one in enumerate(data.pool)))
    runs = (*data.fit_runs, *queried)
    ((name, one),) = data.features.sets.items()
    rows = Counted(one.train)
    plain = replace(data.features, sets={name: replace(one, train=rows)})
    shared = plain.remembering()
    assert shared.fingerprint == plain.fingerprint
    assert plain.memo is None
    read = {}
    for label, features in (("anew", plain), ("shared", shared)):
        answers = []
        for out in range(3):
            kept = tuple(run for place, run in enumerate(runs) if place % 3 != out)
            rows.read_rows = 0
            fitted = ExposureGp(link="log").fit(replace(data, features=features, fit_runs=kept))
            answers.append(fitted.predict(question(runs[out::3])))
            read[label, out] = rows.read_rows
        read[label] = answers
    for ours, theirs in zip(read["anew"], read["shared"], strict=True):
        np.testing.assert_allclose(theirs.values, ours.values, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(theirs.novelty, ours.novelty, rtol=1e-2, atol=1e-3)
    assert read["anew", 0] == read["shared", 0] > 0
    # Every run was fitted in the first two divisions; a pair that outweighs all others is looked for each time.
    alone = 2 * len(data.pool) if kind == "gradient" else 0
    assert read["shared", 2] == alone < read["shared", 1] < read["anew", 1]


@pytest.mark.parametrize("vectors", [False, True])
def test_fits_that_share_a_memo_read_products_once_and_answer_alike(vectors):
    data, queried = world(runs=12, queried=3)
    given, _ = exact(data)
    given = replace(given, preconditioned=np.full_like(given.raw, np.nan))
    runs = (*data.fit_runs, *queried)
    rows = [Counted(one) for one in given.raw]
    divided = products_in_blocks(given).preconditioned
    plain = replace(given, raw=as_products(BlockedProducts(rows)), preconditioned=divided)
    shared = plain.remembering()
    assert shared.fingerprint == plain.fingerprint
    assert (plain.memo, shared.of_examples(np.arange(2), np.arange(2)).memo) == (None, None)
    if vectors:
        data = replace(data, features=in_blocks(data.features))
    read = {}
    for label, products in (("anew", plain), ("shared", shared)):
        answers = []
        for out in range(3):
            kept = tuple(run for place, run in enumerate(runs) if place % 3 != out)
            for one in rows:
                one.read_rows = 0
            fitted = ExposureGp(link="log").fit(replace(data, gradients=products, fit_runs=kept))
            assert fitted.model_.hyper.scales.any(), "products count"
            answers.append(fitted.predict(question(runs[out::3])))
            read[label, out] = sum(one.read_rows for one in rows)
        read[label] = answers
    for ours, theirs in zip(read["anew"], read["shared"], strict=True):
        np.testing.assert_allclose(theirs.values, ours.values, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(theirs.novelty, ours.novelty, rtol=1e-2, atol=1e-3)
    assert read["anew", 0] == read["shared", 0] > 0
    # Every run was fitted in the first two divisions, and all pairs were looked through.
    assert read["shared", 2] == 0 < read["shared", 1] < read["anew", 1]


def test_a_memo_that_is_full_keeps_no_more(monkeypatch):
    data, _ = world(runs=5)
    monkeypatch.setattr(remembered, "KEPT_BYTES", 0)
    features = in_blocks(data.features).remembering()
    first, again = (ExposureGp(link="log").fit(replace(data, features=features)).model_ for _ in range(2))
    assert features.memo[run_sums.SUMS] == {}
    np.testing.assert_array_equal(again.states.read.sums.shared[0], first.states.read.sums.shared[0])
