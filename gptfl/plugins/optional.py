"""What a plugin's parts may offer beyond their interfaces, each by a protocol; gptfl looks for it by ``isinstance``."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import Dynamics, Example, Features, GradientProducts, Progress, Query
from gptfl.core.linear_form import LinearForm
from gptfl.core.outlook import RunOutlook
from gptfl.core.presentation_form import PresentationForm
from gptfl.core.replacement_form import ReplacementForm
from gptfl.plugins.interfaces import Estimator
from gptfl.plugins.work import OnStep, Outcome, Unit, Work


@runtime_checkable
class MayMakeUpExamples(Protocol):
    """What a task may also have: whether its examples are made up."""

    generated: bool
    """Whether it needs no folder in the ``--data`` of a mixture."""


@runtime_checkable
class KnowsSizes(Protocol):
    """What a task may also offer: how many examples there are, before any is drawn."""

    def sizes(self) -> tuple[int, int] | None:
        """How many there are for the pool and for the test set; None where that isn't known."""
        ...


@runtime_checkable
class UsesRecording(Protocol):
    """What an encoder may also offer: it works from more of a recording than the examples."""

    def use_recording(self, recording: Dynamics) -> None:
        """Called before anything else; ``encode`` is then asked for examples of this recording, or new ones beside it.

        Raises ``DataError`` where the recording lacks what the encoder needs.
        """
        ...


@runtime_checkable
class EncodesNew(Protocol):
    """What an encoder that is fitted to all examples may also offer: vectors of others."""

    def encode_new(
        self, new: Sequence[Example], pool: Sequence[Example], test: Sequence[Example]
    ) -> Mapping[str, Float[np.ndarray, "new d"]]:
        """The vectors of ``new`` in each set, by what is fitted to the pool and the test examples alone."""
        ...


@runtime_checkable
class ReportsProgress(Protocol):
    """What an encoder may also have: the callback that it reports to, set before it is asked for anything."""

    progress: Progress


@runtime_checkable
class HasNotes(Protocol):
    """What an encoder may also have: lines for the user, read once it has encoded."""

    notes: Sequence[str]


@runtime_checkable
class KnowsSeconds(Protocol):
    """What an encoder may also have: what its vectors cost before they were asked for, None where that isn't known."""

    seconds: float | None


@runtime_checkable
class RefersToVectors(Protocol):
    """What an estimator may also offer: its state may lack the vectors of the pool, which are given to it again."""

    @property
    def lacks_vectors(self) -> bool:
        """Whether it was restored from a state without them."""
        ...

    def use_vectors(self, features: Features) -> None:
        """Called after ``restore`` with the features that it was fitted to, whose pool may be ``BlockedRows``.

        Raises ``DataError`` where they aren't.
        """
        ...


@runtime_checkable
class RefersToProducts(Protocol):
    """What an estimator may also offer: its state may lack the gradient products, which are given to it again."""

    @property
    def lacks_products(self) -> bool:
        """Whether it was restored from a state without them."""
        ...

    def use_products(self, gradients: GradientProducts) -> None:
        """Called after ``restore`` with the products that it was fitted to, which may be ``BlockedProducts``.

        Raises ``DataError`` where they aren't.
        """
        ...


@runtime_checkable
class CountsOperations(Protocol):
    """What an estimator may also offer: what its answers cost."""

    def flops(self, query: Query) -> float:
        """The operations that ``predict`` takes for this query."""
        ...


@runtime_checkable
class HasFitNotes(Protocol):
    """What an estimator may also have: lines for the user on its last fit."""

    notes_: Sequence[str]


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
class InfluencesMean(Protocol):
    """What an estimator that tells influence on the test examples may also offer: that on the mean of some of them.

    It needs no array of all pairs, which a large pool has too many of.
    """

    def mean_influence(self, tests: Int[np.ndarray, " chosen"]) -> Float[np.ndarray, " pool"]:
        """The mean of ``influence`` over the test examples at some places. Raises ``DataError`` as it does."""
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


