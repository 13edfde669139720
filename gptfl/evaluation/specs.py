"""Which estimators a comparison holds against each other, and with which settings."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gptfl.core import MetricInfo
from gptfl.errors import GptflError, ResourceError, UsageError
from gptfl.features.lookup import FeatureChoice, FeatureLookup
from gptfl.plugins.interfaces import LOSS, Estimator
from gptfl.plugins.registry import Registry
from gptfl.plugins.settings import parse_value
from gptfl.simulation.requirements import refusal, unmet_need

ALWAYS = ("persistence", "mean-run", "class-share")
"""The estimators that no table goes without, where the recording has what they need."""
CALIBRATE = "calibrate"
"""The setting that ``--calibrate`` turns on wherever there is one."""
_NEXT = re.compile(r",(?=\s*[A-Za-z_][\w-]*=)")
"""A comma that begins another setting; others belong to a value, such as a list."""


@dataclass(frozen=True, slots=True)
class ComparedEstimator:
    """One row to be: the estimator's registered name, the settings given, and a label that no other row has.

    ``feature_choice`` are the features that it works from.
    """

    label: str
    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    feature_choice: FeatureChoice = field(default=FeatureChoice(), compare=False, repr=False)


class EstimatorSpec(NamedTuple):
    """An estimator as the user named it: its settings, and the encoder whose features it is to work from."""

    name: str
    settings: dict[str, Any]
    encoder: str | None = None


def parse_spec(spec: str, option: str = "--estimator") -> EstimatorSpec:
    """Read ``NAME``, ``NAME@ENCODER`` and either with ``:SETTING=VALUE,SETTING=VALUE``; values are as in ``--set``.

    Raises ``UsageError``, naming the ``option``, for anything else.
    """
    named, colon, rest = spec.partition(":")
    name, at, encoder = named.partition("@")
    example = "write NAME:SETTING=VALUE,..., for example gptfluence:order=2,epochs=100"
    if not name or (colon and not rest):
        raise UsageError(f"{option} {spec!r} names no {'setting' if name else 'estimator'}", example)
    if at and not encoder:
        raise UsageError(f"{option} {spec!r} names no encoder", "write NAME@ENCODER, for example gptfluence@minilm")
    settings: dict[str, Any] = {}
    for pair in _NEXT.split(rest) if colon else ():
        key, sign, value = pair.partition("=")
        key = key.strip().replace("-", "_")
        if not sign or not key.isidentifier():
            raise UsageError(f"{option} {spec!r}: {pair!r} is not SETTING=VALUE", example)
        if key in settings:
            raise UsageError(f"{option} {spec!r} gives {key} twice", "give it once")
        settings[key] = parse_value(value)
    return EstimatorSpec(name, settings, encoder or None)


def label_for(name: str, settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """The name, and in brackets each of the settings that isn't at its default."""
    changed = [
        _setting_label(key, value) for key, value in settings.items() if key not in defaults or defaults[key] != value
    ]
    return f"{name} ({', '.join(changed)})" if changed else name


def _setting_label(key: str, value: Any) -> str:
    if value is True:
        return key
    return f"{key}={value if isinstance(value, str) else json.dumps(value)}"


def choose_estimators(
    lookup: FeatureLookup,
    metric: MetricInfo,
    specs: Sequence[str] | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    calibrate: bool = False,
) -> tuple[tuple[ComparedEstimator, ...], dict[str, str]]:
    """The rows to be, and the estimators left out with the reason.

    What was named must work: for those every problem is raised, before any work, but that an estimator can't answer
    about unseen examples, which its row says itself.

    Args:
        lookup: the recording and the features that they work from.
        metric: to be predicted.
        specs: read by ``parse_spec``; without them all registered estimators take part.
        settings: by an estimator's name, settings for each of its rows; what a spec says itself goes before.
        calibrate: sets the setting of that name in every row that has it and doesn't say otherwise.

    Raises ``UsageError`` for names and settings that aren't known, ``DataError`` where a need of one named isn't met.
    """
    settings, registry = settings or {}, lookup.recording.registry
    parsed = [parse_spec(spec) for spec in specs or ()]
    rows = [EstimatorSpec(name, {}) for name in ALWAYS]
    rows += [EstimatorSpec(name, {}) for name in registry.names("estimator")] if specs is None else parsed
    names = list(dict.fromkeys(row.name for row in rows))
    recording = lookup.recording
    sides = () if recording.held_out is None else recording.held_out.sides
    unused = sorted(settings.keys() - set(names))
    if unused:
        raise UsageError(
            f"settings are given for {unused[0]!r}, which is not compared", f"compared: {', '.join(names)}"
        )
    required = {*settings, *(one.name for one in parsed)}
    entries: dict[str, ComparedEstimator] = {}
    left_out: dict[str, str] = {}
    calibrated = False
    for name, own, encoder in rows:
        given = {**settings.get(name, {}), **own}
        problem: GptflError | None
        try:
            if calibrate and registry.takes("estimator", name, CALIBRATE):
                given = {CALIBRATE: True, **given}
            estimator = registry.make("estimator", name, **given)
            if LOSS in estimator.tags.requires and metric.name == LOSS and name not in required:
                continue  # a table of the loss isn't about it
            label = _label(registry, name, estimator, given, encoder)
        except GptflError as error:
            problem = error
        else:
            feature_choice, problem = _features_for(lookup, estimator, encoder)
            problem = problem or unmet_need(estimator, recording, feature_choice.features, metric)
            if problem is None and name not in required:
                problem = refusal(estimator, sides)
        if problem is None:
            entries[label] = ComparedEstimator(label, name, given, feature_choice)
            calibrated = calibrated or CALIBRATE in given
        elif name in required:
            raise problem
        else:
            left_out[name] = str(problem)
    if calibrate and not calibrated:
        able = [name for name in registry.names("estimator") if _takes(registry, name)]
        remedy = f"name one that can be, with --estimator: {', '.join(able)}" if able else "leave it out"
        raise UsageError("--calibrate: none of the estimators compared can be calibrated", remedy)
    return tuple(entries.values()), left_out


def _features_for(
    lookup: FeatureLookup, estimator: Estimator, encoder: str | None
) -> tuple[FeatureChoice, GptflError | None]:
    """The features that an estimator gets, and why it can't have them where they are too many for memory."""
    try:
        return lookup.provide(estimator, encoder), None
    except ResourceError as error:
        return FeatureChoice(), error


def _takes(registry: Registry, name: str) -> bool:
    try:
        return registry.takes("estimator", name, CALIBRATE)
    except GptflError:
        return False


def _label(registry: Registry, name: str, estimator: Estimator, given: Mapping[str, Any], encoder: str | None) -> str:
    """The row's label tells what was given; where one setting resolves others, those would only take room."""
    called = name if encoder is None else f"{name}@{encoder}"
    if not given:
        return called
    resolved = dict(estimator.settings())
    settings = {key: resolved.get(key, value) for key, value in given.items()}
    try:
        defaults = dict(registry.make("estimator", name).settings())
    except GptflError:
        defaults = {}  # it can't be made without settings
    return label_for(called, settings, defaults)
