"""Orders the training examples by influence, and says how early that finds flipped labels."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from gptfl.core import Progress, silent, user_path
from gptfl.core.curriculum import check_seed
from gptfl.core.imported import is_imported
from gptfl.errors import DataError, UsageError
from gptfl.influence.closed_form import WIDTH
from gptfl.influence.methods import compute_influence, direct_influence
from gptfl.influence.ranking import Ranking, RankResult
from gptfl.influence.self_influence import InitialMetrics, measure_initial_metrics
from gptfl.influence.targets import SELF, InfluenceTarget, check_how, influence_target
from gptfl.plugins.interfaces import tells_itself
from gptfl.report.comparison_plot import check_picture
from gptfl.report.ranking import check_table, draw_detection, write_table
from gptfl.scores.detection import Detection, detect
from gptfl.simulation.reference import held_out_trust
from gptfl.simulation.simulator import FittedSimulator, open_fitted
from gptfl.store.outputs import ResultWriter, check_plain_target
from gptfl.store.workspace import safe_name
from gptfl.tasks.label_noise import flipped_of

OWN_FIRST = "own first {}"
"""What checking by each example's own first score is called."""
ON_ITSELF = "{} on itself"
"""What checking by each example's influence on itself is called, beside its influence on test examples."""


def rank(
    simulators: Sequence[str | Path] = (),
    *,
    estimators: Sequence[str] = (),
    dynamics: str | Path | None = None,
    features: str | Path | None = None,
    workspace: str | Path | None = None,
    metric: str | None = None,
    on: str | Sequence[str] = "mean",
    how: str | None = None,
    orders: int = 4,
    model: str | None = None,
    data: str | Path | None = None,
    seed: int = 42,
    top: int | None = None,
    reverse: bool = False,
    output: str | Path | None = None,
    figure: str | Path | None = None,
    progress: Progress = silent,
) -> RankResult:
    """Tell the influence of every training example, by each of the simulators.

    ``simulators`` are files; ``estimators`` names, of each of which the simulator made last is taken; with neither,
    the one made last. ``on`` is ``mean`` (of all test examples), ``self``, ``test:ID``, ``group:FILE`` or a sequence
    of test ids. ``how`` is ``replace`` (the example against others in its place), ``drop`` (against nothing in its
    place), ``closed-form`` (as the estimator itself tells it, with an interval and nothing simulated) or
    ``derivative`` (as it tells it to first order); by default the first of the last two that there is, else
    ``replace``. Each example is tried in ``orders`` random runs. ``model`` measures each pool
    example's own first score, for ``self``, with ``data`` for a recording without texts; it is then kept.

    Where labels of the recording were flipped, the result says how early checking by influence finds them, and
    ``figure`` (by default in the workspace) shows it. ``output`` is a .csv or .json for the table, cut to ``top``.

    Raises ``UsageError`` for options that make no sense, and ``DataError`` where files are missing or don't
    belong together, or an estimator can't answer.
    """
    check_seed(seed)
    check_options(how, orders, top)
    if output is not None:
        check_table(Path(output))
        check_plain_target(user_path(output), "--output")
    sources = open_sources(simulators, estimators, dynamics, workspace, metric, features)
    first = sources[0]
    recording = first.recording
    subject = influence_target(on, recording.dynamics)
    flipped = flipped_of(recording.dynamics.pool)
    picture = _picture(figure, first, subject, bool(flipped.any()))
    own = measure_initial_metrics(recording, first.metric, model, data, progress)
    asked = InfluenceRequest(subject, how, own, features, orders, seed)
    rankings, notes = rankings_of(sources, asked, progress)
    result = RankResult(
        recording=recording.path.name,
        metric=first.metric,
        on=subject.name,
        subject=subject.text,
        pool=recording.dynamics.pool,
        rankings=rankings,
        notes=notes,
        imported=is_imported(recording.dynamics.settings),
    )
    if flipped.any():
        found = _detections(rankings, subject, own, first, flipped) | _itself(rankings, sources, subject, flipped)
        result = replace(result, flipped=flipped, detections=found)
    target = None if output is None else user_path(output)
    keeping = ResultWriter(replace(result, figure=picture, output=target))
    if picture is not None:
        title = f"{recording.stem}: influence on {subject.text}"
        flips = int(flipped.sum())
        draw = partial(draw_detection, picture, result.detections, flips, len(flipped), title)
        keeping.draw("figure", lambda _: draw(), asked=figure is not None)
    if target is not None:
        keeping.write("output", lambda known: write_table(known, target, top, reverse))
    return keeping.settled()


