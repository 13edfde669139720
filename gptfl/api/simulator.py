"""A fitted simulator to hold: asked any number of questions, opened once."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptfl.core import Progress, silent, user_path
from gptfl.core.curriculum import check_seed
from gptfl.core.display import html_rows
from gptfl.errors import UsageError
from gptfl.evaluation.verification import Verification
from gptfl.influence.ranking import RankResult
from gptfl.influence.selection import Selection
from gptfl.plugins.registry import suggest
from gptfl.simulation.counterfactual import Counterfactual, Ids
from gptfl.simulation.fit import FitResult
from gptfl.simulation.many import SubsetSimulations, simulate_subsets
from gptfl.simulation.outcome import Simulation
from gptfl.simulation.reference import Trust, trust_of
from gptfl.simulation.schedule import Overrides
from gptfl.simulation.simulate import answered, request_of
from gptfl.simulation.simulator import FittedSimulator, open_fitted

if TYPE_CHECKING:
    from gptfl.recording.cost import Announce


ARGUMENTS = ("subset", "drop", "curriculum", "orders", "against", "observe", "seed")
"""What ``simulate`` takes besides a recipe."""


class Simulator:
    """A fitted estimator and the recording that it was fitted to: what ``fit`` and ``open_simulator`` give.

    Both files are read when they are first needed, and once. Its methods write nothing, but for ``verify``, which trains.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        dynamics: str | Path | None = None,
        features: str | Path | None = None,
        workspace: str | Path | None = None,
        fitted: FitResult | None = None,
    ) -> None:
        self.path = user_path(path)
        self.fitted = fitted
        """What the call of ``fit`` came to that this is from."""
        self._where = (dynamics, workspace, features)

    @cached_property
    def opened(self) -> FittedSimulator:
        """The simulator with its recording, as they were read. Raises ``DataError`` where they can't be."""
        dynamics, workspace, features = self._where
        return open_fitted(self.path, dynamics, workspace, None, None, features)

    @property
    def estimator(self) -> str:
        """The estimator's name."""
        return self.opened.found.estimator if self.fitted is None else self.fitted.estimator

    @property
    def metric(self) -> str:
        """The name of the metric that it predicts."""
        return self.opened.metric.name if self.fitted is None else self.fitted.metric

    @property
    def key(self) -> str:
        """The fingerprint of all that determines the fit."""
        return self.opened.found.key if self.fitted is None else self.fitted.key

    @property
    def settings(self) -> Mapping[str, Any]:
        """The estimator's settings."""
        return self.opened.found.settings if self.fitted is None else self.fitted.settings

    @property
    def encoder(self) -> str | None:
        """The encoder of the features that it was fitted on, None where it uses none."""
        return self.opened.found.info.get("encoder") if self.fitted is None else self.fitted.encoder

    @property
    def seconds(self) -> float:
        """What the fit took."""
        return float(self.opened.found.info.get("seconds", 0.0)) if self.fitted is None else self.fitted.seconds

    @property
    def fit_runs(self) -> int:
        """How many runs it was fitted to."""
        return len(self.opened.found.info.get("fit_runs", ())) if self.fitted is None else self.fitted.fit_runs

    @property
    def validation_runs(self) -> int:
        """How many runs its fit was validated on."""
        if self.fitted is not None:
            return self.fitted.validation_runs
        return len(self.opened.found.info.get("validation_runs", ()))

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know of it: of the call that fitted it, or of the files."""
        return self.opened.notes if self.fitted is None else self.fitted.notes

    @property
    def trust(self) -> Trust:
        """Its skill on the held-out runs of its recording."""
        return trust_of(self.opened)

    def simulate(
        self,
        subset: Ids | None = None,
        *,
        drop: Ids | None = None,
        curriculum: str | Path | None = None,
        orders: int = 1,
        against: Ids | None = None,
        observe: str | Path | None = None,
        seed: int = 42,
        **recipe: Any,
    ) -> Simulation:
        """Predict every test example's trajectory for a training set that was never run; writes nothing.

        ``subset`` and ``drop`` are sequences of ids or files of them, ``curriculum`` is a file of batches; with none of
        these the held-out runs are simulated. ``recipe`` may hold ``epochs``, ``steps``, ``batch_size`` and ``lr``.
        Raises ``UsageError`` for arguments that don't go together, ``DataError`` where the estimator can't answer.
        """
        check_seed(seed)
        source = self.opened
        choice = Counterfactual(subset, drop, curriculum, orders, _overrides(recipe))
        choice.check()
        return answered(source, request_of(source, choice, observe, seed), against, orders, seed, trust_of(source))

    def simulate_many(
        self, subsets: Sequence[Ids], *, orders: int = 1, seed: int = 42, progress: Progress = silent, **recipe: Any
    ) -> SubsetSimulations:
        """Predict what training on each of many subsets would end at, in one pass; writes nothing."""
        check_seed(seed)
        overrides = _overrides(recipe)
        Counterfactual((), None, None, orders, overrides).check()
        found = simulate_subsets(self.opened, subsets, orders, overrides, seed, progress)
        return replace(found, notes=(*found.notes, self.trust.note))

    def influence(
        self,
        on: str | Sequence[str] = "mean",
        how: str | None = None,
        *,
        orders: int = 4,
        seed: int = 42,
        progress: Progress = silent,
    ) -> RankResult:
        """The influence of every training example on the metric of some test examples, as ``gptfl.rank`` tells it."""
        from gptfl.influence.rank import InfluenceRequest, check_options, rank_by
        from gptfl.influence.targets import influence_target

        check_seed(seed)
        check_options(how, orders)
        subject = influence_target(on, self.opened.recording.dynamics)
        return rank_by([self.opened], InfluenceRequest(subject, how, None, self._where[2], orders, seed), progress)

    def select(
        self,
        size: int,
        *,
        on: str | Sequence[str] = "mean",
        how: str | None = None,
        orders: int = 4,
        max_share_per_class: float | None = None,
        diversity: float = 0.0,
        cautious: float = 0.0,
        search: int | None = None,
        seed: int = 42,
        progress: Progress = silent,
    ) -> Selection:
        """Choose ``size`` training examples with the best predicted effect; the arguments are those of ``gptfl.select``."""
        from gptfl.influence.greedy import SelectionSpec
        from gptfl.influence.rank import check_options
        from gptfl.influence.select import select_from
        from gptfl.influence.selection import target_of
        from gptfl.influence.subset_search import SEARCH

        check_seed(seed)
        check_options(how, orders)
        spec = SelectionSpec(size, max_share_per_class, diversity, cautious, SEARCH if search is None else search)
        subject = target_of(on, self.opened, spec)
        return select_from(self.opened, subject, spec, how, self._where[2], orders, seed, progress)

    def verify(
        self,
        subset: Ids | None = None,
        *,
        announce: "Announce | None" = None,
        progress: Progress = silent,
        **options: Any,
    ) -> Verification:
        """Predict and then really train; ``options`` are those of ``gptfl.verify``, which writes its numbers."""
        from gptfl.api.verify import verify

        dynamics, workspace, features = self._where
        found = verify(
            self.path,
            dynamics=dynamics,
            workspace=workspace,
            features=features,
            subset=subset,
            announce=announce,
            progress=progress,
            **options,
        )
        if found is None:
            raise UsageError("dry_run trains nothing, so there is nothing to give back", "call gptfl.verify for it")
        return found

    def __repr__(self) -> str:
        return f"Simulator({str(self.path)!r})"

    def _repr_html_(self) -> str:
        rows = {
            "simulator": self.path.name,
            "estimator": self.estimator,
            "metric": self.metric,
            "recording": self.opened.recording.path.name,
            "held-out runs": self.trust.text,
        }
        return html_rows(rows)


def _overrides(recipe: Mapping[str, Any]) -> Overrides:
    known = {"epochs": "epochs", "steps": "steps", "batch_size": "batch_size", "lr": "learning_rate"}
    for name in recipe:
        if name not in known:
            raise TypeError(f"unexpected argument {name!r}: {suggest(name, [*known, *ARGUMENTS])}")
    return Overrides(**{known[name]: value for name, value in recipe.items()})


def fit(estimator: str | None = None, **options: Any) -> Simulator:
    """Fit an estimator to a recording's runs and write the simulator.

    ``options`` are those of ``gptfl.simulation.fit.fit``, which says what each means and what it raises.
    """
    from gptfl.simulation.fit import fit as fit_file

    result = fit_file(estimator, **options)
    return Simulator(result.path, dynamics=options.get("dynamics"), workspace=options.get("workspace"), fitted=result)


def open_simulator(
    path: str | Path | None = None,
    *,
    dynamics: str | Path | None = None,
    features: str | Path | None = None,
    workspace: str | Path | None = None,
    estimator: str | None = None,
    metric: str | None = None,
) -> Simulator:
    """The simulator at a path, else the one made last that fits. Raises ``DataError`` where there is none."""
    opened = open_fitted(path, dynamics, workspace, estimator, metric, features)
    simulator = Simulator(opened.path, dynamics=dynamics, features=features, workspace=workspace)
    simulator.opened = opened
    return simulator
