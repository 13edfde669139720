"""Products along a reference run, kept in a folder of their own meanwhile."""

import tempfile
from collections.abc import Callable, Collection
from pathlib import Path

from gptfl.core import GradientProducts
from gptfl.plugins.interfaces import Plan
from gptfl.training.kept_products import KeptMultiplying
from gptfl.training.reference_run import Setup, follow_reference
from gptfl.training.trainer import RecordingTrainer


def along_reference(
    trainer: RecordingTrainer,
    plan: Plan,
    points: Collection[int],
    setup: Setup,
    on_pairs: Callable[[int, int, int], None],
) -> GradientProducts:
    """The products of all gradients at some steps of a reference run, which is carried out, in memory."""
    with tempfile.TemporaryDirectory() as folder:
        multiplying = KeptMultiplying(trainer, plan, tuple(points), setup, Path(folder) / "a.dynamics.h5")
        multiplying.on_pairs = on_pairs
        return multiplying.products(follow_reference(trainer, plan, points, multiplying)).in_memory()
