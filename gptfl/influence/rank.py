"""Orders the training examples by influence, and says how early that finds flipped labels."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from gptfl.core import Dynamics, Progress
from gptfl.errors import UsageError
from gptfl.influence.closed_form import WIDTH
from gptfl.influence.group_effects import group_effects
from gptfl.influence.kept import KeptSide, kept_side
from gptfl.influence.meaning import meaning
from gptfl.influence.methods import compute_influence, direct_influence
from gptfl.influence.ranking import Ranking, RankResult
from gptfl.influence.removal import has_removal
from gptfl.influence.self_influence import InitialMetrics
from gptfl.influence.targets import REMOVE, SELF, Influence, InfluenceTarget, kept_target
from gptfl.influence.verdicts import Shrinking, Verdicts, verdicts_on
from gptfl.options.common import InputOptions
from gptfl.options.influence import RankOptions
from gptfl.options.ranking import RankingOptions
from gptfl.plugins.optional import has_self_influence
from gptfl.recording.recording import OpenedRecording
from gptfl.recording.row_groups import group_rows
from gptfl.scores.detection import Detection, detect
from gptfl.simulation.reference import trust_of
from gptfl.simulation.simulator import FittedSimulator, open_fitted
from gptfl.tasks.label_noise import flipped_of

OWN_FIRST = "own first {}"
"""What checking by each example's own first score is called."""
ON_ITSELF = "{} on itself"
"""What checking by each example's influence on itself is called, beside its influence on test examples."""


@dataclass(frozen=True, slots=True)
class InfluenceRequest:
    """On what influence is to be told, and how."""

    subject: InfluenceTarget
    how: str | None
    own: InitialMetrics | None
    features: str | Path | None
    orders: int
    seed: int
    fdr: float | None = None
    """The false discovery rate of verdicts, None for none."""
    absent: bool = False
    """Whether, unless ``how`` says otherwise, zero is as if a row were not there, where the estimator can tell that."""

    keep: InfluenceTarget | None = None
    """The test examples that must not get worse, None for none."""

    by: str | None = None
    """The field by which rows are in groups, whose effects are told as well; None for none."""

    def how_of(self, source: FittedSimulator) -> str | None:
        """How a simulator is to tell it; None leaves it to ``compute_influence``."""
        return REMOVE if self.how is None and self.absent and has_removal(source, self.subject) else self.how


def open_sources(influence: RankingOptions, inputs: InputOptions) -> list[FittedSimulator]:
    """The simulators that were named, else the one made last; all of the first one's recording and metric.

    Raises as ``open_fitted`` does where one is of another.
    """
    named: list[tuple[str | Path | None, str | None]] = [(path, None) for path in influence.simulators]
    named += [(None, name) for name in influence.estimators]
    sources: list[FittedSimulator] = []
    read: dict[tuple[object, ...], OpenedRecording] = {}
    dynamics, metric = inputs.dynamics, influence.metric
    for path, name in named or [(None, None)]:
        source = open_fitted(path, dynamics, inputs.workspace, name, metric, inputs.features, read)
        sources.append(source)
        dynamics, metric = source.recording.path, source.metric.name
    return sources


def kept_of(options: RankOptions, subject: InfluenceTarget, dynamics: Dynamics) -> InfluenceTarget | None:
    """The test examples that must not get worse; None where none are named.

    Raises as ``kept_target`` does, and ``UsageError`` where groups or signs of bad rows are asked for as well.
    """
    if options.keep is None:
        return None
    for flag, is_given in ((f"--for {options.purpose}", options.purpose != "target"), ("--by", options.by is not None)):
        if is_given:
            raise UsageError(
                f"{flag} and --keep were given together", "rank rows for two sides, or ask the other alone"
            )
    return kept_target(options.keep, subject, dynamics)


def rank_by(sources: Sequence[FittedSimulator], request: InfluenceRequest, progress: Progress) -> RankResult:
    """The rankings by simulators of one recording, and how early they find flipped labels where there are some."""
    first, subject = sources[0], request.subject
    pool = first.recording.dynamics.pool
    rankings, notes = rankings_of(sources, request, progress)
    result = RankResult(
        recording=first.recording.path.name,
        metric=first.metric,
        on=subject.name,
        subject=subject.text,
        pool=pool,
        rankings=rankings,
        notes=notes,
        imported=first.recording.dynamics.settings.elsewhere,
    )
    flipped = flipped_of(pool)
    if not flipped.any():
        return result
    found = _detections(rankings, subject, request.own, first, flipped)
    return replace(result, flipped=flipped, detections=found | _itself(rankings, sources, subject, flipped))