def has_self_influence(estimator: Estimator) -> bool:
    """Whether a fitted estimator tells influence on the training examples themselves (``InfluencesItself``).

    One that can do so after some fits only says which by an attribute ``has_self_influence``.
    """
    return isinstance(estimator, InfluencesItself) and bool(getattr(estimator, "has_self_influence", True))


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

        One with the tag ``counts_tokens`` may also get ``tokens``, a keyword: how many each example is trained on, NaN where
        that isn't known. It is given where the loss of a batch is a mean over tokens and examples are asked about that it
        was not fitted to, and counts for these: they take their share of a batch by their own tokens, not by the mean.
        """
        ...


@runtime_checkable
class HasTargetInfluence(Protocol):
    """What an estimator that tells influence may also offer: influence on one weighted sum of the test examples alone.

    How sure it is of a mean over test examples is then judged by that mean, and not by what single ones do.
    """

    def influence_on_target(
        self,
        places: Int[np.ndarray, " example"],
        vectors: Mapping[str, Float[np.ndarray, "example d"]],
        weights: Float[np.ndarray, " test"],
    ) -> tuple[Float[np.ndarray, " example"], Float[np.ndarray, " example"], Float[np.ndarray, " example"]] | None:
        """As ``influence_of``, and the standard deviation before any run; None where it can't be told.

        ``tokens`` is as there.
        """
        ...


@runtime_checkable
class HasGroupInfluence(Protocol):
    """What an estimator that tells influence may also offer: that of seeing all examples of a group once more."""

    def influence_of_groups(
        self,
        parts: Iterable[
            tuple[
                Int[np.ndarray, " example"], Mapping[str, Float[np.ndarray, "example d"]], Int[np.ndarray, " example"]
            ]
        ],
        count: int,
        weights: Float[np.ndarray, " test"],
    ) -> tuple[Float[np.ndarray, " group"], Float[np.ndarray, " group"], Float[np.ndarray, " group"]] | None:
        """The mean of each of ``count`` groups, its standard deviation, and that before any run; None if unknown.

        ``parts`` hold some examples at a time: their places and vectors, as for ``influence_of``, and the number of
        each one's group, -1 for none. ``tokens``, where the estimator takes it, are those of all of them, in their order.
        """
        ...


@runtime_checkable
class HasOutlook(Protocol):
    """What an estimator that tells influence may also offer: what further runs would tell of it, before they are trained."""

    def outlook_on_target(
        self,
        parts: Iterable[tuple[Int[np.ndarray, " example"], Mapping[str, Float[np.ndarray, "example d"]]]],
        weights: Float[np.ndarray, " test"],
    ) -> RunOutlook | None:
        """What is known of influences on one weighted sum of the test examples, and of runs of some examples.

        ``parts`` hold some examples at a time: their places and vectors, as for ``influence_of``. None where it can't be
        told.
        """
        ...


@runtime_checkable
class HasLinearForm(Protocol):
    """What an estimator may also offer: its answers about every order (tag ``every_order``) as a few small arrays."""

    def linear_form(self, query: Query, targets: Float[np.ndarray, "target test"] | None = None) -> LinearForm:
        """The arrays that predict any subset of the pool fitted, by the recipe of a query about every order.

        ``targets`` are weighted means of the test examples fitted, whose changes the form is to tell together.

        Raises ``DataError`` where what was fitted, or that recipe, allows none.
        """
        ...


@runtime_checkable
class HasPresentationForm(Protocol):
    """What an estimator may also offer: its answers at the last step as sums over what the places in batches hold."""

    def presentation_form(
        self, query: Query, examples: Int[np.ndarray, " example"], tests: Int[np.ndarray, " chosen"]
    ) -> PresentationForm:
        """The arrays that predict any curricula of some examples of the pool fitted, by the recipe of a query.

        ``examples`` are places in the pool, those of the query's own runs first; of more than fit into memory only the
        first need be in the form. ``tests`` are places of the test examples that it is of.

        Raises ``DataError`` where what was fitted, or that recipe, allows none.
        """
        ...


@runtime_checkable
class HasReplacementForm(Protocol):
    """What an estimator may also offer: where runs end in which others take one member's places, all of them together."""

    def replacement_form(self, query: Query, replaced: Int[np.ndarray, " run"]) -> ReplacementForm | None:
        """What others do in the places of the example ``replaced`` of each run of a query, by its place in the pool.

        None where only predicting each of them tells it. Raises ``DataError`` as ``predict`` does.
        """
        ...


@runtime_checkable
class PerformsUnits(Protocol):
    """What an executor may also offer: it carries out any units of work, blocks of examples among them."""

    def perform(self, work: Work, units: Iterable[Unit], on_step: OnStep) -> Iterator[Outcome]:
        """Yield what each unit came to when it is done, in any order, and each once.

        A unit in vain is an ``Outcome``, too. Raises ``ResourceError`` where a unit's process is lost again and again.
        """
        ...


@runtime_checkable
class KnowsWorkers(Protocol):
    """What an executor may also have: how many units it carries out at once."""

    workers: int | None
    """At most; None where that isn't known before."""
