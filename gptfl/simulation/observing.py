"""Reads what was recorded of a run so far, so that its prediction goes on from there."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from gptfl.core import user_path
from gptfl.errors import DataError, GptflError, UsageError
from gptfl.plugins.registry import Registry
from gptfl.simulation.counterfactual import SimulationRequest
from gptfl.simulation.simulator import FittedSimulator
from gptfl.store.id_files import ExampleIndex
from gptfl.store.jsonlines import MAX_FILE, MAX_LINE, Limits, read_json_lines

LINE = '{"step": 4, "id": "a test example", "value": 1.25}'
LARGEST = 1e300
"""No score is larger; a whole number may be more than a float can hold."""
SHOWN_STEPS = 12
"""A message lists at most so many steps."""


def check_observing(source: FittedSimulator, path: str | Path) -> None:
    """Raise ``DataError`` where the estimator doesn't go on from observed scores."""
    if source.named.estimator.tags.conditions:
        return
    able = _able(source.recording.registry)
    better = f", or choose one that does with --estimator ({', '.join(able)})" if able else ""
    raise DataError(
        f"--observe {path}: {source.found.estimator} doesn't go on from what was recorded of a run",
        f"leave it out{better}",
    )


def with_observed(source: FittedSimulator, request: SimulationRequest, path: str | Path) -> SimulationRequest:
    """The same question about a run that was begun: ``path`` holds its scores so far.

    A line is an object with ``step``, ``id`` (of a test example) and ``value``. Scores at the first step take the place
    of the recording's. Raises ``UsageError`` where the question isn't about one curriculum, and ``DataError``, with
    file and line, for what is no score, is there twice, is of an unknown test example or at a step that isn't
    predicted at.
    """
    if len(request.labels) != 1:
        raise UsageError(
            f"--observe {path} is of one run, and {request.what} are {len(request.labels)} curricula",
            "name what it trains on with --curriculum, or with --subset or --drop and one order",
        )
    query = request.query
    places = {int(step): place for place, step in enumerate(query.steps)}
    tests = ExampleIndex(source.scope.test, "test set", others=("a training example", source.scope.pool))
    found = np.full((len(query.steps), len(source.scope.test)), np.nan)
    path = user_path(path)
    limits = Limits(MAX_LINE, MAX_FILE, 10_000 + 2 * found.size)
    for line in read_json_lines(path, LINE, limits):
        step, value = line.values.get("step"), line.values.get("value")
        if type(step) is not int:
            raise line.wrong(f'"step" is {line.what("step")}, no whole number', f"expected {LINE}")
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST:
            raise line.wrong(f'"value" is {line.what("value")}, no number', f"expected {LINE}")
        name = line.values.get("id")
        # What the recording holds is taken as it is: older ones have ids that no longer come in.
        if not isinstance(name, str) or name not in tests.places:
            name = line.id(name, LINE)
        test = tests.place(name, line.place)
        if step not in places:
            raise line.wrong(f"step {step} is not predicted at", f"give scores at steps {_listed(list(places))}")
        if not math.isnan(found[places[step], test]):
            raise line.wrong(f"{line.values['id']!r} at step {step} was there before", "give each score once")
        found[places[step], test] = float(value)
    known = np.isfinite(found)
    if not known[1:].any():
        raise DataError(f"{path} holds no score after step {int(query.steps[0])}", f"write one a line: {LINE}")
    first = np.where(known[0], found[0], query.first[0])[None]
    found[0] = np.nan
    last = int(query.steps[np.flatnonzero(known.any(axis=1))[-1]])
    examples = int(known.any(axis=0).sum())
    note = f"goes on from {int(known.sum())} recorded scores of {examples} test examples up to step {last}"
    return replace(request, query=replace(query, first=first, observed=found[None]), notes=(*request.notes, note))


def _listed(steps: list[int]) -> str:
    shown = ", ".join(map(str, steps[:SHOWN_STEPS]))
    return f"{shown}, ... {steps[-1]}" if len(steps) > SHOWN_STEPS else shown


def _able(registry: Registry) -> list[str]:
    able = []
    for name in registry.names("estimator"):
        try:
            if registry.make("estimator", name).tags.conditions:
                able.append(name)
        except GptflError:  # one that can't be made can't be recommended either
            continue
    return able
