"""Turns what others recorded into a recording of gptfl's own."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import (
    Dynamics,
    MetricInfo,
    Progress,
    RecordingSettings,
    Run,
    SketchPoint,
    real_path,
    silent,
    user_path,
)
from gptfl.core.display import Listed
from gptfl.core.recording_settings import IMPORTED, UNKNOWN_RATE
from gptfl.core.schedules import SCHEDULES, check_schedule
from gptfl.core.texts import counted, natural
from gptfl.errors import DataError, GptflError, UsageError
from gptfl.interchange.assemble import (
    Assembly,
    ImportCounts,
    assemble,
    listed,
    only_scored,
    with_classes,
    with_rates,
)
from gptfl.interchange.gptdynamics import SCORES, Duplicates, RunFiles, find_runs
from gptfl.interchange.sketch_archive import ENCODER, features_of, read_sketches
from gptfl.interchange.sketch_products import products_of, too_large
from gptfl.interchange.texts import TEST_TEXTS, TRAIN_TEXTS, read_texts
from gptfl.metrics import Accuracy, Bleu, Loss, RougeL
from gptfl.options.base import make
from gptfl.options.interchange import ImportOptions
from gptfl.options.signature import takes
from gptfl.plugins.guards import make_metric
from gptfl.plugins.registry import Registry, get_registry
from gptfl.store.features import write_features
from gptfl.store.recordings import check_nothing_beside, recorded_settings, write_dynamics
from gptfl.store.workspace import Workspace, safe_name

LAYOUTS = ("gptdynamics",)
DEFAULT_SCHEDULE = "linear"
OWN: Mapping[str, MetricInfo] = {metric.info.name: metric.info for metric in (Loss, Accuracy, Bleu, RougeL)}
"""Metrics that are known without making their part, which may need what isn't installed."""


@dataclass(frozen=True, slots=True)
class ImportResult(Listed):
    """Where the recording lies and what was found.

    ``metrics`` counts what there is of each; ``batches`` what repeats among the batches. ``features`` is the file
    of the gradient sketches, where some were given, and ``sets`` its sets of vectors. ``notes`` tell what was chosen, left out or is unusual.
    """

    path: Path
    runs: int
    steps: tuple[int, int]
    first_step: int
    pool: int
    test: int
    metrics: Mapping[str, ImportCounts]
    batches: Duplicates = field(default_factory=Duplicates)
    features: Path | None = None
    sets: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@takes(ImportOptions)
def import_(layout: str, folder: str | Path, *, progress: Progress = silent, **options: Any) -> ImportResult:
    """Read a recording in the layout of the released GPTDynamics files and write it: where it lies and what was found.

    Args:
        layout: ``gptdynamics``.
        folder: holds a folder for each run.
        progress: called along the way.
        options: those of ``gptfl import`` (docs/cli.md) by name. Without ``lr`` and ``schedule``, which the layout lacks,
            every step counts alike. ``sketches`` become the features ``gradients`` and the recording's gradient products.

    Raises ``TypeError`` for a name that is no option, ``UsageError`` for options that make no sense, ``PluginError`` for
    an unknown metric, ``ResourceError`` where the workspace can't be written, and ``DataError``, naming file and line,
    for what can't be read, doesn't fit together, or would take the place of a recording that ``gptfl collect`` made.
    """
    return import_with(make(ImportOptions, layout=layout, folder=folder, **options), progress=progress)