def rankings_of(
    sources: Sequence[FittedSimulator], request: InfluenceRequest, progress: Progress
) -> tuple[tuple[Ranking, ...], tuple[str, ...]]:
    """Each simulator's ranking, and what to tell of them."""
    notes: list[str] = []
    rankings = []
    pool = sources[0].recording.dynamics.pool
    grouping = None if request.by is None else group_rows(pool, request.by)
    counts = Counter(source.found.estimator for source in sources)
    for source in sources:
        name = source.found.estimator
        label = name if counts[name] == 1 else source.path.name.removesuffix(".simulator.h5")
        how = request.how_of(source)
        influence = compute_influence(
            source,
            request.subject,
            how=how,
            own=request.own,
            features=request.features,
            orders=request.orders,
            seed=request.seed,
            progress=progress,
        )
        half = None if influence.spread is None else WIDTH * influence.spread
        low, high = (None, None) if half is None else (influence.influence - half, influence.influence + half)
        verdicts, groups = _verdicts(source, influence, request), None
        if grouping is not None:
            rows = influence.influence
            groups = group_effects(source, request.subject, grouping, rows, verdicts, request.features, progress)
        rankings.append(
            Ranking(
                label,
                name,
                how=influence.how,
                influence=influence.influence,
                step=influence.step,
                simulator=source.path,
                low=low,
                high=high,
                meaning=meaning(influence.how, request.subject, source.metric, influence.step),
                verdicts=verdicts,
                groups=groups,
                kept=None if request.keep is None else _kept(source, influence, verdicts, request, progress),
            )
        )
        notes += [*source.notes, *source.recording.notes, *influence.notes]
        if influence.step is not None:
            notes.append(f"trust in {label}: {trust_of(source).text}")
    return tuple(rankings), tuple(dict.fromkeys(notes))


def _kept(
    source: FittedSimulator,
    influence: Influence,
    verdicts: Verdicts | None,
    request: InfluenceRequest,
    progress: Progress,
) -> KeptSide:
    """What the rows do to the test examples that must not get worse, told as that on the target."""
    assert request.keep is not None
    kept = compute_influence(
        source,
        request.keep,
        how=influence.how,
        own=None,
        features=request.features,
        orders=request.orders,
        seed=request.seed,
        progress=progress,
    )
    both = (verdicts, _verdicts(source, kept, request))
    return kept_side(source, (request.subject, request.keep), influence, kept, both, request.features, progress)


def _verdicts(source: FittedSimulator, influence: Influence, request: InfluenceRequest) -> Verdicts | None:
    """What is known of each row as against its not being there; None where that isn't asked or can't be told."""
    spread, before, common, lasting = influence.spread, influence.before, influence.common, influence.lasting
    if request.fdr is None or spread is None or before is None or common is None or lasting is None:
        return None
    runs = sum(len(source.found.info.get(name, ())) for name in ("fit_runs", "validation_runs"))
    shrinking = Shrinking(runs, spread, before, common, lasting) if runs else None
    return verdicts_on(influence.influence, spread, request.fdr, shrinking)


def suspicion(ranking: Ranking, subject: InfluenceTarget) -> np.ndarray:
    """What is checked first has most of it.

    Training on a mislabelled example helps itself more than a typical one, whose like teach the same, and harms
    others: on ``self`` the highest influence is suspect, on test examples the lowest.
    """
    return ranking.influence if subject.itself else -ranking.influence


def _detections(
    rankings: Sequence[Ranking],
    subject: InfluenceTarget,
    own: InitialMetrics | None,
    source: FittedSimulator,
    flipped: Bool[np.ndarray, " pool"],
) -> dict[str, Detection]:
    detections = {ranking.label: detect(suspicion(ranking, subject), flipped) for ranking in rankings}
    if own is not None:
        worst = -own.values if source.metric.higher_is_better else own.values
        detections[OWN_FIRST.format(own.metric)] = detect(worst, flipped)
    return detections


def _itself(
    rankings: Sequence[Ranking],
    sources: Sequence[FittedSimulator],
    subject: InfluenceTarget,
    flipped: Bool[np.ndarray, " pool"],
) -> dict[str, Detection]:
    """How early influence on the examples themselves finds flips, of estimators that tell it, where another is asked."""
    if subject.itself:
        return {}
    itself = InfluenceTarget(SELF, None)
    return {
        ON_ITSELF.format(ranking.label): detect(direct_influence(source, itself), flipped)
        for ranking, source in zip(rankings, sources, strict=True)
        if has_self_influence(source.named.estimator) and source.recording.held_out is None
    }
