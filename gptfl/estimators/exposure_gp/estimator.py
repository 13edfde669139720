"""The average run and a Gaussian process on how exposures move a run away from it."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import Features, FitData, GradientProducts, Prediction, Query
from gptfl.core.blocked_rows import Elsewhere
from gptfl.core.linear_form import LinearForm
from gptfl.core.links import Link, allowed_links, link_of
from gptfl.core.presentation_form import PresentationForm
from gptfl.core.probability import probability
from gptfl.errors import DataError
from gptfl.estimators.baselines import check_fitted, places_of, training_runs
from gptfl.estimators.clock import Places
from gptfl.estimators.exposure_gp.binary import likely
from gptfl.estimators.exposure_gp.calibration import Calibration
from gptfl.estimators.exposure_gp.conditioning import conditioned
from gptfl.estimators.exposure_gp.fading import FIRST, REACHES, TRIED, faded, likeliest
from gptfl.estimators.exposure_gp.influences import Influences
from gptfl.estimators.exposure_gp.inputs import Sources, check_vectors, sources_of
from gptfl.estimators.exposure_gp.intervals import (
    LEVELS,
    SURE,
    are_reaches,
    back_to_recorded,
    interval,
    recorded_extremes,
)
from gptfl.estimators.exposure_gp.linear_form import linear_form
from gptfl.estimators.exposure_gp.model import ExposureModel
from gptfl.estimators.exposure_gp.predictions import novelty, view
from gptfl.estimators.exposure_gp.presentation_form import presentation_form
from gptfl.estimators.exposure_gp.questions import requested_of, train_of
from gptfl.estimators.exposure_gp.read_once import ReadOnce
from gptfl.estimators.exposure_gp.recipe_departure import departure
from gptfl.estimators.exposure_gp.recorded import held, products_again, products_of, recorded_of
from gptfl.estimators.exposure_gp.requests import RecordedRuns
from gptfl.estimators.exposure_gp.single_fit import PREFIX, FittedSingleRun
from gptfl.estimators.exposure_gp.state import errors_of, model_of, state_of
from gptfl.estimators.threads import one_blas_thread
from gptfl.plugins.interfaces import EstimatorTags
from gptfl.plugins.settings import flag, one_of

LINKS = ("auto", "identity", "log", "odds", "logit")
ENOUGH = 6
"""With fewer runs their likelihood says little about the scale, and the last one allowed is taken."""


class ExposureGp(Influences):
    """Mean-run plus a Gaussian process that is linear in step-size-weighted exposures.

    What all runs share is in the average run. A run's deviation from it is a sum over the examples that it saw, each
    weighted by the step sizes at which it was seen, of effects that are alike for examples with alike vectors, plus
    an effect of each example's own. With gradient features (encoder ``gradients``) the vectors are the training
    gradients along a reference run, raw and preconditioned, the effects' prior mean is the first-order one, of which
    only non-negative scales are fitted, and test examples share effects as far as their gradients are alike.
    Everything else has the greatest restricted marginal likelihood on the runs to fit; no run is spent on choosing.

    ``link`` is the scale on which effects add up: ``identity``, ``log``, ``odds`` (of a loss), ``logit`` (of a metric
    with two bounds), or ``auto``, the likeliest of those that the metric allows (of few runs, the last one). ``prior`` says whether the
    first-order prior mean is used where there are gradients; ``products``, whether the recording's gradient products
    go into it beside those of the vectors; ``features``, whether vectors are used at all.

    Predictions have intervals at 50 and 90 %, widened as the errors on left-out runs ask for, and a novelty. Those of a
    metric that is 0 or 1 are probabilities of 1; their intervals hold what is probable enough (``binary``).
    """

    name = "exposure-gp"
    tags: EstimatorTags
    steps_: Int[np.ndarray, " grid"]
    model_: ExposureModel
    calibration_: Calibration
    reach_: Float[np.ndarray, " level"]
    """How many standard deviations intervals of each level reach to either side; of none after ``fit_values``."""
    single_: FittedSingleRun | None = None
    """What is known where there was one run to fit."""
    notes_: tuple[str, ...] = ()

    def __init__(self, link: str = "auto", prior: bool = True, products: bool = True, features: bool = True) -> None:
        who = f"estimator {self.name}"
        self.link = one_of(who, "link", link, LINKS)
        self.prior = flag(who, "prior", prior)
        self.products = flag(who, "products", products)
        self.features = flag(who, "features", features)
        self.tags = EstimatorTags(
            requires={"features"} if self.features else set(),
            takes={"gradients"} if self.features and self.prior and self.products else set(),
            # Other examples are known by their vectors alone.
            unseen={"train", "test"} if self.features else set(),
            conditions=True,
            prefers=("gradients", "answer-state", "minilm"),
            one_run=self.features and self.prior,
            every_order=True,
            blocks=True,
            counts_tokens=True,
        )

    def settings(self) -> Mapping[str, Any]:
        """The scale, and what is used."""
        return {"link": self.link, "prior": self.prior, "products": self.products, "features": self.features}

    @one_blas_thread()
    def fit(self, data: FitData) -> Self:
        """Choose scale and hyperparameters by their likelihood on all runs to fit and to validate.

        One run is enough with gradient features (``single_run``). Raises ``DataError`` for fewer than 2 others, or
        without the features that it requires.
        """
        self.fit_values(data)
        if self.single_ is not None:
            return self
        self.model_.interval_scale = self.calibration_.interval_scale
        self.reach_ = self.calibration_.reach(LEVELS)
        self.notes_ += self.calibration_.doubts(self.name) + self.lone_pair_note(data)
        if not (self.model_.knows_width or self.model_.binary):
            self.notes_ += (
                f"{self.name}: the {len(self.model_.recorded.values)} runs to fit don't differ in what they saw or in what "
                "was recorded, and nothing says how far others may: predictions have no intervals",
            )
        return self

    @one_blas_thread()
    def fit_values(self, data: FitData) -> Self:
        """As ``fit``, without what tells how wide intervals must be: predictions have none.

        It takes a fraction of the time, and is for the values of many fits. Raises as ``fit`` does.
        """
        runs = training_runs(data)
        sources = sources_of(data.features, len(data.pool), len(data.test)) if self.features else Sources({})
        products = products_of(data.gradients) if "gradients" in self.tags.takes else None
        if products is not None:
            # Of a pair that wasn't recorded nothing else would be predicted.
            products = products.of_kinds(sources.estimable)
            products = products if products.kinds else None
        self.single_ = None
        if len(runs) == 1 and self.tags.one_run:
            self.single_ = FittedSingleRun.of(runs[0], data, sources.in_memory(), held(products))
            self.steps_, self.notes_ = self.single_.steps, self.single_.notes()
            return self
        recorded, self.notes_ = recorded_of(runs, data)
        # One after the other: each holds the runs on a scale of its own.
        higher = data.metric.higher_is_better
        in_blocks = sources.in_blocks or (products is not None and products.in_blocks)

        reads: dict[float, ReadOnce] = {}

        def fitted(links: list[Link], share: float) -> ExposureModel:
            runs, read = faded(recorded, share), None
            if in_blocks:
                if share not in reads:
                    shares = (share,) if reads else TRIED
                    some = [faded(recorded, one) for one in shares]
                    reads.update(zip(shares, ReadOnce.of_each(some, sources, products), strict=True))
                read = reads[share]
            models = (
                ExposureModel(runs, sources, link, prior=self.prior, higher=higher, products=products, read=read)
                for link in links
            )
            return min(models, key=lambda model: model.evidence)

        first = fitted(self._links(data, recorded), REACHES[FIRST])
        self.model_ = likeliest(first, lambda share: fitted([first.link], share))
        self.model_.fit_factors()
        self.calibration_, self.reach_ = Calibration(self.model_), np.zeros(0)
        self.steps_ = recorded.steps
        return self

    def lone_pair_note(self, data: FitData) -> tuple[str, ...]:
        """A line where one pair of examples outweighs all others in what gradients say.

        Whether a fit goes by first order depends on its runs. All fits take from the same gradients how alike examples are,
        which so long a one distorts as well.
        """
        states, scales = self.model_.states, self.model_.hyper.scales
        found = states.lone_pair(scales)
        rests, remedy = "rest on it", "prior=false"
        if found is None and states.ways:
            found = states.lone_pair(np.ones(states.ways))
            rests, remedy = "rest on how alike that makes examples, by which this fit goes", "features=false"
        if found is None:
            return ()
        train, test, times = found
        return (
            f"{self.name}: gradients say {times:.2g} times as much of {data.pool[train].id!r} on {data.test[test].id!r} as of "
            "a usual pair, more than of all others together: the optimiser had hardly seen some of its weights, and divides "
            f"by next to nothing there. Don't trust influences and predictions that {rests}; train longer or at a "
            f"larger --lr, or fit with --set {remedy}",
        )

    def _links(self, data: FitData, recorded: RecordedRuns) -> list[Link]:
        """The scales to try. Raises ``DataError`` for one that the metric doesn't allow."""
        allowed = allowed_links(data.metric, recorded.values)
        if self.link == "auto":
            return allowed if len(recorded.values) >= ENOUGH else allowed[-1:]
        link = link_of(self.link, data.metric)
        if self.link not in {one.name for one in allowed}:
            raise DataError(
                f"exposure-gp: link {self.link!r} doesn't suit {data.metric.name} as recorded",
                f"use {', '.join(one.name for one in allowed)}, or auto",
            )
        return [link]

    def predict(self, query: Query) -> Prediction:
        """The asked runs with their intervals. Raises ``DataError`` beyond the recorded steps."""
        check_fitted(self)
        if self.single_ is not None:
            return self.single_.predict(query)
        model = self.model_
        grid = self.steps_
        recipe = model.recipe
        places = recipe.clock.place(query, grid).check()
        apart = recipe.breadth.apart(model.recorded.curricula, query, places)
        recorded = places.plain.all() and not recipe.sizes.other(query.drawn).any() and apart is None
        rows = int(np.searchsorted(grid, query.steps[-1])) + 1 if len(query.steps) > 1 else 1
        requested = requested_of(model, query, min(rows, len(grid)) if recorded else len(grid))
        own, train = train_of(model, query)
        viewed = view(model, query, places, requested, own, train)
        mean, spread = viewed.mean, viewed.spread
        beside = None if recorded else departure(query, places, recipe, requested.centre, mean, apart)
        if beside is not None:
            spread = np.hypot(spread, beside / model.interval_scale)
        observed = self._known_of(query)
        if observed is not None:
            mean, spread = self._observed(query, places, observed, mean, spread)
        spread = spread * model.interval_scale
        # The median: the mean of a scale bent so far would hang on the tails, of which nobody knows enough.
        values = model.link.back(mean)
        if model.binary:
            values = probability(mean, len(model.even))
            intervals = {level: likely(values, level) for level in LEVELS}
        else:
            known = len(self.reach_) > 0 and (model.knows_width or not model.floor)
            reaches = zip(LEVELS, self.reach_, strict=True) if known else ()
            intervals = {level: interval(model.link, reach, mean, spread) for level, reach in reaches}
            if intervals:
                seen = places_of(query, model.even.shape[2])
                extremes = recorded_extremes(model.recorded.values, seen, query.observed)
                for level in (one for one in LEVELS if one >= SURE):
                    intervals[level] = back_to_recorded(values, intervals[level], extremes)
        # Before a step of another size than recorded is taken, nothing changes.
        run, place = np.nonzero(places.still)
        for one in (values, *(bound for bounds in intervals.values() for bound in bounds)):
            one[run, place] = query.first[run]
            one[:, 0] = query.first
        return Prediction(values, intervals, novelty(viewed, beside))

    def _known_of(self, query: Query) -> Float[np.ndarray, "run recorded test"] | None:
        """What is known of the asked runs themselves: scores observed, and first ones that differ by run.

        The first score of a test example that wasn't fitted has told its mean trajectory.
        """
        # Runs of one model are the same before they are trained on anything.
        differs = int(query.steps[0]) >= int(self.steps_[self.calibration_.moved].min(initial=np.iinfo(np.int64).max))
        if not (differs and self.model_.floor):
            return query.observed
        known = np.full((*query.first.shape[:1], len(query.steps), query.first.shape[1]), np.nan)
        if query.observed is not None:
            known = query.observed.astype(np.float64)
        fitted = places_of(query, self.model_.even.shape[2]) >= 0
        known[:, 0] = np.where(fitted, query.first, np.nan)
        return known

    def _observed(
        self, query: Query, places: Places, observed: np.ndarray, mean: np.ndarray, spread: np.ndarray
    ) -> tuple[Float[np.ndarray, "run recorded test"], Float[np.ndarray, "run recorded test"]]:
        nearest = np.abs(self.steps_[:, None] - np.median(places.requested, axis=0)[None]).argmin(axis=0)
        calibration, link = self.calibration_, self.model_.link
        correlation = calibration.over_steps[np.ix_(nearest, nearest)]
        parts = [one.at(nearest) for one in calibration.cross_fitted]
        return conditioned(mean, spread, link.to(observed), correlation, parts)

    def linear_form(self, query: Query, targets: Float[np.ndarray, "target test"] | None = None) -> LinearForm:
        """The arrays that predict any subset by the recipe of a query (see ``interfaces.HasLinearForm``)."""
        check_fitted(self)
        if self.single_ is not None:
            raise DataError("exposure-gp has no linear form where it was fitted to one run", "record a second one")
        return linear_form(self.model_, self.reach_, query, self.calibration_.begins_apart, targets)

    def presentation_form(
        self, query: Query, examples: Int[np.ndarray, " example"], tests: Int[np.ndarray, " chosen"]
    ) -> PresentationForm:
        """The arrays that predict what exchanges of examples in the runs of a query do (``optional.HasPresentationForm``)."""
        check_fitted(self)
        if self.single_ is not None:
            raise DataError(
                "exposure-gp has no sum over presentations where it was fitted to one run", "record a second one"
            )
        places = self.model_.recipe.clock.place(query, self.steps_)
        return presentation_form(self.model_, query, places, examples, tests, self._known_of(query) is not None)

    @property
    def lacks_vectors(self) -> bool:
        """Whether it was restored without the vectors of the pool."""
        sets = self.model_.sources.sets.values() if self.single_ is None and hasattr(self, "model_") else ()
        return any(isinstance(one.train, Elsewhere) for one in sets)

    def use_vectors(self, features: Features) -> None:
        """Take the vectors of the pool that it was fitted to. Raises ``DataError`` where they aren't of these examples."""
        given = sources_of(features, self.model_.pool, self.model_.even.shape[2])
        rows: Mapping[str, Any] = {name: one.train for name, one in given.sets.items()}
        wrong = check_vectors(self.model_.sources, rows, np.arange(self.model_.pool))
        if wrong is not None:
            raise DataError(f"exposure-gp: {wrong}", "take the features that the simulator was fitted with")
        self.model_.use_vectors(rows)

    @property
    def lacks_products(self) -> bool:
        """Whether it was restored without the gradient products, which the recording has."""
        products = self.model_.products if self.single_ is None and hasattr(self, "model_") else None
        return products is not None and products.lacking

    def use_products(self, gradients: GradientProducts) -> None:
        """Take the products that it was fitted to. Raises ``DataError`` where they are others."""
        assert self.model_.products is not None  # it lacks them
        self.model_.use_products(products_again(gradients, self.model_.products))

    def state(self) -> Mapping[str, np.ndarray]:
        """The runs fitted, the vectors, and the hyperparameters: a Gaussian process is its data."""
        check_fitted(self)
        if self.single_ is not None:
            return self.single_.state()
        # Each process would fit six models anew at its first question to find these.
        errors = {"errors": self.calibration_.errors} if self.calibration_.begins_apart else {}
        return {**state_of(self.model_), "reach": self.reach_, **errors}

    def restore(self, state: Mapping[str, np.ndarray]) -> Self:
        """Take back what ``state`` gave. Raises ``DataError`` for what isn't that."""
        self.single_ = None
        try:
            if any(name.startswith(PREFIX) for name in state):
                self.single_ = FittedSingleRun.from_state(state)
                self.steps_ = self.single_.steps
                return self
            self.model_ = model_of(state, self.prior)
            if not are_reaches(state.get("reach")):
                raise ValueError("how far intervals reach is not known")
            errors = errors_of(state, self.model_)
        except (KeyError, ValueError, IndexError, TypeError) as error:
            raise DataError(
                f"{self.name}: its arrays are missing or ill-shaped ({error})", "fit it again (gptfl fit)"
            ) from error
        self.calibration_ = Calibration(self.model_, errors)
        reach = state.get("reach")
        self.reach_ = self.calibration_.reach(LEVELS) if reach is None or len(reach) != len(LEVELS) else reach
        self.steps_ = self.model_.recorded.steps
        return self
