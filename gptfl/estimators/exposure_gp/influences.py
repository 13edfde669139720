"""What ``exposure-gp`` tells of influence, without simulating."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, cast

import numpy as np
from jaxtyping import Float, Int

from gptfl.core.outlook import RunOutlook
from gptfl.errors import DataError
from gptfl.estimators.baselines import check_fitted
from gptfl.estimators.exposure_gp.group_influence import Part, influence_of_groups
from gptfl.estimators.exposure_gp.influence import first_order, influence, influence_on_target
from gptfl.estimators.exposure_gp.inputs import check_vectors
from gptfl.estimators.exposure_gp.model import ExposureModel
from gptfl.estimators.exposure_gp.outlook import outlook_on_target
from gptfl.estimators.exposure_gp.single_fit import FittedSingleRun
from gptfl.estimators.exposure_gp.target import TargetPosterior

if TYPE_CHECKING:
    from gptfl.plugins.interfaces import Estimator


class Influences:
    """The part of the estimator that tells influence; ``single_`` is what is known where there was one run to fit."""

    model_: ExposureModel
    single_: FittedSingleRun | None
    _last_target: tuple[ExposureModel, Float[np.ndarray, " test"], TargetPosterior] | None = None
    """The target that was asked about last."""

    def _check_fitted(self) -> None:
        check_fitted(cast("Estimator", self))

    def influence_of(
        self,
        places: Int[np.ndarray, " example"],
        vectors: Mapping[str, Float[np.ndarray, "example d"]],
        weights: Float[np.ndarray, "target test"],
        tokens: Float[np.ndarray, " example"] | None = None,
    ) -> tuple[Float[np.ndarray, "example target"], Float[np.ndarray, "example target"]]:
        """Influence in the metric's units, and its standard deviation (see ``optional.TellsInfluence``).

        Args:
            places: the examples' places in the pool fitted, -1 for one that is not in it.
            vectors: their rows of each feature set fitted, by the set's name.
            weights: of the test examples in each sum.
            tokens: how many each example is trained on, NaN where that isn't known; None where all count alike.
        """
        self._check_fitted()
        if self.single_ is not None:
            return self.single_.influence(places, weights)
        self._check_vectors(vectors, places)
        mean, spread = influence(self.model_, places, vectors, weights, tokens)
        return (mean if self.model_.higher else -mean), spread

    def influence_on_target(
        self,
        places: Int[np.ndarray, " example"],
        vectors: Mapping[str, Float[np.ndarray, "example d"]],
        weights: Float[np.ndarray, " test"],
        tokens: Float[np.ndarray, " example"] | None = None,
    ) -> tuple[Float[np.ndarray, " example"], Float[np.ndarray, " example"], Float[np.ndarray, " example"]] | None:
        """Influence on one weighted sum by its own signal and noise (see ``optional.HasTargetInfluence``).

        Args:
            places: the examples' places in the pool fitted, -1 for one that is not in it.
            vectors: their rows of each feature set fitted, by the set's name.
            weights: of the test examples in the sum.
            tokens: how many each example is trained on, NaN where that isn't known; None where all count alike.

        None after a single run.
        """
        self._check_fitted()
        if self.single_ is not None:
            return None
        self._check_vectors(vectors, places)
        mean, spread, before = influence_on_target(self.model_, places, vectors, weights, self._target(weights), tokens)
        return (mean if self.model_.higher else -mean), spread, before

    def influence_of_groups(
        self,
        parts: Iterable[Part],
        count: int,
        weights: Float[np.ndarray, " test"],
        tokens: Float[np.ndarray, " example"] | None = None,
    ) -> tuple[Float[np.ndarray, " group"], Float[np.ndarray, " group"], Float[np.ndarray, " group"]] | None:
        """Influence of whole groups on one weighted sum (see ``optional.HasGroupInfluence``); None after one run.

        Args:
            parts: some examples at a time: places, vectors, and the number of each one's group.
            count: how many groups there are.
            weights: of the test examples in the sum.
            tokens: how many each example of all parts is trained on, in their order; None where all count alike.
        """
        self._check_fitted()
        if self.single_ is not None:
            return None

        def checked() -> Iterator[Part]:
            for places, vectors, groups in parts:
                self._check_vectors(vectors, places)
                yield places, vectors, groups

        mean, spread, before = influence_of_groups(self.model_, checked(), count, weights, tokens)
        return (mean if self.model_.higher else -mean), spread, before

    def outlook_on_target(
        self,
        parts: Iterable[tuple[Int[np.ndarray, " example"], Mapping[str, Float[np.ndarray, "example d"]]]],
        weights: Float[np.ndarray, " test"],
    ) -> RunOutlook | None:
        """What further runs would tell of one weighted sum (see ``optional.HasOutlook``); None after one run."""
        self._check_fitted()
        if self.single_ is not None:
            return None

        def checked() -> Iterator[tuple[Int[np.ndarray, " example"], Mapping[str, Float[np.ndarray, "example d"]]]]:
            for places, vectors in parts:
                self._check_vectors(vectors, places)
                yield places, vectors

        return outlook_on_target(self.model_, checked(), weights, self._target(weights))

    def _target(self, weights: Float[np.ndarray, " test"]) -> TargetPosterior:
        """What is known of a weighted sum, found once for examples that are asked about some at a time."""
        last = self._last_target
        if last is not None and last[0] is self.model_ and np.array_equal(last[1], weights):
            return last[2]
        found = TargetPosterior.of(self.model_, weights)
        self._last_target = (self.model_, weights.copy(), found)
        return found

    def _check_vectors(
        self, vectors: Mapping[str, Float[np.ndarray, "example d"]], places: Int[np.ndarray, " example"]
    ) -> None:
        wrong = check_vectors(self.model_.sources, vectors, places)
        if wrong is not None:
            raise DataError(f"exposure-gp: {wrong}", "take the encoder that the simulator was fitted with")

    def first_order_of(
        self,
        train: Mapping[str, Float[np.ndarray, "example d"]],
        parts: Mapping[str, Float[np.ndarray, "part d"]],
        test: int,
    ) -> Float[np.ndarray, "example part"]:
        """What gradients alone foretell for parts of a fitted test example: positive where it lowers their loss."""
        self._check_fitted()
        if self.single_ is not None:
            return self.single_.first_order(train, parts)
        sign = 1.0 if self.model_.higher else -1.0
        return sign * first_order(self.model_, train, parts, test)

    @property
    def has_self_influence(self) -> bool:
        """Whether influence on the training examples themselves can be told: it takes gradient vectors."""
        return self.single_ is not None or (hasattr(self, "model_") and self.model_.sources.last is not None)

    def self_influence(self) -> Float[np.ndarray, " pool"]:
        """Each training example's gradient times itself at the end of the reference run: what is still to be learned.

        That is the first-order effect of seeing it on its own loss once the others have been learned. A mislabelled
        example has a large one. Only order and ratios count. Raises ``DataError`` where it was fitted without
        gradient vectors.
        """
        self._check_fitted()
        influence = self.model_.sources.itself() if self.single_ is None else self.single_.itself
        if influence is None:
            raise DataError(
                "exposure-gp tells influence on the examples themselves from gradient features, and has none",
                "use --how replace, or fit to features of the encoder gradients",
            )
        return influence
