"""The rows most alike to each, against a plain loop."""

import numpy as np
import pytest

from gptfl.core import Features, FeatureSet
from gptfl.features.vectors import VectorsInMemory
from gptfl.influence import neighbours
from gptfl.influence.neighbours import Neighbours, nearest, unit_vectors

RANDOM = np.random.default_rng(2)


ROWS = 23


SETS = {name: FeatureSet(RANDOM.normal(size=(ROWS, d)) + 1, np.zeros((1, d))) for name, d in (("a", 3), ("b", 5))}


@pytest.mark.parametrize("block", [4, 512])
@pytest.mark.parametrize("centred", [True, False])
def test_neighbours_are_those_of_a_plain_loop(monkeypatch: pytest.MonkeyPatch, block: int, centred: bool) -> None:
    monkeypatch.setattr(neighbours, "BLOCK", block)
    units = unit_vectors(VectorsInMemory(Features("x", {}, "", SETS)), ROWS, centred)
    assert units is not None
    found = nearest(units, 4)
    for row in range(ROWS):
        like = []
        for other in range(ROWS):
            cosines = []
            for one in SETS.values():
                moved = one.train - one.train.mean(axis=0) if centred else one.train
                a, b = moved[row], moved[other]
                cosines.append(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
            like.append(np.mean(cosines) if other != row else -9)
        best = np.argsort(-np.array(like))[:4]
        assert found.places[row].tolist() == best.tolist()
        np.testing.assert_allclose(found.cosines[row], np.maximum(np.array(like)[best], 0), atol=1e-6)


def test_vectors_that_take_too_much_are_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "MAX_BYTES", 100)
    assert unit_vectors(VectorsInMemory(Features("x", {}, "", SETS)), ROWS) is None
    assert unit_vectors(VectorsInMemory(None), ROWS) is None
    monkeypatch.undo()
    assert unit_vectors(VectorsInMemory(Features("x", {}, "", SETS)), ROWS) is not None
    monkeypatch.setattr(neighbours, "MOST_ROWS", ROWS - 1)
    assert unit_vectors(VectorsInMemory(Features("x", {}, "", SETS)), ROWS) is None


def test_what_neighbours_say_is_weighed_by_likeness() -> None:
    near = Neighbours(np.array([[1, 2], [0, 2], [0, 1]]), np.array([[1.0, 0.5], [0.0, 0.0], [0.2, 0.6]]))
    values, labels = np.array([1.0, 4.0, 7.0]), np.array([0, 1, 0])
    assert near.mean(values) == pytest.approx([(4 + 3.5) / 1.5, 4.0, (0.2 + 2.4) / 0.8])
    assert near.other_label(labels) == pytest.approx([1 / 1.5, 2 / 3, 0.6 / 0.8])
    assert near.apart == pytest.approx([0.25, 1.0, 0.6])
