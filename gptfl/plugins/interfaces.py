"""What a plugin's parts must offer. Plain classes do; none of these need be inherited from."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import Dynamics, Example, FeatureSet, FitData, MetricInfo, Prediction, Query, Run, TaskData


@runtime_checkable
class Task(Protocol):
    """Where examples come from. Its factory takes ``data``: a local folder or file, or None.

    One member is optional: ``generated``, True where the task makes its examples up, so that it needs no folder in the
    ``--data`` of a mixture.
    """

    name: str
    learning_rate: float
    """The learning rate that ``collect`` uses unless told otherwise."""

    def load(self, pool: int | None, test: int | None, seed: int) -> TaskData:
        """Draw ``pool`` training and ``test`` test examples, the same ones for the same seed.

        None takes all there are. Raises ``DataError`` where there are fewer than asked for.
        """
        ...


@runtime_checkable
class Encoder(Protocol):
    """Turns examples into vectors. Its factory takes the encoder's own settings.

    Optional are ``use_recording`` (``UsesRecording``), ``reads_texts``, False where the encoder works from the recording
    alone, so that it knows none but the recorded examples, and ``seconds``, what the vectors cost before they were asked
    for.
    """

    name: str
    per_example: bool
    """Whether a vector depends on its own example alone, so that it can be cached row by row."""

    def identity(self) -> Mapping[str, Any]:
        """What determines the vectors (weights, settings), JSON-able; the cache goes by it."""
        ...

    def encode(self, pool: Sequence[Example], test: Sequence[Example]) -> Mapping[str, FeatureSet]:
        """One or more named sets of vectors for the pool and the test examples."""
        ...


@runtime_checkable
class UsesRecording(Protocol):
    """What an encoder may also offer: it works from more of a recording than the examples."""

    def use_recording(self, recording: Dynamics) -> None:
        """Called before anything else; ``encode`` is then asked for examples of this recording, or new ones beside it.

        Raises ``DataError`` where the recording lacks what the encoder needs.
        """
        ...


def reads_texts(encoder: Encoder) -> bool:
    """Whether an encoder works from the examples' texts; else it knows none but those of a recording."""
    return bool(getattr(encoder, "reads_texts", True))


@dataclass(frozen=True, slots=True)
class Observation:
    """What the model says of the test examples at one step; a metric reads from it what it needs.

    ``choice_log_probs`` and ``generated`` are there only if a metric's ``needs`` names
    ``"choices"`` or ``"generated"``.
    """

    examples: tuple[Example, ...]
    target_log_prob: Float[np.ndarray, " test"]
    """Sum of the log-probabilities of the target's tokens."""
    target_tokens: Int[np.ndarray, " test"]
    choice_log_probs: tuple[Float[np.ndarray, " choice"], ...] | None = None
    generated: tuple[str, ...] | None = None


@runtime_checkable
class Metric(Protocol):
    """What a model scores on a test example at a step."""

    info: MetricInfo
    needs: frozenset[str]
    """Of ``{"choices", "generated"}``, what ``measure`` reads beside the target's log-probability."""

    def check(self, examples: Sequence[Example]) -> None:
        """Raise ``DataError`` if these test examples can't be measured this way."""
        ...

    def measure(self, observation: Observation) -> Float[np.ndarray, " test"]:
        """The metric of each test example."""
        ...


@runtime_checkable
class Estimator(Protocol):
    """Fits recorded dynamics, then predicts trajectories. Its factory takes its settings by keyword.

    ``factory(**estimator.settings()).restore(estimator.state())`` is the fitted estimator again.

    Seven members are optional; the functions ``generalises``, ``is_blind``, ``is_oracle``, ``metrics_of``,
    ``conditions``, ``prefers`` and ``takes`` read them: ``generalises``, of ``{"train", "test"}``, the sides on which it answers
    about examples that it was not fitted to (``Query.unseen``); ``blind``, whether it learns nothing of single training
    examples, so that whole runs may be given to it even where some of their examples are set aside; ``oracle``, whether
    it looks along the very runs that it is asked about, so that tables mark it; ``metrics``, the only metrics that it
    predicts; ``conditions``, whether it goes on from what was recorded of the asked run (``Query.observed``);
    ``prefers``, the encoders whose features it does best with; ``takes``, of ``NEEDS``, what it gets where it is there
    and does without where it isn't.

    Three methods are optional as well (``InfluencesTests``, ``InfluencesItself``, ``TellsInfluence``): a fitted
    estimator that has them tells influences directly, and ``gptfl rank`` takes them instead of simulating.
    """

    name: str
    requires: frozenset[str]
    """Of ``NEEDS``, what must be there: ``derivatives`` in the runs asked about, the others before ``fit``."""

    def settings(self) -> Mapping[str, Any]:
        """Every setting of the factory, resolved and JSON-able."""
        ...

    def fit(self, data: FitData) -> Self:
        """Learn from the runs to fit; the same seed gives the same result."""
        ...

    def predict(self, query: Query) -> Prediction:
        """Roll the asked curricula forward. Raises ``DataError`` where it can't answer."""
        ...

    def state(self) -> Mapping[str, np.ndarray]:
        """What was learned, as named arrays."""
        ...

    def restore(self, state: Mapping[str, np.ndarray]) -> Self:
        """Take back what ``state`` gave. Raises ``DataError`` on missing or ill-shaped arrays."""
        ...


