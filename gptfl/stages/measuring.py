"""Measures the first score of examples that a recording lacks, by the very model that was recorded."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from gptfl.errors import DataError
from gptfl.records import Dynamics, Example, MetricInfo, Progress
from gptfl.registry import get_registry
from gptfl.stages.guarding import make_metric
from gptfl.stages.retraining import recipe_of
from gptfl.stages.tokens import check_tokens


def measure_first(
    model: str, examples: Sequence[Example], dynamics: Dynamics, metric: MetricInfo, progress: Progress
) -> Float[np.ndarray, " example"]:
    """What the untrained model scores on these test examples, measured as the recording's were.

    Raises ``DataError`` where ``model`` isn't the one recorded, weight by weight, where the recording doesn't say
    how it was made, or where the metric can't be measured of an example.
    """
    settings = dynamics.settings
    recorded = settings.get("weights")
    if recorded is None:
        raise DataError(
            f"--model {model}: the recording doesn't say which weights it was made with",
            "give each line of --new-test the field 'first'",
        )
    own = make_metric(get_registry(), metric.name)
    own.check(examples)
    from gptfl.builtin.models import load_model
    from gptfl.training.trainer import RecordingTrainer

    # Neither several processes nor derivatives change what the model scores before any training.
    recipe = replace(recipe_of(dynamics), processes=1, shard=False, derivatives=False)
    loaded = load_model(model, device="auto", progress=progress)
    if loaded.weights_hash != recorded:
        raise DataError(
            f"--model {model} has other weights ({loaded.weights_hash}) than the recording was made with ({recorded})",
            f"give the model that was recorded, {settings.get('model', 'by its name')}",
        )
    tests = tuple(examples)
    trainer = RecordingTrainer(loaded, tests, tests, (own,), recipe)
    check_tokens(settings, trainer.tokenizer, dynamics.pool, dynamics.test, trainer.evaluator.choices)
    return trainer.evaluator.measure()[metric.name].astype(np.float64)
