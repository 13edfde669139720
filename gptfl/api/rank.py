"""Orders the training examples by influence, and says how early that finds flipped labels."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from gptfl.api.writing import is_named, picture_at
from gptfl.core import Progress, TokenSketches, silent, user_path
from gptfl.errors import DataError
from gptfl.influence.cleaning import CLEANING, check_purpose, field_of, rank_for_cleaning
from gptfl.influence.new_rows import check_new_request, rank_new_rows
from gptfl.influence.rank import InfluenceRequest, kept_of, open_sources, rank_by
from gptfl.influence.ranking import RankResult
from gptfl.influence.self_influence import measure_initial_metrics
from gptfl.influence.targets import InfluenceTarget, check_how, influence_target
from gptfl.influence.tokens import check_token_request, sketch_again, token_influence
from gptfl.influence.verdicts import BOTH_SIDES, check_verdict
from gptfl.options.base import make
from gptfl.options.common import Picture
from gptfl.options.defaults import FEW_RUNS
from gptfl.options.influence import RankOptions
from gptfl.options.signature import takes
from gptfl.report.ranking import check_table, draw_detection, write_table
from gptfl.simulation.simulator import FittedSimulator
from gptfl.store.outputs import ResultWriter, check_plain_target
from gptfl.store.workspace import safe_name
from gptfl.tasks.label_noise import flipped_of


@takes(RankOptions)
def rank(
    simulators: str | Path | Sequence[str | Path] = (), *groups: object, progress: Progress = silent, **options: Any
) -> RankResult:
    """Tell the influence of every training example, by each of the simulators: a ranking for each.

    Where labels of the recording were flipped, the result says how early checking by influence finds them, and
    ``figure`` shows it.

    Args:
        simulators: their files; with neither these nor ``estimators``, the one made last.
        groups: options in groups, such as ``gptfl.options.influence.InfluenceOptions(on="self")``.
        progress: called along the way.
        options: those of ``gptfl rank`` (docs/cli.md) by name; ``on`` may be a sequence of test ids. ``output`` is cut to
            ``top``.

    Raises ``TypeError`` for a name that is no option, ``UsageError`` for options that make no sense, and ``DataError``
    where files are missing or don't belong together, or an estimator can't answer.
    """
    return rank_with(make(RankOptions, *groups, simulators=simulators or None, **options), progress=progress)


def rank_with(
    options: RankOptions, *, progress: Progress = silent, sketched: TokenSketches | None = None
) -> RankResult:
    """``rank`` with all options in one object; ``sketched`` are the tokens' gradients, where they are known already."""
    influence, figure = options.influence, options.figure
    check_how(influence.how)
    check_verdict(options.only, options.keep is not None)
    check_purpose(options.purpose, options.by)
    check_new_request(options)
    if options.output is not None:
        check_table(Path(options.output))
        check_plain_target(user_path(options.output), "--output")
    sources = open_sources(influence, options.inputs)
    first = sources[0]
    recording = first.recording
    subject = influence_target(influence.on, recording.dynamics)
    keep = kept_of(options, subject, recording.dynamics)
    test = check_token_request(subject, len(sources)) if options.tokens else None
    flipped = flipped_of(() if options.new is not None else recording.dynamics.pool)
    picture = _picture(figure, first, subject, bool(flipped.any()))
    own = None
    if test is None and options.new is None:
        own = measure_initial_metrics(recording, first.metric, options.model, influence.data, progress)
    elif test is not None and sketched is None:
        sketched = sketch_again(recording, test, options.model, influence.data, progress)
    by = None if options.new is not None else field_of(options.purpose, options.by, recording.dynamics.pool)
    request = InfluenceRequest(
        subject,
        influence.how,
        own,
        options.inputs.features,
        influence.orders,
        options.seed,
        options.fdr,
        True,
        keep,
        by,
    )
    result = _ranked(sources, request, options, progress)
    _check_only(options.only, result)
    if test is not None and sketched is not None:
        result = replace(result, tokens=token_influence(first, test, sketched))
    target = None if options.output is None else user_path(options.output)
    writer = ResultWriter(replace(result, figure=picture, output=target))
    if picture is not None:
        title = f"{recording.stem}: influence on {subject.text}"
        flips = int(flipped.sum())
        draw = partial(draw_detection, picture, result.detections, flips, len(flipped), title)
        writer.draw("figure", lambda _: draw(), required=is_named(figure))
    if target is not None:
        writer.write("output", lambda known: write_table(known, target, options.top, options.reverse, options.only))
    return writer.finish()


def _ranked(
    sources: Sequence[FittedSimulator], request: InfluenceRequest, options: RankOptions, progress: Progress
) -> RankResult:
    if options.new is not None:
        return rank_new_rows(sources, request, options, progress)
    return (rank_for_cleaning if options.purpose == CLEANING else rank_by)(sources, request, progress)


def _check_only(only: str | None, result: RankResult) -> None:
    for ranking in result.rankings if only is not None else ():
        if ranking.verdicts is None or (only == BOTH_SIDES and (ranking.kept is None or ranking.kept.known is None)):
            raise DataError(
                f"--only {only}: {ranking.label} has no verdicts (--how {ranking.how})",
                f"leave out --only, or use --how remove and an estimator such as {FEW_RUNS}",
            )


def _picture(figure: Picture, source: FittedSimulator, subject: InfluenceTarget, is_flipped: bool) -> Path | None:
    recording = source.recording
    if not is_flipped:
        if is_named(figure):
            raise DataError(
                f"{recording.path} has no flipped labels, and --figure {figure} would show how early they are found",
                "leave out --figure, or record with gptfl collect --flip-labels",
            )
        return None
    name = f"{recording.stem}.{source.metric.name}.{safe_name(subject.name)}.flips.png"
    return picture_at(figure, recording.workspace.root / name)
