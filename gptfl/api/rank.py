"""Orders the training examples by influence, and says how early that finds flipped labels."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from gptfl.core import Progress, silent, user_path
from gptfl.core.curriculum import check_seed
from gptfl.errors import DataError
from gptfl.influence.rank import InfluenceRequest, check_options, open_sources, rank_by
from gptfl.influence.ranking import RankResult
from gptfl.influence.self_influence import measure_initial_metrics
from gptfl.influence.targets import InfluenceTarget, influence_target
from gptfl.report.pictures import check_picture
from gptfl.report.ranking import check_table, draw_detection, write_table
from gptfl.simulation.simulator import FittedSimulator
from gptfl.store.outputs import ResultWriter, check_plain_target
from gptfl.store.workspace import safe_name
from gptfl.tasks.label_noise import flipped_of


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
    result = rank_by(sources, asked, progress)
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
