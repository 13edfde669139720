"""Gives a restored estimator what its state refers to and doesn't keep: vectors of a large pool, or gradient products."""

from pathlib import Path

from gptfl.core import GradientProducts
from gptfl.errors import DataError
from gptfl.features.lookup import fitted_rows, referred_features
from gptfl.plugins.interfaces import Estimator
from gptfl.plugins.optional import RefersToProducts, RefersToVectors
from gptfl.recording.recording import OpenedRecording
from gptfl.simulation.fitting import VECTORS
from gptfl.store.simulators import SimulatorFile


def give_again(
    estimator: Estimator, recording: OpenedRecording, found: SimulatorFile, features: str | Path | None
) -> None:
    """Let an estimator have what its simulator refers to.

    Args:
        estimator: restored.
        recording: that it was fitted to, with what was held out of the fit.
        found: the simulator's file.
        features: the file of the vectors, None to look for it in the workspace.

    Raises ``DataError`` where it isn't to be found.
    """
    known = found.info.get(VECTORS)
    if isinstance(estimator, RefersToVectors) and estimator.lacks_vectors and isinstance(known, dict):
        estimator.use_vectors(referred_features(recording, found, estimator.tags.blind, known, features))
    if isinstance(estimator, RefersToProducts) and estimator.lacks_products:
        estimator.use_products(_fitted_products(estimator, recording))


def _fitted_products(estimator: Estimator, recording: OpenedRecording) -> GradientProducts:
    """The recording's products of the examples that an estimator was fitted to."""
    dynamics = recording.dynamics
    products = dynamics.gradients if "gradients" in estimator.tags.requires else dynamics.known_products
    if products is None:
        raise DataError(
            f"{recording.path} has lost the gradient products that {estimator.name} was fitted to",
            "choose the recording with --dynamics, or run gptfl fit again",
        )
    if recording.held_out is None:
        return products
    return products.of_examples(*fitted_rows(recording, estimator.tags.blind))
