"""Learns a simulator from a recording."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gptfl.core import Progress, silent, user_path
from gptfl.core.splits import FEWEST_FIT_RUNS, check_fit_runs, stored_split
from gptfl.errors import UsageError
from gptfl.features.lookup import FeatureLookup
from gptfl.features.whole import in_memory as whole_features
from gptfl.options.base import assemble, shell_names
from gptfl.options.signature import takes
from gptfl.options.simulation import FitOptions
from gptfl.plugins.settings import read_settings
from gptfl.recording.recording import choose_metric, focused, open_recording
from gptfl.simulation.fitting import fit_data, fit_fresh, simulator_file, simulator_key
from gptfl.simulation.holdout import left_note, without_held_out
from gptfl.simulation.reference import trust_to_keep
from gptfl.simulation.requirements import NamedEstimator, by_default, default_estimator, refusal, unmet_need
from gptfl.simulation.simulator import in_memory
from gptfl.simulation.unseen import hold_out_examples, holdout_notes
from gptfl.store.kinds import SIMULATOR
from gptfl.store.outputs import check_target, check_writable
from gptfl.store.simulators import write_simulator


@dataclass(frozen=True, slots=True)
class FitResult:
    """Where the simulator lies and what it was fitted to; ``notes`` tells what was chosen on the way."""

    path: Path
    estimator: str
    metric: str
    fit_runs: int
    validation_runs: int
    seconds: float
    key: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    encoder: str | None = None
    notes: tuple[str, ...] = ()


@takes(FitOptions, without=("metrics",))
def fit(
    estimator: str | None = None,
    *groups: object,
    metric: str | None = None,
    progress: Progress = silent,
    **options: Any,
) -> FitResult:
    """Fit an estimator to a recording's runs and write the simulator: where it lies and what it was fitted to.

    Args:
        estimator: its name; exposure-gp where features of the encoder gradients are named or there, else gptfluence.
        groups: options in groups, such as ``gptfl.options.simulation.LearningOptions(every=2)``.
        metric: the only one recorded, else the loss.
        progress: called along the way.
        options: those of ``gptfl fit`` (docs/cli.md) by name; ``settings`` may be a mapping of names to values.

    Raises ``TypeError`` for a name that is no option, ``PluginError`` for an unknown estimator or setting,
    ``UsageError`` for a value that makes no sense, and ``DataError``, before any work, where the estimator needs what
    isn't there (features, classes) or can't answer about what was set aside, there are too few runs, or ``output``
    would overwrite what is no simulator.
    """
    return fit_with(fit_options(estimator, groups, metric, options), progress=progress)


def fit_options(
    estimator: str | None,
    groups: Sequence[object],
    metric: str | None,
    given: Mapping[str, Any],
    without: Collection[str] = (),
) -> FitOptions:
    """The options of ``fit``, which is of one metric.

    Args:
        estimator: its name, None for the default.
        groups: options in groups.
        metric: its name, None for the recording's only one or the loss.
        given: further options by name.
        without: names that the caller takes itself, and that are no options of it.

    Raises ``TypeError`` for a name that is no option or for both ``metric`` and ``metrics``, ``UsageError`` for a value
    that makes no sense.
    """
    if metric is not None and "metrics" in given:
        raise TypeError("fit has metric and metrics: give one of them")
    named = {"estimator": estimator, "metrics": metric, **given}
    return assemble(FitOptions, groups, named, without={*shell_names(FitOptions), *without})


def fit_with(options: FitOptions, *, progress: Progress = silent) -> FitResult:
    """``fit`` with all options in one object."""
    if len(options.metrics) > 1:
        raise UsageError(f"a simulator is of one metric, and {len(options.metrics)} are named", "fit one at a time")
    estimator, seed, inputs = options.estimator, options.seed, options.inputs
    output, learning, encoder = options.output, options.learning, options.encoder
    settings = read_settings(options.settings)
    if output is not None:
        check_target(user_path(output), SIMULATOR)
    recording = open_recording(inputs.dynamics, inputs.workspace, learning.every, learning.keep_diverged)
    which: tuple[str, ...] = ()
    if estimator is None:
        metric, _ = choose_metric(recording.dynamics, next(iter(options.metrics), None))
        lookup = FeatureLookup(recording, inputs.features, encoder)
        estimator, which = default_estimator(lookup, metric, learning.unseen)
    registry = recording.registry
    named = NamedEstimator(registry.find("estimator", estimator), registry.make("estimator", estimator, **settings))
    held_out = hold_out_examples(recording.dynamics, learning.unseen, learning.unseen_share, seed)
    recording = replace(recording, held_out=held_out)
    chosen, metric_notes = choose_metric(recording.dynamics, next(iter(options.metrics), None))
    recording = focused(recording, chosen)
    feature_choice = FeatureLookup(recording, inputs.features, encoder).provide(named.estimator)
    found = feature_choice.features
    if options.embed_features and found is not None:
        found, _ = whole_features(found, "--embed-features")
    sides = () if held_out is None else held_out.sides
    problem = unmet_need(named.estimator, recording, found, chosen) or refusal(named.estimator, sides)
    if problem is not None:
        raise problem if options.estimator is not None else by_default(problem, estimator)
    split = stored_split(recording.dynamics.runs)
    check_fit_runs(split, 1 if named.estimator.tags.one_run else FEWEST_FIT_RUNS)
    whole = fit_data(recording, split, chosen, found, seed, progress, named.estimator)
    data = without_held_out(whole, recording.held_out, named.estimator)
    key = simulator_key(named, recording, data)
    usual = recording.workspace.simulator_path(recording.stem, estimator, chosen.name, key)
    path = usual if output is None else user_path(output)
    check_writable(path)
    fitted = fit_fresh(named, recording, data)
    whole_file = simulator_file(fitted, recording, data)
    source = in_memory(recording, path, whole_file, fitted.named, found)
    write_simulator(path, replace(whole_file, info={**whole_file.info, **trust_to_keep(source)}))
    return FitResult(
        path=path,
        estimator=estimator,
        metric=chosen.name,
        fit_runs=len(split.fit),
        validation_runs=len(split.validation),
        seconds=fitted.seconds,
        key=fitted.key,
        settings=dict(fitted.named.estimator.settings()),
        encoder=None if found is None else found.encoder,
        notes=(
            *which,
            *recording.notes,
            *metric_notes,
            *feature_choice.notes,
            *holdout_notes(recording, found),
            *left_note(whole, data),
            *fitted.notes,
        ),
    )
