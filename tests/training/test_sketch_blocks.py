"""Parts of the gradient sketches are, put together, what one process takes."""

from pathlib import Path

import numpy as np
import pytest

from gptfl.metrics import Loss
from gptfl.recording.trainers import TrainerMaker
from gptfl.tasks.errands import Errands
from gptfl.training.gradient_sketches import Sketching, SketchSetup
from gptfl.training.kept_sketches import KeptSketching
from gptfl.training.reference_run import follow_reference, reference_plan
from gptfl.training.sketch_blocks import count_pieces, is_kept, keep_part, pieces_of, take_part
from gptfl.training.trainer import TrainerSettings


@pytest.mark.parametrize("dimensions", [16, 2**18])
def test_parts_put_together_are_the_whole(neox: Path, tmp_path: Path, dimensions: int) -> None:
    data = Errands().load(7, 3, 0)
    trainer = TrainerMaker(str(neox), "cpu", data, (Loss(),), TrainerSettings(1e-3, clip_norm=0.1))()
    setup = SketchSetup.of(trainer, dimensions, memory=1)
    plan, points = reference_plan(7, 2, 3, 11), (0, 3)
    assert count_pieces(setup) == 7
    rows = [row for part in range(3) for piece in pieces_of(setup, part, 3)["pool"] for row in piece]
    assert sorted(rows) == list(range(7))

    whole = Sketching(data.pool, data.test, plan.seed, setup, lambda point, step, more: None)
    run = follow_reference(trainer, plan, points, whole)
    shared = KeptSketching(trainer, plan, points, setup, tmp_path / "a.dynamics.h5")
    seen: list[tuple[int, int]] = []
    parts = [
        take_part(trainer, plan, points, setup, part, 3, lambda done, total: seen.append((done, total)))
        for part in range(3)
    ]
    for number in (2, 0, 1):
        assert not is_kept(shared, number, 3)
        again = keep_part(shared, parts[number])
        assert is_kept(shared, number, 3)
        np.testing.assert_array_equal(again.rates, run.rates)
        assert again.clipped == run.clipped
    shared.estimate()
    first, second = whole.sketches(run.rates, run.scales(trainer, points)), shared.sketches(again)
    assert first.fingerprint == second.fingerprint
    assert (first.products is None) == (second.products is None) == (dimensions == 2**18)
    assert second.seconds == pytest.approx(sum(part["seconds"][0] for part in parts) + parts[1]["seconds"][1])
    found = KeptSketching(trainer, plan, points, setup, tmp_path / "a.dynamics.h5")
    assert (found.done, is_kept(found, 1, 2)) == (20, True)
    assert [total for done, total in seen if done == total] == [8, 6, 6]