def import_with(options: ImportOptions, *, progress: Progress = silent) -> ImportResult:
    """``import_`` with all options in one object."""
    layout, lr, schedule, sketches = options.layout, options.lr, options.schedule, options.sketches
    _check_options(layout, lr, schedule, options.name)
    warmup = int(options.warmup) if options.warmup >= 1 else options.warmup
    if warmup and lr is None:
        raise UsageError(f"--warmup {warmup:g} alone tells no learning rates", "give --lr, too")
    folder = user_path(options.folder)
    registry = get_registry()
    infos = {metric: _info(metric, registry) for metric in options.metrics}
    found, without = find_runs(folder)
    trained = read_texts(_texts(folder, options.train_texts, TRAIN_TEXTS, "--train-texts"))
    tested = read_texts(_texts(folder, options.test_texts, TEST_TEXTS, "--test-texts"))
    pool, everyone = trained.examples, tested.examples
    space = Workspace.resolve(options.workspace)
    stem = options.name or safe_name(real_path(folder).name)
    path = space.dynamics_path(stem)
    _check_place(path)
    points = [] if sketches is None else read_sketches(user_path(sketches), len(pool), len(everyone))
    unknown = _choose_metrics(found, infos, folder, registry)
    made = assemble(found, tuple(infos), pool, everyone, progress)
    if not made.runs:
        raise DataError(f"no run in {folder} has a score", f"it belongs into {SCORES.format('loss')} of each run")
    test, kept = only_scored(made, everyone)
    classes = ""
    if not trained.has_classes and not tested.has_classes:
        pool, test, classes = with_classes(pool, test)
    runs, rates = _rated(made, lr, schedule, warmup)
    settings = RecordingSettings.of(
        {
            **_settings(layout, folder, made, runs, len(pool), len(test)),
            **rates,
            **({} if sketches is None else {"sketches": Path(sketches).name}),
        }
    )
    without_products = too_large(len(points), runs, pool, test) if points else None
    has_products = points and without_products is None
    gradients = products_of(points, kept, _reference_rates(points, runs, settings)) if has_products else None
    dynamics = Dynamics(pool, test, infos, tuple(runs), settings, gradients)
    features = features_of(points, kept, dynamics, Path(sketches or "").name) if points else None
    features_path = space.features_path(stem, ENCODER)
    with space.lock("gptfl import"):
        write_dynamics(path, dynamics)
        if features is not None:
            write_features(features_path, features)
    notes = (
        *([f"left out, for having no batches: {listed(without)}"] if without else []),
        *([f"left out, for being no metric that gptfl knows: {listed(unknown)}"] if unknown else []),
        *made.notes,
        *filter(None, [classes, without_products]),
        *_about(dynamics),
    )
    result = _counted(path, dynamics, made, notes)
    if features is None:
        return result
    return replace(result, features=features_path, sets=tuple(sorted(features.sets, key=natural)))


def _counted(path: Path, dynamics: Dynamics, made: Assembly, notes: tuple[str, ...]) -> ImportResult:
    """What was found and written to a path."""
    lengths = [run.curriculum.steps for run in dynamics.runs]
    return ImportResult(
        path=path,
        runs=len(dynamics.runs),
        steps=(min(lengths), max(lengths)),
        first_step=min(int(run.steps[0]) for run in dynamics.runs),
        pool=len(dynamics.pool),
        test=len(dynamics.test),
        metrics=made.counts,
        batches=made.batches,
        notes=notes,
    )


def _check_options(layout: str, lr: float | None, schedule: str | None, name: str | None) -> None:
    if layout not in LAYOUTS:
        raise UsageError(f"{layout!r} is no layout that gptfl imports", f"use {', '.join(LAYOUTS)}")
    if schedule is not None:
        check_schedule(schedule)
    if schedule is not None and lr is None:
        raise UsageError(f"--schedule {schedule} alone tells no learning rates", "give --lr, too")
    if lr is not None and not 0 < lr < math.inf:
        raise UsageError(f"is {lr}", "give a positive number", option="lr")
    if name is not None and name != safe_name(name):
        raise UsageError(
            f"--name {name!r} can't begin the names of files",
            f"take at most 80 letters, digits, dots, underscores and hyphens, such as {safe_name(name)!r}",
        )


def _info(metric: str, registry: Registry) -> MetricInfo:
    """What must be known of a metric. Raises ``PluginError`` for an unknown one."""
    return OWN[metric] if metric in OWN else make_metric(registry, metric).info


def _texts(folder: Path, given: str | Path | None, usual: str, flag: str) -> Path:
    if given is not None:
        return user_path(given)
    path = folder / usual
    if not path.is_file():
        raise DataError(f"{folder} holds no {usual}", f"name the file of texts with {flag}")
    return path


def _check_place(path: Path) -> None:
    """Raise ``DataError`` where another recording, or its runs, would be overwritten than one that was imported."""
    if not path.exists():
        check_nothing_beside(path)
    elif not recorded_settings(path).imported:
        raise DataError(f"{path} was not imported, and is not overwritten", "import under another --name")


