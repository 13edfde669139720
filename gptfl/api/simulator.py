"""A fitted simulator to hold: asked any number of questions, opened once."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptfl.api.simulate import simulate_many_with
from gptfl.core import Progress, silent, user_path
from gptfl.core.display import html_rows
from gptfl.errors import UsageError
from gptfl.evaluation.verification import Verification
from gptfl.influence.ranking import RankResult
from gptfl.influence.selection import Selection
from gptfl.options.base import all_but, assemble, shell_names
from gptfl.options.common import Ids
from gptfl.options.evaluation import VerifyOptions
from gptfl.options.influence import RankOptions, SelectOptions
from gptfl.options.signature import takes
from gptfl.options.simulation import FitOptions, SimulateOptions, many_subsets, one_subset
from gptfl.simulation.counterfactual import counterfactual_of
from gptfl.simulation.fit import FitResult, fit_options, fit_with
from gptfl.simulation.many import SubsetSimulations
from gptfl.simulation.outcome import Simulation
from gptfl.simulation.reference import OtherSubset, Trust, trust_of
from gptfl.simulation.simulate import answered, request_of
from gptfl.simulation.simulator import FittedSimulator, check_fits, open_fitted

if TYPE_CHECKING:
    from gptfl.influence.frontier import Frontier
    from gptfl.influence.mixture import MixtureSelection
    from gptfl.recording.cost import Announce


_OF_A_SUBSET = ("orders", "seed", "epochs", "steps", "batch_size", "lr")
_NOT_OF_MANY = all_but(SimulateOptions, *_OF_A_SUBSET)
_NOT_OF_A_RUN = all_but(
    SimulateOptions, *_OF_A_SUBSET, "every_order", "subset", "drop", "curriculum", "against", "observe"
)
_NOT_OF_INFLUENCE = all_but(RankOptions, "on", "how", "orders", "seed", "fdr", "purpose", "by", "keep")
_SELECTED = ("size", "among", "on", "how", "orders", "max_share_per_class", "diversity", "cautious", "search", "seed")
_NOT_OF_SELECTION = all_but(SelectOptions, *_SELECTED, "keep", "frontier", "point", "by")
_NOT_OF_VERIFICATION = {"simulator", "dynamics", "features", "workspace", *shell_names(VerifyOptions)}
"""The options of commands that a simulator's methods don't take: it knows its files, and most write none."""


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
        self._where = (_path(dynamics), _path(workspace), _path(features))

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

    @takes(SimulateOptions, _NOT_OF_A_RUN)
    def simulate(self, subset: Ids | None = None, *groups: object, **options: Any) -> Simulation:
        """Predict every test example's trajectory for a training set that was never run; writes nothing.

        Args:
            subset: a file of ids, or the ids; ``drop`` and ``against`` take the same. Without ``subset``, ``drop`` and
                ``curriculum`` the held-out runs are simulated.
            groups: options in groups, such as ``gptfl.options.simulation.SimulatedRunOptions(orders=8)``.
            options: those of ``gptfl simulate`` (docs/cli.md) that say what to train on and what to hold it against.

        Raises ``TypeError`` for a name that is no option, ``UsageError`` for options that don't go together, and
        ``DataError`` where the estimator can't answer.
        """
        named = {"subset": one_subset(subset), **options}
        all_options = assemble(SimulateOptions, groups, named, "simulate", _NOT_OF_A_RUN)
        choice = counterfactual_of(all_options.run)
        choice.check()
        source = self.opened
        request = request_of(source, choice, all_options.observe, all_options.seed)
        other = OtherSubset.compared(source, choice, all_options.against)
        return answered(source, request, other, all_options.seed, trust_of(source))

    @takes(SimulateOptions, _NOT_OF_MANY)
    def simulate_many(
        self, subsets: Sequence[Ids], *groups: object, progress: Progress = silent, **options: Any
    ) -> SubsetSimulations:
        """Predict what training on each of many subsets would end at, in one pass; writes nothing.

        Args:
            subsets: files of ids, or sequences of them.
            groups: options in groups, such as ``gptfl.options.simulation.SimulatedRunOptions(orders=8)``.
            progress: called along the way.
            options: ``orders``, ``seed`` and the changes to the recorded recipe of ``gptfl simulate`` (docs/cli.md).

        Raises as ``simulate`` does.
        """
        all_options = assemble(SimulateOptions, groups, options, "simulate_many", _NOT_OF_MANY)
        run = replace(all_options.run, subset=many_subsets(subsets))
        return simulate_many_with(replace(all_options, run=run), progress=progress, opened=self.opened)

    @takes(RankOptions, _NOT_OF_INFLUENCE)
    def influence(
        self,
        on: str | Sequence[str] | None = None,
        how: str | None = None,
        *groups: object,
        progress: Progress = silent,
        **options: Any,
    ) -> RankResult:
        """The influence of every training example on the metric of some test examples, as ``gptfl.rank`` tells it.

        Args:
            on: ``mean``, the default, ``self``, ``test:ID``, ``group:FILE`` or a sequence of test ids.
            how: by default ``remove``, ``closed-form`` or ``derivative``, the first that there is, else ``replace``.
            groups: options in groups, such as ``gptfl.options.influence.InfluenceOptions(orders=8)``.
            progress: called along the way.
            options: ``purpose``, ``by``, ``orders``, ``seed`` and ``fdr`` of ``gptfl rank`` (docs/cli.md).

        Raises as ``gptfl.rank`` does.
        """
        from gptfl.influence.cleaning import CLEANING, check_purpose, field_of, rank_for_cleaning
        from gptfl.influence.rank import InfluenceRequest, kept_of, rank_by
        from gptfl.influence.targets import check_how, influence_target

        all_options = assemble(RankOptions, groups, {"on": on, "how": how, **options}, "influence", _NOT_OF_INFLUENCE)
        influence = all_options.influence
        check_how(influence.how)
        check_purpose(all_options.purpose, all_options.by)
        subject = influence_target(influence.on, self.opened.recording.dynamics)
        keep = kept_of(all_options, subject, self.opened.recording.dynamics)
        by = field_of(all_options.purpose, all_options.by, self.opened.recording.dynamics.pool)
        request = InfluenceRequest(
            subject,
            influence.how,
            None,
            self._where[2],
            influence.orders,
            all_options.seed,
            all_options.fdr,
            True,
            keep,
            by,
        )
        made = rank_for_cleaning if all_options.purpose == CLEANING else rank_by
        return made([self.opened], request, progress)

    @takes(SelectOptions, _NOT_OF_SELECTION)
    def select(
        self, size: int, *groups: object, progress: Progress = silent, **options: Any
    ) -> "Selection | Frontier | MixtureSelection":
        """Choose ``size`` training examples with the best predicted effect; writes nothing.

        Args:
            size: how many.
            groups: options in groups, which is ``gptfl.options.influence.SelectionOptions``.
            progress: called along the way.
            options: those of ``gptfl select`` (docs/cli.md) that say what for and how; ``on`` may be a sequence of test
                ids.

        Raises as ``gptfl.select`` does.
        """
        from gptfl.influence.choices import Choice, choose

        made = assemble(SelectOptions, groups, {"size": size, **options}, "select", _NOT_OF_SELECTION)
        return choose(self.opened, Choice.of(made, self.opened), self._where[2], progress)

    @takes(VerifyOptions, _NOT_OF_VERIFICATION)
    def verify(
        self,
        subset: Ids | None = None,
        *groups: object,
        announce: "Announce | None" = None,
        progress: Progress = silent,
        **options: Any,
    ) -> Verification:
        """Predict and then really train; the numbers are written, as ``gptfl.verify`` does.

        Args:
            subset: a file of ids, or the ids; ``drop`` takes the same.
            groups: options in groups, such as ``gptfl.options.simulation.CounterfactualOptions(orders=8)``.
            announce: called with the cost before the training starts.
            progress: called along the way.
            options: those of ``gptfl verify`` (docs/cli.md), but for its files.

        Raises as ``gptfl.verify`` does.
        """
        from gptfl.api.verify import verify_with

        all_options = assemble(VerifyOptions, groups, {"subset": subset, **options}, "verify", _NOT_OF_VERIFICATION)
        check_fits(self.path, self.opened.found, all_options.estimator, all_options.metric)
        found = verify_with(all_options, announce=announce, progress=progress, opened=self.opened)
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


@takes(FitOptions, without=("metrics",))
def fit(
    estimator: str | None = None,
    *groups: object,
    metric: str | None = None,
    progress: Progress = silent,
    **options: Any,
) -> Simulator:
    """Fit an estimator to a recording's runs and write the simulator, which this gives to hold.

    Args:
        estimator: its name, None for the default.
        groups: options in groups.
        metric: its name, None for the recording's only one or the loss.
        progress: called along the way.
        options: those of ``gptfl fit`` (docs/cli.md) by name.

    Raises as ``gptfl.simulation.fit.fit`` does.
    """
    return fitted_simulator(fit_options(estimator, groups, metric, options), progress)


def fitted_simulator(options: FitOptions, progress: Progress) -> Simulator:
    """The simulator that a fit with these options comes to."""
    result = fit_with(options, progress=progress)
    where = options.inputs
    return Simulator(result.path, dynamics=where.dynamics, workspace=where.workspace, fitted=result)


def open_simulator(
    path: str | Path | None = None,
    *,
    dynamics: str | Path | None = None,
    features: str | Path | None = None,
    workspace: str | Path | None = None,
    estimator: str | None = None,
    metric: str | None = None,
) -> Simulator:
    """The simulator at a path, else the one made last that fits.

    Args:
        path: its file.
        dynamics: the recording's file, by default the one that it was fitted to.
        features: the file of those that it was fitted on, by default in the workspace.
        workspace: where to look.
        estimator: that it must be of.
        metric: that it must predict.

    Raises ``DataError`` where there is none, and ``UsageError`` for what is no path.
    """
    recording, vectors, folder = _path(dynamics), _path(features), _path(workspace)
    opened = open_fitted(path, recording, folder, estimator, metric, vectors)
    simulator = Simulator(opened.path, dynamics=recording, features=vectors, workspace=folder)
    simulator.opened = opened
    return simulator


def _path(given: str | Path | None) -> Path | None:
    """A path that may be left out; an empty text is none, as in the environment."""
    return None if given is None or given == "" else user_path(given)
