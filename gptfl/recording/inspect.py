"""Tells what a file of gptfl holds."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.filesize import decimal

from gptfl.core import FIT, TEST, VALIDATION, Dynamics, Example, MetricInfo, Run, tasks_of, user_path, word_of
from gptfl.core.blocked_products import any_finite
from gptfl.core.display import Listed
from gptfl.core.examples import CLEAN
from gptfl.core.excerpts import excerpts
from gptfl.core.texts import counted, json_text, natural, shown_line
from gptfl.designs.draws import NEXT_FROM
from gptfl.errors import DataError
from gptfl.estimators.diverged import diverged
from gptfl.store import kinds
from gptfl.store.features import read_features
from gptfl.store.files import Header, read_header
from gptfl.store.predictions import read_predictions
from gptfl.store.recordings import read_dynamics
from gptfl.store.run_files import read_run, run_files
from gptfl.store.simulators import read_simulator
from gptfl.store.workspace import REFERENCE, reference_folder, runs_folder

Rows = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class ExampleRow:
    """One example to choose from: ``role`` is pool or test, ``label`` its class in words, or empty.

    The id is the example's own, whatever it holds; the other texts are fit for a terminal.
    """

    id: str
    role: str
    label: str
    text: str
    excerpt: str = field(default="", compare=False)
    """What tells it apart, short."""


@dataclass(frozen=True, slots=True)
class Inspection(Listed):
    """What a file says of itself, and rows of label and value that sum up what it holds."""

    path: Path
    header: Header
    rows: Rows
    examples: list[ExampleRow] | None = None


def inspect(path: str | Path, examples: bool = False) -> Inspection:
    """Sum up a file of any kind; ``examples`` lists those of a recording, too.

    Raises ``DataError`` if it is no file of gptfl, is damaged, or holds no examples to list.
    """
    path = user_path(path)
    header = read_header(path)
    if examples and header.kind != kinds.DYNAMICS:
        noun = kinds.KINDS[header.kind].noun
        raise DataError(f"{path} is a {noun} and holds no examples", "leave --examples out, or name the recording")
    listed = None
    if header.kind == kinds.DYNAMICS:
        dynamics = read_dynamics(path)
        rows = [*_of_dynamics(dynamics), *_beside(path)]
        listed = _list_examples(dynamics) if examples else None
    else:
        rows = _SUMMARIES[header.kind](path)
    rows = [*_about(path, header), *rows, *_origin(header)]
    return Inspection(path, header, [(shown_line(label), shown_line(value)) for label, value in rows], listed)


def _about(path: Path, header: Header) -> Rows:
    kind = kinds.KINDS[header.kind]
    return [
        ("file", str(path)),
        ("kind", f"{kind.noun} ({header.kind}, format version {header.format_version})"),
        ("created", header.created),
        ("size", decimal(path.stat().st_size)),
    ]


def _origin(header: Header) -> Rows:
    # What the runs of --next were trained on, they tell themselves.
    kept = ((name, value) for name, value in header.settings.items() if name != "chosen_runs")
    rows = [(f"setting: {name}", _shown(value)) for name, value in kept]
    rows += [(f"input: {name}", value) for name, value in header.inputs.items()]
    return [*rows, ("made with", ", ".join(f"{name} {version}" for name, version in header.versions.items()))]


def _of_dynamics(dynamics: Dynamics) -> Rows:
    runs = dynamics.runs
    roles = ", ".join(f"{len(dynamics.with_role(role))} {role}" for role in (FIT, VALIDATION, TEST))
    known = any(example.text for example in (*dynamics.pool, *dynamics.test))
    rows = [
        ("pool", counted(len(dynamics.pool), "example")),
        ("test", counted(len(dynamics.test), "example")),
        ("texts", "kept" if known else "not kept"),
        *_mixed_or_flipped(dynamics),
        ("runs", f"{len(runs)} ({roles})"),
    ]
    if runs:
        rows += [
            ("steps", _span(run.curriculum.steps for run in runs)),
            ("batch size", _span(run.curriculum.batches.shape[1] for run in runs)),
            ("different examples in a run", _span(_distinct(run) for run in runs)),
            ("recorded", _recorded(runs)),
        ]
    chosen = sum(run.index >= NEXT_FROM for run in runs)
    if dynamics.settings.chosen_runs:
        rows.append(
            ("chosen by --next", f"{chosen} of the runs to fit, of {len(dynamics.settings.chosen_runs)} chosen")
        )
    if dynamics.settings.lacks_rates:
        rows.append(("learning rates", "not known: every step counts alike"))
    rows += [(f"metric: {metric.name}", _course(metric, runs)) for metric in dynamics.metrics.values()]
    rows += [("diverged", one.text) for one in diverged(runs, dynamics.metrics)]
    return [*rows, *_gradients(dynamics), ("fingerprint", dynamics.fingerprint)]


def _beside(path: Path) -> Rows:
    count, folder, rows = len(run_files(path)), reference_folder(path), list[tuple[str, str]]()
    if count:
        text = "1 of the runs lies" if count == 1 else f"{count} of the runs lie"
        rows.append(("beside the file", f"{text} in {runs_folder(path).name} until gptfl collect merges them"))
    if (folder / REFERENCE).is_file():
        rows.append(("kept reference", f"in {folder.name}, for gradients of new rows (gptfl featurize --new)"))
    return rows


def _of_run(path: Path) -> Rows:
    run, _ = read_run(path)
    at = f"run {run.index} ({run.role})"
    ends = [
        (f"metric: {name}", f"mean {start:.4g} → {end:.4g}")
        for name, values in sorted(run.metrics.items())
        for start, end in ([_finite_mean(values[[0, -1]])] if len(run.steps) else [])
    ]
    rows = [("run", at), ("steps", str(run.curriculum.steps))]
    return [*rows, *([("recorded", _recorded([run]))] if len(run.steps) else []), *ends]


def _gradients(dynamics: Dynamics) -> Rows:
    rows = []
    names = sorted({name for run in dynamics.runs for name in run.derivatives})
    if names:
        held = sum(bool(run.derivatives) for run in dynamics.runs)
        rows.append(("derivatives", f"along {', '.join(names)}, in {held} of {len(dynamics.runs)} runs"))
    found = dynamics.gradients
    if found is not None:
        _, pool, test = found.raw.shape
        steps = ", ".join(map(str, found.steps.tolist()))
        divided = "raw and preconditioned" if any_finite(found.preconditioned) else "raw"
        rows.append(("gradients", f"{pool} x {test} products at steps {steps} of a reference run, {divided}"))
    sketches = dynamics.sketches
    if sketches is not None:
        steps = ", ".join(map(str, sketches.steps.tolist()))
        of = f"weights like {sketches.modules}" if sketches.modules else "all trained weights"
        rows.append(("sketches", f"{sketches.dimensions} dimensions at steps {steps} of a reference run, of {of}"))
    return rows


def _mixed_or_flipped(dynamics: Dynamics) -> Rows:
    pools, tests = (Counter(tasks_of(side)) for side in (dynamics.pool, dynamics.test))
    rows = [(f"task: {task}", f"{pools[task]} pool + {tests[task]} test examples") for task in pools | tests]
    flipped = sum(example.is_flipped for example in dynamics.pool)
    if flipped:
        share = f"{flipped} of {len(dynamics.pool)} pool examples ({flipped / len(dynamics.pool):.0%})"
        rows.append(("flipped labels", f"{share}; --examples shows which"))
    return rows


def _distinct(run: Run) -> int:
    return int(np.setdiff1d(run.curriculum.batches, [-1]).size)


def _recorded(runs: Iterable[Run]) -> str:
    schedules = {tuple(run.steps.tolist()) for run in runs}
    if len(schedules) > 1:
        return f"at {_span(len(steps) for steps in schedules)} steps, not the same in every run"
    steps = [str(step) for step in next(iter(schedules))]
    shown = steps if len(steps) <= 6 else [*steps[:3], "...", *steps[-2:]]
    return f"at {len(steps)} steps: {', '.join(shown)}"


def _course(metric: MetricInfo, runs: Sequence[Run]) -> str:
    better = f"{'higher' if metric.higher_is_better else 'lower'} is better"
    ends = [_finite_mean(run.metrics[metric.name][[0, -1]]) for run in runs if len(run.steps)]
    if not ends:
        return f"nothing recorded yet ({better})"
    start, end = _finite_mean(np.array(ends).T, axis=1)
    counts = _span(int(np.isfinite(run.metrics[metric.name]).any(axis=1).sum()) for run in runs if len(run.steps))
    seldom = any(not np.isfinite(run.metrics[metric.name]).any(axis=1).all() for run in runs)
    return f"mean {start:.4g} → {end:.4g}{f' at {counts} of these steps' if seldom else ''} ({better})"


def _finite_mean(values: np.ndarray, axis: int = 1) -> np.ndarray:
    """Mean over one axis of what was recorded; NaN where nothing was."""
    known = np.isfinite(values)
    count = known.sum(axis)
    total = np.where(known, values, 0).sum(axis, dtype=np.float64)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _of_features(path: Path) -> Rows:
    features = read_features(path)
    rows = [("encoder", features.encoder)]
    for name in sorted(features.sets, key=natural):
        one = features.sets[name]
        shape = f"{len(one.train)} pool + {len(one.test)} test examples x {one.train.shape[1]}"
        rows.append((f"set: {name}", f"{shape}, {one.kind}, {one.train.dtype}"))
    return [*rows, ("fingerprint", features.fingerprint)]


def _of_simulator(path: Path) -> Rows:
    simulator = read_simulator(path)
    count = sum(array.size for array in simulator.state.values())
    state = ", ".join(f"{name} {'x'.join(map(str, array.shape))}".strip() for name, array in simulator.state.items())
    return [
        ("estimator", simulator.estimator),
        ("metric", simulator.metric.name),
        ("state", f"{count:,} numbers{f' in {state}' if state else ''}"),
        ("key", simulator.key),
        *((f"info: {name}", _shown(value)) for name, value in simulator.info.items()),
    ]


def _of_predictions(path: Path) -> Rows:
    predictions = read_predictions(path)
    runs, recorded, test = predictions.values.shape
    levels = ", ".join(f"{level:g}" for level in predictions.intervals)
    rows = [
        ("estimator", predictions.estimator),
        ("metric", predictions.metric.name),
        ("trajectories", f"{runs} curricula x {recorded} steps x {test} test examples"),
        ("intervals", f"at {levels}" if levels else "none"),
    ]
    if recorded and test:
        finals = _finite_mean(predictions.values[:, -1])
        rows += [
            (f"final {predictions.metric.name}: {label}", f"mean {final:.4g}")
            for label, final in zip(predictions.labels, finals, strict=True)
        ]
        # What is held against may end earlier: it is compared at the last step at which it is known.
        known = np.flatnonzero(np.isfinite(predictions.reference).any(axis=1))
        last = int(known[-1]) if len(known) else recorded - 1
        at = "" if last == recorded - 1 else f", at step {predictions.steps[last]}"
        rows.append((f"final of {predictions.against}", f"mean {_finite_mean(predictions.reference)[last]:.4g}{at}"))
    return rows


_SUMMARIES: Mapping[str, Callable[[Path], Rows]] = {
    kinds.FEATURES: _of_features,
    kinds.SIMULATOR: _of_simulator,
    kinds.PREDICTIONS: _of_predictions,
    kinds.RUN: _of_run,
}


def _list_examples(dynamics: Dynamics) -> list[ExampleRow]:
    parts = (("pool", dynamics.pool), ("test", dynamics.test))
    pieces = iter(excerpts([*dynamics.pool, *dynamics.test]))
    return [
        ExampleRow(one.id, role, shown_line(_label(one)), shown_line(one.text), next(pieces))
        for role, part in parts
        for one in part
    ]


def _label(example: Example) -> str:
    if example.label is None:
        return ""
    clean = example.fields.get(CLEAN)
    if example.is_flipped and isinstance(clean, int):
        return f"{word_of(example).strip()} (flipped from {word_of(replace(example, label=clean)).strip()})"
    return word_of(example).strip()


def _span(values: Iterable[int]) -> str:
    known = sorted(set(values))
    return str(known[0]) if len(known) == 1 else f"{known[0]} to {known[-1]}"


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json_text(value)
