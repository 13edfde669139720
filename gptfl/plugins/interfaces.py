"""What a plugin's parts must offer. Plain classes do; none of these need be inherited from."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import Example, FeatureSet, FitData, MetricInfo, Prediction, Query, Run, TaskData


@runtime_checkable
class Task(Protocol):
    """Where examples come from. Its factory takes ``data``: a local folder or file, or None.

    Optional are ``generated`` (``MayMakeUpExamples``) and ``sizes`` (``KnowsSizes``).
    """

    name: str
    learning_rate: float
    """The learning rate that ``collect`` uses unless given."""

    def load(self, pool: int | None, test: int | None, seed: int) -> TaskData:
        """Draw ``pool`` training and ``test`` test examples, the same ones for the same seed.

        None takes all there are. Raises ``DataError`` where there are fewer than asked for.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderTags:
    """What an encoder can do.

    ``per_example``: a vector depends on its own example alone, so that it can be cached row by row. ``reads_texts``: it
    works from the examples' texts; else it works from a recording alone and knows no examples but those recorded.
    """

    per_example: bool
    reads_texts: bool = True

    def __post_init__(self) -> None:
        _check_switches(self, "per_example", "reads_texts")


@runtime_checkable
class Encoder(Protocol):
    """Turns examples into vectors. Its factory takes the encoder's own settings.

    Optional are ``use_recording`` (``UsesRecording``), ``encode_new`` (``EncodesNew``), ``progress``
    (``ReportsProgress``), ``notes`` (``HasNotes``) and ``seconds`` (``KnowsSeconds``).
    """

    name: str
    tags: EncoderTags

    def identity(self) -> Mapping[str, Any]:
        """What determines the vectors (weights, settings), JSON-able; the cache goes by it."""
        ...

    def encode(self, pool: Sequence[Example], test: Sequence[Example]) -> Mapping[str, FeatureSet]:
        """One or more named sets of vectors for the pool and the test examples."""
        ...


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


LOSS = "loss"
NEEDS = frozenset({"features", "classes", "gradients", "derivatives", LOSS})
"""What an estimator can require; ``loss``: the loss recorded beside the metric that is predicted, which is another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimatorTags:
    """What an estimator needs and what it can do.

    ``requires``, of ``NEEDS``: what must be there, ``derivatives`` in the runs asked about, the others before ``fit``.
    ``takes``, of ``NEEDS``: what it gets where it is there, and does without where it isn't.
    ``unseen``, of ``{"train", "test"}``: the sides on which it answers about examples that it was not fitted to
    (``Query.unseen``).
    ``blind``: it learns nothing of single training examples, at most of the classes in a batch, so that whole runs may
    be given to it even where some of their examples are held out.
    ``oracle``: it looks along the very runs that it is asked about, so that tables mark it.
    ``metrics``: the only metrics that it predicts; None for any.
    ``conditions``: it goes on from what was recorded of the asked run (``Query.observed``).
    ``prefers``: the encoders whose features it does best with, best first.
    ``ignores``, of ``{"learning rates"}``: what a query may hold that doesn't change the answer.
    ``one_run``: a single run to fit is enough; others get two or more.
    ``every_order``: it answers about the mean over all random orders (``Query.typical``), which asks that a prediction
    is linear in how often each example is seen at each step.
    ``blocks``: ``fit`` takes the pool's vectors as ``BlockedRows`` where they are too many for memory; others get arrays.
    ``baseline_selector``: ``gptfl select-study`` also trains on the examples that it finds of greatest influence, unless
    other baselines are named.
    ``counts_tokens``: where its influence in closed form is asked for, it takes ``tokens`` (``optional.TellsInfluence``).

    Raises ``TypeError`` for a tag that there isn't, or one of another type.
    """

    requires: Set[str] = frozenset()
    takes: Set[str] = frozenset()
    unseen: Set[str] = frozenset()
    blind: bool = False
    oracle: bool = False
    metrics: Set[str] | None = None
    conditions: bool = False
    prefers: tuple[str, ...] = ()
    ignores: Set[str] = frozenset()
    baseline_selector: bool = False
    one_run: bool = False
    every_order: bool = False
    blocks: bool = False
    counts_tokens: bool = False

    def __post_init__(self) -> None:
        switches = "blind", "oracle", "conditions", "baseline_selector", "one_run", "every_order", "blocks"
        _check_switches(self, *switches, "counts_tokens")
        for name in ("requires", "takes", "unseen", "metrics", "ignores"):
            words = getattr(self, name)
            if words is None and name == "metrics":
                continue
            if not isinstance(words, Set) or not all(isinstance(word, str) for word in words):
                raise TypeError(f"{name} is {words!r}, which is not a set of words")
            object.__setattr__(self, name, frozenset(words))
        if isinstance(self.prefers, str) or not all(isinstance(word, str) for word in self.prefers):
            # A single word would be taken letter by letter.
            raise TypeError(f"prefers is {self.prefers!r}, which is not a sequence of words")
        object.__setattr__(self, "prefers", tuple(self.prefers))

    @property
    def uses(self) -> frozenset[str]:
        """Of ``NEEDS``, what it makes use of where it is there: what it requires among it."""
        return frozenset(self.requires) | frozenset(self.takes)


def _check_switches(tags: object, *names: str) -> None:
    for name in names:
        if not isinstance(getattr(tags, name), bool):
            raise TypeError(f"{name} is {getattr(tags, name)!r}, not True or False")


@runtime_checkable
class Estimator(Protocol):
    """Fits recorded dynamics, then predicts trajectories. Its factory takes its settings by keyword.

    ``factory(**estimator.settings()).restore(estimator.state())`` is the fitted estimator again.

    What it may offer besides is in ``gptfl.plugins.optional``: ``gptfl rank`` takes influences from a fitted estimator
    that has them, and simulates for others.
    """

    name: str
    tags: EstimatorTags

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