NEEDS = frozenset({"features", "classes", "gradients", "derivatives"})
"""What an estimator can require."""


def generalises(estimator: Estimator) -> frozenset[str]:
    """On which sides, ``train`` and ``test``, an estimator answers about examples that it was not fitted to."""
    return frozenset(getattr(estimator, "generalises", ()))


def is_blind(estimator: Estimator) -> bool:
    """Whether an estimator learns nothing of single training examples: at most of the classes in a batch."""
    return bool(getattr(estimator, "blind", False))


def is_oracle(estimator: Estimator) -> bool:
    """Whether an estimator looks along the very runs that it is asked about."""
    return bool(getattr(estimator, "oracle", False))


def metrics_of(estimator: Estimator) -> frozenset[str] | None:
    """The only metrics that an estimator predicts; None for any."""
    named = getattr(estimator, "metrics", None)
    return None if named is None else frozenset(named)


def conditions(estimator: Estimator) -> bool:
    """Whether an estimator goes on from what was recorded of the asked run so far."""
    return bool(getattr(estimator, "conditions", False))


def prefers(estimator: Estimator) -> tuple[str, ...]:
    """The encoders whose features an estimator does best with, best first; nothing where any will do."""
    return tuple(getattr(estimator, "prefers", ()))


def takes(estimator: Estimator) -> frozenset[str]:
    """Of ``NEEDS``, what an estimator makes use of where it is there: what it requires among it."""
    return frozenset(estimator.requires) | frozenset(getattr(estimator, "takes", ()))


@runtime_checkable
class InfluencesTests(Protocol):
    """What an estimator may also offer once it is fitted: influence on the test examples, to first order.

    Positive means that training on the example makes the metric better (a loss lower, an accuracy higher). Only
    the order and the ratios count: values need not be in the metric's units.
    """

    def influence(self) -> Float[np.ndarray, "pool test"]:
        """The influence of each pool example on each test example. Raises ``DataError`` where it can't be told."""
        ...


@runtime_checkable
class InfluencesItself(Protocol):
    """What an estimator may also offer once it is fitted: influence on the training examples themselves."""

    def self_influence(self) -> Float[np.ndarray, " pool"]:
        """How much training on each pool example betters the metric of that very example, to first order.

        Signed as ``InfluencesTests`` is: for gradients, a sum of learning rates times squared gradient norms,
        which is large for an example that has to be learned by heart.
        """
        ...


def tells_itself(estimator: Estimator) -> bool:
    """Whether a fitted estimator tells influence on the training examples themselves (``InfluencesItself``).

    One that can do so after some fits only says which by an attribute ``tells_itself``.
    """
    return isinstance(estimator, InfluencesItself) and bool(getattr(estimator, "tells_itself", True))


@runtime_checkable
class TellsInfluence(Protocol):
    """What an estimator may also offer once it is fitted: influence and how sure it is, some examples at a time.

    Unlike ``InfluencesTests``, values are in the metric's units: what it does to the metric at the last step to see
    the example once more at the mean step size in a batch of the usual size, in place of the average example. Positive
    is better.
    """

    def influence_of(
        self,
        places: Int[np.ndarray, " example"],
        vectors: Mapping[str, Float[np.ndarray, "example d"]],
        weights: Float[np.ndarray, "target test"],
    ) -> tuple[Float[np.ndarray, "example target"], Float[np.ndarray, "example target"]]:
        """The influence of training examples on weighted sums of the test examples, and its standard deviation.

        ``places`` are the examples' places in the pool fitted, -1 for one that is not in it; ``vectors`` are their
        rows of each feature set fitted (empty where the estimator was fitted without features).
        """
        ...


@runtime_checkable
class Trainer(Protocol):
    """Fine-tunes one model again and again from the same weights; what an executor drives."""

    def run(self, plan: "Plan", on_step: Callable[[int, int], None]) -> Run:
        """Carry out one plan and return what was recorded."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """One run to carry out: its index, seed, role and batches as pool indices."""

    index: int
    seed: int
    role: str
    batches: Int[np.ndarray, "step batch"]


@runtime_checkable
class Executor(Protocol):
    """Where runs are carried out: in this process, or elsewhere."""

    name: str

    def execute(
        self, make_trainer: Callable[[], Trainer], plans: Iterable[Plan], on_step: Callable[[int, int, int], None]
    ) -> Iterator[Run]:
        """Yield each plan's run when it is done, in any order.

        ``make_trainer`` is called where the work happens; ``on_step(index, done, total)`` reports.
        """
        ...