@dataclass(frozen=True, slots=True)
class InfluenceRequest:
    """On what influence is to be told, and how."""

    subject: InfluenceTarget
    how: str | None
    own: InitialMetrics | None
    features: str | Path | None
    orders: int
    seed: int


def check_options(how: str | None, orders: int, top: int | None = None) -> None:
    """Raise ``UsageError`` for values that make no sense."""
    check_how(how)
    for flag, value in (("--orders", orders), ("--top", top)):
        if value is not None and value < 1:
            raise UsageError(f"{flag} is {value}", "give 1 or more")


def open_sources(
    simulators: Sequence[str | Path],
    estimators: Sequence[str],
    dynamics: str | Path | None,
    workspace: str | Path | None,
    metric: str | None,
    features: str | Path | None,
) -> list[FittedSimulator]:
    """The simulators that were named, else the one made last; all of the first one's recording and metric.

    Raises as ``open_fitted`` does where one is of another.
    """
    wanted: list[tuple[str | Path | None, str | None]] = [(path, None) for path in simulators]
    wanted += [(None, name) for name in estimators]
    sources: list[FittedSimulator] = []
    for path, name in wanted or [(None, None)]:
        source = open_fitted(path, dynamics, workspace, name, metric, features)
        sources.append(source)
        dynamics, metric = source.recording.path, source.metric.name
    return sources


def rankings_of(
    sources: Sequence[FittedSimulator], asked: InfluenceRequest, progress: Progress
) -> tuple[tuple[Ranking, ...], tuple[str, ...]]:
    """Each simulator's ranking, and what to tell of them."""
    notes: list[str] = []
    rankings = []
    counts = Counter(source.found.estimator for source in sources)
    for source in sources:
        name = source.found.estimator
        label = name if counts[name] == 1 else source.path.name.removesuffix(".simulator.h5")
        told = compute_influence(
            source, asked.subject, asked.how, asked.own, asked.features, asked.orders, asked.seed, progress
        )
        half = None if told.spread is None else WIDTH * told.spread
        low, high = (None, None) if half is None else (told.influence - half, told.influence + half)
        rankings.append(Ranking(label, name, told.how, told.influence, told.step, source.path, low, high))
        notes += [*source.notes, *source.recording.notes, *told.notes]
        if told.step is not None:
            notes.append(f"trust in {label}: {held_out_trust(source).text}")
    return tuple(rankings), tuple(dict.fromkeys(notes))


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
        if tells_itself(source.contender.estimator) and source.recording.aside is None
    }


def _picture(
    figure: str | Path | None, source: FittedSimulator, subject: InfluenceTarget, is_flipped: bool
) -> Path | None:
    recording = source.recording
    if not is_flipped:
        if figure is not None:
            raise DataError(
                f"{recording.path} has no flipped labels, and --figure {figure} would show how early they are found",
                "leave out --figure, or record with gptfl collect --flip-labels",
            )
        return None
    name = f"{recording.stem}.{source.metric.name}.{safe_name(subject.name)}.flips.png"
    path = recording.workspace.root / name if figure is None else user_path(figure)
    check_picture(path)
    check_plain_target(path, "--figure")
    return path
