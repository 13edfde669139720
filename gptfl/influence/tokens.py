"""Influence by target token: which training examples moved which token of one test example's answer."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from gptfl.core import Progress, TaskData, TokenSketches
from gptfl.encoders.gradients import fold
from gptfl.errors import DataError, UsageError
from gptfl.influence.closed_form import vectors_of
from gptfl.influence.ranking import TokenInfluence
from gptfl.influence.targets import InfluenceTarget
from gptfl.plugins.guards import make_metric
from gptfl.recording.recording import OpenedRecording, with_texts
from gptfl.recording.tokens import check_tokens
from gptfl.recording.trainers import TrainerMaker, check_weights, recipe_of
from gptfl.simulation.schedule import batching_in
from gptfl.simulation.simulator import FittedSimulator

if TYPE_CHECKING:
    from gptfl.training.reference_run import Moment
    from gptfl.training.trainer import RecordingTrainer

LIKE = 0.98
"""The least cosine of a sketch with the recorded one of the same gradient; rounding to 16 bits leaves more."""
Vectors = Mapping[str, Float[np.ndarray, "example d"]]


def sets_of(sketches: TokenSketches, like: Vectors) -> dict[str, Float[np.ndarray, "token d"]]:
    """Sketches as vectors of the feature sets that these examples have, which may be folded to fewer numbers.

    Raises ``DataError`` for a set that is none of sketches.
    """
    found = {}
    for name, vectors in like.items():
        kind, _, step = name.partition("-")
        # Of what is divided on the pool's side alone, the test side is plain.
        one = sketches.sketches.get(
            ("raw" if kind == "preconditioned" else kind, int(step) if step.isdecimal() and len(step) < 10 else -1)
        )
        if one is None:
            raise DataError(
                f"the simulator was fitted to {name}, which is no set of gradient sketches",
                "fit it to features of the encoder gradients alone",
            )
        found[name] = fold(one, vectors.shape[1])
    return found


@runtime_checkable
class TellsTokens(Protocol):
    """What an estimator may also offer: what it predicts to first order for gradients of parts of a test example."""

    def first_order_of(self, train: Vectors, parts: Vectors, test: int) -> Float[np.ndarray, "example part"]:
        """The influence of each training example on each part, positive where it lowers its loss."""
        ...


def check_token_request(subject: InfluenceTarget, sources: int) -> int:
    """The place of the test example. Raises ``UsageError`` unless one is asked about, by one simulator."""
    if subject.tests is None or not subject.name.startswith("test:"):
        raise UsageError("--tokens is of one test example", "name it with --on test:ID")
    if sources > 1:
        raise UsageError(f"--tokens is by one simulator, and {sources} were named", "name one")
    return int(subject.tests[0])


def token_influence(source: FittedSimulator, test: int, sketches: TokenSketches) -> TokenInfluence:
    """What a simulator predicts for each token. Raises ``DataError`` for one that goes by no gradients."""
    estimator = source.named.estimator
    if not isinstance(estimator, TellsTokens):
        raise DataError(
            f"{source.found.estimator} tells no influence by token", "use --estimator exposure-gp, fitted to gradients"
        )
    place = int(source.scope.test_seen[test])
    if source.recording.held_out is not None or place < 0:
        raise DataError(f"{source.path} was fitted with examples set aside", "fit without --unseen")
    with vectors_of(source, None) as vectors:
        train = vectors.rows(0, len(source.scope.pool))
    return TokenInfluence(sketches.tokens, estimator.first_order_of(train, sets_of(sketches, train), place))


def sketch_again(
    recording: OpenedRecording, test: int, model: str | None, data: str | Path | None, progress: Progress
) -> TokenSketches:
    """The sketches of the tokens of one test example, at the points of the reference run, which is trained again.

    Args:
        recording: with sketches of that run.
        test: place of the test example.
        model: name or folder of the model, None for the recording's.
        data: where the texts are, if the recording keeps none.
        progress: called along the way.

    Raises ``DataError`` where the recording has no sketches, nothing says how its reference run was trained, or that
    comes to other gradients here.
    """
    dynamics = recording.dynamics
    sketches = dynamics.sketches
    if sketches is None:
        raise DataError(f"{recording.path} has no gradient sketches", "add them with gptfl collect --sketches")
    if dynamics.settings.elsewhere:
        raise DataError(
            f"{recording.path} was not trained by gptfl, and the weights at its sketches are gone",
            "gptfl attribute --tokens tells it from checkpoints",
        )
    if model is None:
        raise DataError(
            "--tokens computes gradients again, and no model is named",
            f"add --model {dynamics.settings.model or 'NAME'}",
        )
    trainer = _trainer(recording, model, data, progress)
    from gptfl.training.gradient_sketches import SketchSetup
    from gptfl.training.reference_run import follow_reference, reference_plan
    from gptfl.training.token_gradients import sketch_tokens, token_texts

    open_ = np.array([i for i, one in enumerate(dynamics.pool) if not one.is_reserved])
    settings = dynamics.settings
    plan = reference_plan(open_, batching_in(dynamics) or settings.batch_size, settings.steps, sketches.seed)
    setup = SketchSetup.of(trainer, sketches.dimensions, sketches.modules)
    found: dict[tuple[str, int], np.ndarray] = {}
    points = {int(step): place for place, step in enumerate(sketches.steps)}

    def visit(moment: "Moment") -> None:
        for kind, one in sketch_tokens(setup, test, sketches.seed, moment.denominator).items():
            found[kind, moment.step] = one
        _check_same(found["raw", moment.step].mean(axis=0), sketches.points[points[moment.step]].test[test], recording)
        progress("tokens", points[moment.step] + 1, len(points), f"step {moment.step} of the reference run")

    follow_reference(trainer, plan, points, visit, sketches.own_counted)
    return TokenSketches(token_texts(setup.test.rows[test], trainer.network.loaded.tokenizer), found)


def _check_same(got: np.ndarray, recorded: np.ndarray, recording: OpenedRecording) -> None:
    length = float(np.linalg.norm(got) * np.linalg.norm(recorded))
    if length > 0.0 and float(got @ recorded) < LIKE * length:
        raise DataError(
            f"the reference run of {recording.path} comes to other gradients here",
            "ask on the kind of machine that it was recorded on",
        )


def _trainer(recording: OpenedRecording, model: str, data: str | Path | None, progress: Progress) -> "RecordingTrainer":
    dynamics = recording.dynamics
    recipe = replace(recipe_of(dynamics), derivatives=False, processes=1, shard=False)
    pool, test = with_texts(recording, data)
    metric = make_metric(recording.registry, "loss")
    make: Callable[[], RecordingTrainer] = TrainerMaker(
        model, "auto", TaskData(dynamics.settings.task, pool, test), (metric,), recipe, progress
    )
    trainer = make()
    check_weights(recording, trainer.network.loaded.weights_hash, model)
    check_tokens(
        dynamics.settings, trainer.tokenizer, trainer.pool, test, trainer.evaluator.choices, str(recording.path)
    )
    return trainer
