"""What is wrong with a pool: several signs of a bad row, each as a column, and one order of them all."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import NormalDist

import numpy as np
from jaxtyping import Float

from gptfl.core import Example, Features, Progress, class_numbers
from gptfl.errors import DataError, UsageError
from gptfl.features.vectors import VectorsInMemory
from gptfl.influence.closed_form import vectors_of
from gptfl.influence.group_effects import usual_field
from gptfl.influence.methods import compute_influence, direct_influence
from gptfl.influence.neighbours import Neighbours, nearest, unit_vectors
from gptfl.influence.rank import InfluenceRequest
from gptfl.influence.ranking import Ranking, RankResult
from gptfl.influence.targets import MEAN, SELF, InfluenceTarget
from gptfl.plugins.optional import has_self_influence
from gptfl.plugins.registry import Registry
from gptfl.scores.detection import detect
from gptfl.simulation.simulator import FittedSimulator
from gptfl.tasks.label_noise import flipped_of

CLEANING = "cleaning"
MIXTURE = "mixture"
PURPOSES = ("target", CLEANING, MIXTURE)
COMBINED = "suspicion"
"""The column of the order of all signs together."""
ITSELF, HARM, LABEL, EFFECT, OUTLIER = (
    "on itself",
    "harm",
    "label unlike neighbours",
    "harm beyond neighbours",
    "outlier",
)
MEANING = (
    "Suspicion is by how much the columns beside it speak against a row: each is ranked by itself, most suspicious highest, and "
    "its normal scores, 0 where they are below 0, are averaged over columns; 0 is as much as of a row taken by chance."
)
BY_CHANCE = 1.0 / math.sqrt(2.0 * math.pi)
"""The mean of a normal score, 0 where it is below 0."""
TEXTS = "tfidf-svd"


def check_purpose(purpose: str, by: str | None = None) -> None:
    """Raise ``UsageError`` for an unknown purpose of a ranking, or for groups (``by``) where it is of single rows."""
    if purpose not in PURPOSES:
        raise UsageError(
            f"{purpose!r} is unknown", f"use {', '.join(PURPOSES[:-1])} or {MIXTURE}", option="purpose", flag="--for"
        )
    if purpose == CLEANING and by is not None:
        raise UsageError(f"--by {by} is of groups, and --for {CLEANING} of single rows", "leave one of them out")


def field_of(purpose: str, by: str | None, pool: Sequence[Example]) -> str | None:
    """The field by which rows are in groups; None where they are ranked one by one."""
    return usual_field(pool) if purpose == MIXTURE and by is None else by


def rank_for_cleaning(sources: Sequence[FittedSimulator], request: InfluenceRequest, progress: Progress) -> RankResult:
    """The pool, most suspicious first, with every sign of it; how early each finds flips where there are some.

    Args:
        sources: the fitted simulator, alone.
        request: how influence is computed. For a target that is the rows themselves, harm is to all test examples.
        progress: called along the way.

    The suspicion is made of ranks (``suspicion_of``) and has no unit. Raises ``UsageError`` for several simulators, and
    ``DataError`` where there is no sign at all.
    """
    if len(sources) > 1:
        raise UsageError(
            f"is {CLEANING}, and {len(sources)} simulators were given", "give one", option="purpose", flag="--for"
        )
    source, subject = sources[0], request.subject
    if subject.itself:
        subject = InfluenceTarget(MEAN, np.arange(len(source.recording.dynamics.test)))
    pool = source.recording.dynamics.pool
    signs, notes = signs_of(source, replace(request, subject=subject), progress)
    if not signs:
        raise DataError(
            f"{source.recording.path} has neither texts, classes, features nor influences to find bad rows by",
            "give the texts with --data, or fit an estimator to features",
        )
    combined = suspicion_of(list(signs.values()))
    ranking = Ranking(
        source.found.estimator, source.found.estimator, CLEANING, combined, None, source.path, meaning=MEANING
    )
    flipped = flipped_of(pool)
    result = RankResult(
        recording=source.recording.path.name,
        metric=source.metric,
        on=subject.name,
        subject=subject.text,
        pool=pool,
        rankings=(ranking,),
        notes=(*source.notes, *source.recording.notes, *notes),
        imported=source.recording.dynamics.settings.elsewhere,
        signs=signs,
    )
    if not flipped.any():
        return result
    detections = {name: detect(values, flipped) for name, values in {COMBINED: combined, **signs}.items()}
    return replace(result, flipped=flipped, detections=detections)


def signs_of(
    source: FittedSimulator, request: InfluenceRequest, progress: Progress
) -> tuple[dict[str, Float[np.ndarray, " pool"]], tuple[str, ...]]:
    """Every sign of a bad row that can be had, by its column, and notes on those that can't.

    Each has the shape ``[pool]``, and more is more suspicious. ``ITSELF`` and harm to first order have no unit; other
    harm and the first score have the metric's; ``LABEL`` is a share, and ``OUTLIER`` is 1 less a cosine. Raises
    ``DataError`` where the estimator can't answer as the request has it.
    """
    signs: dict[str, Float[np.ndarray, " pool"]] = {}
    notes: list[str] = []
    pool = source.recording.dynamics.pool
    if has_self_influence(source.named.estimator) and source.recording.held_out is None:
        signs[ITSELF] = direct_influence(source, InfluenceTarget(SELF, None))
    else:
        notes.append(f"{source.found.estimator} tells no influence of the rows on themselves: no column for it")
    if request.own is None:
        notes.append(f"the rows' own first {source.metric.name} isn't known (--model measures it): no column for it")
    else:
        worse = -1.0 if source.metric.higher_is_better else 1.0
        signs[f"own first {request.own.metric}"] = worse * request.own.values
    influence = compute_influence(
        source,
        request.subject,
        request.how_of(source),
        request.own,
        request.features,
        request.orders,
        request.seed,
        progress,
    )
    notes += influence.notes
    harm = -influence.influence
    if np.ptp(harm) > 0.0:
        signs[HARM] = harm
    words = word_neighbours(source.recording.registry, pool)
    near = feature_neighbours(source, request.features) or words
    if near is None:
        notes.append("there are neither features nor texts, or too many, to find neighbours by: no columns for these")
    else:
        labels = class_numbers(pool)
        if labels is not None and np.ptp(labels) > 0:
            signs[LABEL] = near.other_label(labels)
        if np.ptp(harm) > 0.0:
            signs[EFFECT] = harm - near.mean(harm)
        signs[OUTLIER] = (words or near).apart
    return signs, tuple(dict.fromkeys(notes))


def feature_neighbours(source: FittedSimulator, features: object) -> Neighbours | None:
    """Neighbours by the features that the simulator was fitted on; None without any, or with too many.

    ``features`` are the vectors or their file, by default looked for in the workspace. Raises ``DataError`` where they
    aren't to be found.
    """
    if source.found.features is None:
        return None
    with vectors_of(source, features) as vectors:  # type: ignore[arg-type]
        units = unit_vectors(vectors, len(source.recording.dynamics.pool))
    return None if units is None else nearest(units)


def word_neighbours(registry: Registry, pool: Sequence[Example]) -> Neighbours | None:
    """Neighbours by the words of the texts (TF-IDF); None where there are no words, or too many rows."""
    if len(pool) < 2 or not any(example.text.strip() for example in pool):
        return None
    try:
        sets = registry.make("encoder", TEXTS).encode(tuple(pool), ())
    except DataError:  # no word in any text
        return None
    units = unit_vectors(VectorsInMemory(Features(TEXTS, {}, "", dict(sets))), len(pool), centred=False)
    return None if units is None else nearest(units)


def suspicion_of(signs: Sequence[Float[np.ndarray, " row"]]) -> Float[np.ndarray, " row"]:
    """How much signs speak against each row, in the mean over signs: the normal score, 0 below the middle.

    A normal score (van der Waerden's) is that of the rank's share of the rows; rows of equal value share the mean of their
    ranks. What one sign says against a row isn't taken back by others that praise it: which of them finds bad rows
    differs from data to data (``docs/ranking.md``). ``BY_CHANCE`` is subtracted, what is expected of signs that
    have nothing to do with one another. A sign that tells no row from another counts as nothing said.
    """
    quantile = np.vectorize(NormalDist().inv_cdf, otypes=[np.float64])
    total = np.zeros(len(signs[0]))
    for values in signs:
        _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
        ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]  # from 1, ties at their mean
        total += np.maximum(quantile((ranks - 0.5) / len(values)), 0.0)
    return np.asarray(total / len(signs) - BY_CHANCE)


def signs_at(signs: Mapping[str, Float[np.ndarray, " pool"]], place: int) -> dict[str, float]:
    """The value of each sign for one row."""
    return {name: float(values[place]) for name, values in signs.items()}
