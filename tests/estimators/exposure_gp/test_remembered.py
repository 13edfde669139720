"""Sums of runs that were read before aren't read again, and are in the order that is asked for."""

import numpy as np
import pytest

from gptfl.estimators.exposure_gp import remembered as module
from gptfl.estimators.exposure_gp.curricula import Curricula
from gptfl.estimators.exposure_gp.known_sums import KnownSums
from gptfl.estimators.exposure_gp.remembered import remembered

RUNS = Curricula(np.arange(24).reshape(4, 3, 2), np.full((4, 3), 0.1))
STEPS = np.array([0, 3])


def summed(runs: Curricula) -> KnownSums:
    """Of each run the sum of its examples' numbers, at the last step."""
    ends = runs.batches.sum(axis=(1, 2)).astype(np.float32)
    return KnownSums((np.stack([np.zeros(len(ends), np.float32), ends])[..., None],))


@pytest.mark.parametrize("room", [0, 2**20])
def test_each_run_is_read_once_where_there_is_room(monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    monkeypatch.setattr(module, "KEPT_BYTES", room)
    known: dict[str, KnownSums] = {}
    read: list[int] = []

    def reading(runs: Curricula) -> KnownSums:
        read.append(len(runs.batches))
        return summed(runs)

    for asked in ([0, 2], [3, 2, 0], [2, 3], [1]):
        some = RUNS.of(np.array(asked))
        found = remembered(known, some, STEPS, None, reading)
        np.testing.assert_array_equal(found.ways[0], summed(some).ways[0])
    assert read == ([2, 1, 1] if room else [2, 3, 2, 1])
    assert len(known) == (4 if room else 0)


def test_what_a_sum_hangs_on_tells_runs_apart() -> None:
    known: dict[str, KnownSums] = {}
    remembered(known, RUNS, STEPS, None, summed)
    slower = Curricula(RUNS.batches, RUNS.learning_rates / 2)
    weighted = Curricula(RUNS.batches, RUNS.learning_rates, relative=np.linspace(0.5, 1.5, 24))
    others = [
        (slower, STEPS, None),
        (weighted, STEPS, None),
        (RUNS, STEPS[1:], None),
        (RUNS, STEPS, np.arange(4.0) / 2),
    ]
    for count, (runs, steps, at) in enumerate(others, 2):
        remembered(known, runs, steps, at, summed)
        assert len(known) == 4 * count