def _choose_metrics(
    found: Sequence[RunFiles], infos: dict[str, MetricInfo], folder: Path, registry: Registry
) -> list[str]:
    """Fill ``infos`` with all metrics that have a file, if it is empty; those that are unknown come back."""
    there = sorted({metric for files in found for metric in files.scores})
    for metric in infos:
        if metric not in there:
            has = f"there are {', '.join(there)}" if there else "there are none of any"
            raise DataError(f"no run in {folder} has {SCORES.format(metric)}", f"{has}; leave out --metric {metric}")
    if infos:
        return []
    unknown = []
    # The loss first, as in recordings of gptfl's own.
    for metric in sorted(there, key=lambda one: (one != "loss", one)):
        try:
            infos[metric] = _info(metric, registry)
        except GptflError:
            unknown.append(SCORES.format(metric))
    if not infos:
        raise DataError(
            f"no run in {folder} has scores of a metric that gptfl knows", f"expected {SCORES.format('loss')} in each"
        )
    return unknown


def _rated(made: Assembly, lr: float | None, schedule: str | None, warmup: float) -> tuple[list[Run], dict[str, Any]]:
    """The runs with their learning rates, and the settings that tell them."""
    if lr is not None:
        schedule = schedule or DEFAULT_SCHEDULE
        lengths = {run.curriculum.steps for run in made.runs}
        return with_rates(made, {steps: SCHEDULES[schedule](lr, steps, warmup) for steps in lengths}), {
            "learning_rate": lr,
            "schedule": schedule,
            **({"warmup": warmup} if warmup else {}),
        }
    if not made.rates_known:
        made.notes.append(
            ("some batches say their learning_rate and others don't, so that " if made.rates_given else "")
            + "the learning rates are not known (--lr, --schedule): every step counts alike, as if it were the same in all"
        )
        return with_rates(made, None), {}
    peak = max(float(run.curriculum.learning_rates.max()) for run in made.runs)
    known: dict[str, Any] = {"learning_rate": peak}
    for kind in ("linear", "constant"):
        rates = SCHEDULES[kind]
        if all(np.allclose(run.curriculum.learning_rates, rates(peak, run.curriculum.steps)) for run in made.runs):
            known["schedule"] = kind
    return made.runs, known


def _reference_rates(
    points: Sequence[SketchPoint], runs: Sequence[Run], settings: RecordingSettings
) -> Float[np.ndarray, " step"]:
    """The step sizes of the run whose gradients were sketched, taken to follow the recording's recipe."""
    longest = max(runs, key=lambda run: run.curriculum.steps).curriculum.learning_rates
    last = points[-1].step
    if last <= len(longest):
        return longest
    if settings.schedule and settings.learning_rate is not None:
        return SCHEDULES[settings.schedule](settings.learning_rate, last, settings.warmup or 0)
    return np.append(longest, np.full(last - len(longest), longest[-1] if len(longest) else UNKNOWN_RATE))


def _settings(layout: str, folder: Path, made: Assembly, runs: Sequence[Run], pool: int, test: int) -> dict[str, Any]:
    sizes: Int[np.ndarray, " batch"] = np.concatenate([(run.curriculum.batches >= 0).sum(axis=1) for run in runs])
    lengths = [run.curriculum.steps for run in runs]
    return {
        "task": IMPORTED,
        "layout": layout,
        "source": real_path(folder).name,
        "pool": pool,
        "test": test,
        "batch_size": max(1, int(np.bincount(sizes[sizes > 0]).argmax())) if sizes.any() else 1,
        "steps": max(set(lengths), key=lengths.count),
        "metrics": list(made.counts),
        "texts": True,
        "run_names": made.names,
    }


def _about(dynamics: Dynamics) -> list[str]:
    """What is worth knowing of a recording before it is used."""
    notes = []
    used = np.unique(np.concatenate([run.curriculum.batches.ravel() for run in dynamics.runs]))
    idle = len(dynamics.pool) - int((used >= 0).sum())
    if idle:
        notes.append(f"in no batch of any run: {idle} of {counted(len(dynamics.pool), 'training example')}")
    for name, info in dynamics.metrics.items():
        values = np.concatenate([run.metrics[name].ravel() for run in dynamics.runs])
        outside = int(((values < info.low) | (values > info.high)).sum())
        if outside:
            notes.append(f"outside the range of {name}, {info.low:g} to {info.high:g}: {counted(outside, 'score')}")
    if dynamics.gradients is not None:
        what = "" if not dynamics.settings.lacks_rates else " (and its step sizes are not known)"
        notes.append(
            "the gradient products are those of sketches, hence approximate, along a reference run that is taken "
            f"to follow the runs' recipe{what}"
        )
    return notes
