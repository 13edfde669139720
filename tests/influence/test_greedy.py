from dataclasses import replace

import numpy as np
import pytest

from gptfl.core import Features, FeatureSet
from gptfl.errors import DataError, UsageError
from gptfl.features.vectors import VectorsInMemory
from gptfl.influence import greedy
from gptfl.influence.greedy import SelectionSpec, class_quota, select_greedily
from tests.synthetic import examples

POOL = 30
POOL_OF_THREE = examples("train", POOL, 3)
RANDOM = np.random.default_rng(3)
VALUES, SPREAD = RANDOM.normal(size=POOL), RANDOM.uniform(0.1, 2, size=POOL)
SETS = {
    name: FeatureSet(RANDOM.normal(size=(POOL, d)).astype(dtype) + 1, np.zeros((1, d)))
    for name, d, dtype in (("a", 3, np.float32), ("b", 2, np.float16))
}
VECTORS = VectorsInMemory(Features("enc", {}, "", SETS))


def by_loop(spec, rooms):
    """The rule as it is stated, over the whole pool."""
    utility = VALUES - spec.cautious * SPREAD
    moved = [one.train.astype(float) - one.train.astype(float).mean(axis=0) for one in SETS.values()]

    def similarity(i, j):
        return max(0, np.mean([one[i] @ one[j] / np.linalg.norm(one[i]) / np.linalg.norm(one[j]) for one in moved]))

    chosen = []
    while len(chosen) < spec.size:
        best, winner = -np.inf, None
        for place in range(POOL):
            room = sum(rooms.classes[other] == rooms.classes[place] for other in chosen) < rooms.most
            if place in chosen or not room:
                continue
            closest = max((similarity(place, other) for other in chosen), default=0)
            value = utility[place] - spec.diversity * utility.std() * closest
            if value > best:
                best, winner = value, place
        chosen.append(winner)
    return chosen


@pytest.mark.parametrize("share", [None, 0.4, 0.34])
@pytest.mark.parametrize("diversity", [0.0, 0.3, 5.0])
@pytest.mark.parametrize("cautious", [0.0, 1.5])
def test_what_is_chosen_is_what_the_rule_says(monkeypatch, share, diversity, cautious) -> None:
    monkeypatch.setattr("gptfl.features.vectors.CHUNK", 7)
    spec = SelectionSpec(9, share, diversity, cautious)
    rooms = class_quota(POOL_OF_THREE, spec)
    utility = VALUES - spec.cautious * SPREAD
    assert select_greedily(utility, diversity * utility.std(), spec, rooms, VECTORS) == by_loop(spec, rooms)


def test_diversity_passes_over_copies() -> None:
    values = np.array([1.0, 0.99, 0.98, 0.5, 0.4])
    vectors = np.array([[1, 0], [1, 0], [1, 0], [0, 1], [-1, -1]], dtype=np.float32)
    held = VectorsInMemory(Features("enc", {}, "", {"a": FeatureSet(vectors, vectors)}))
    rooms = class_quota(examples("train", 5, 0), SelectionSpec(3))
    assert select_greedily(values, 0.0, SelectionSpec(3), rooms, held) == [0, 1, 2]
    assert select_greedily(values, 1.1, SelectionSpec(3), rooms, held) == [0, 3, 4]


def test_vectors_that_take_too_much_memory_are_refused(monkeypatch) -> None:
    spec = SelectionSpec(9, None, 1e6)
    monkeypatch.setattr(greedy, "MAX_BYTES", POOL * 5 * 4 - 1)
    with pytest.raises(UsageError, match=r"--diversity 1e\+06 leaves 30 examples to choose from.*smaller --diversity"):
        select_greedily(VALUES, 1e6, spec, class_quota(POOL_OF_THREE, spec), VECTORS)


def test_what_can_not_be_chosen_is_reported() -> None:
    with pytest.raises(UsageError, match=r"--max-share-per-class 0.3 leaves 6 of the --size 9 examples"):
        class_quota(POOL_OF_THREE, SelectionSpec(9, 0.3))
    few = tuple(replace(one, label=0) if place < 15 else one for place, one in enumerate(POOL_OF_THREE))
    with pytest.raises(UsageError, match="leaves 25 of the --size 30 examples"):
        class_quota(few, SelectionSpec(30, 0.5))
    with pytest.raises(
        DataError, match=r"--max-share-per-class 0.5: the recording's training examples have no classes"
    ):
        class_quota(examples("train", POOL, 0), SelectionSpec(4, 0.5))
