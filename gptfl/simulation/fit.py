"""Learns a simulator from a recording."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gptfl.core import Progress, silent, user_path
from gptfl.core.curriculum import check_seed
from gptfl.core.splits import check_fit_runs, stored_split
from gptfl.features.lookup import FeatureLookup
from gptfl.plugins.registry import get_registry
from gptfl.recording.recording import choose_metric, focused, open_recording
from gptfl.simulation.fitting import fit_data, fit_fresh, simulator_file, simulator_key
from gptfl.simulation.reference import trust_to_keep
from gptfl.simulation.requirements import NamedEstimator, default_estimator, refusal, unmet_need
from gptfl.simulation.simulator import in_memory
from gptfl.simulation.unseen import hold_out_examples, holdout_notes
from gptfl.simulation.withholding import left_note, without
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


def fit(
    estimator: str | None = None,
    *,
    dynamics: str | Path | None = None,
    features: str | Path | None = None,
    workspace: str | Path | None = None,
    encoder: str | None = None,
    metric: str | None = None,
    settings: Mapping[str, Any] | None = None,
    every: int = 1,
    keep_diverged: bool = False,
    unseen: str | None = None,
    unseen_share: float | None = None,
    seed: int = 42,
    output: str | Path | None = None,
    progress: Progress = silent,
) -> FitResult:
    """Fit an estimator to a recording's runs and write the simulator.

    Without ``estimator`` it is exposure-gp where features of the encoder gradients are named or there, else gptfluence.
    ``dynamics`` and ``features`` are paths, by default those made last in the workspace, of features those of the
    encoder that the estimator prefers where there are such; ``metric`` is by default the only one recorded, else the
    loss; ``settings`` are the estimator's own.
    Test runs are not fitted to; the skill on them is kept with the simulator. With ``every`` only every so many-th recorded score is learned from, and the
    simulator then predicts at those steps. Runs that diverged are left out, and named, unless ``keep_diverged``.
    ``unseen`` (train, test or both) sets ``unseen_share`` of these examples
    aside, chosen by ``seed``: nothing is learned from them, and ``simulate`` tells them apart.

    Raises ``PluginError`` for an unknown estimator or setting, ``UsageError`` for a value that makes
    no sense, and ``DataError``, before any work, where the estimator needs what isn't there
    (features, classes) or can't answer about what was set aside, there are too few runs, or
    ``output`` would overwrite what is no simulator.
    """
    if output is not None:
        check_target(user_path(output), SIMULATOR)
    check_seed(seed)
    recording = open_recording(dynamics, workspace, every, keep_diverged)
    which: tuple[str, ...] = ()
    if estimator is None:
        estimator, which = default_estimator(FeatureLookup(recording, features, encoder))
    part = get_registry().find("estimator", estimator)
    contender = NamedEstimator(part, get_registry().make("estimator", estimator, **(settings or {})))
    recording = replace(recording, aside=hold_out_examples(recording.dynamics, unseen, unseen_share, seed))
    chosen, metric_notes = choose_metric(recording.dynamics, metric)
    recording = focused(recording, chosen)
    provision = FeatureLookup(recording, features, encoder).provide(contender.estimator)
    found = provision.features
    sides = () if recording.aside is None else recording.aside.sides
    problem = unmet_need(contender.estimator, recording, found, chosen) or refusal(contender.estimator, sides)
    if problem is not None:
        raise problem
    split = stored_split(recording.dynamics.runs)
    check_fit_runs(split)
    whole = fit_data(recording, split, chosen, found, seed, progress, contender.estimator)
    data = without(whole, recording.aside, contender.estimator)
    path = (
        recording.workspace.simulator_path(
            recording.stem, estimator, chosen.name, simulator_key(contender, recording, data)
        )
        if output is None
        else user_path(output)
    )
    check_writable(path)
    fitted = fit_fresh(contender, recording, data)
    whole_file = simulator_file(fitted, recording, data)
    source = in_memory(recording, path, whole_file, fitted.contender, found)
    write_simulator(path, replace(whole_file, info={**whole_file.info, **trust_to_keep(source)}))
    return FitResult(
        path=path,
        estimator=estimator,
        metric=chosen.name,
        fit_runs=len(split.fit),
        validation_runs=len(split.validation),
        seconds=fitted.seconds,
        key=fitted.key,
        settings=dict(fitted.contender.estimator.settings()),
        encoder=None if found is None else found.encoder,
        notes=(
            *which,
            *recording.notes,
            *metric_notes,
            *provision.notes,
            *holdout_notes(recording.dynamics, recording.aside, found),
            *left_note(whole, data),
            *fitted.notes,
        ),
    )
