"""Trains on selected subsets, scored on test examples that the selection never saw, to see what selecting is worth."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gptfl.core import Example, MetricInfo, Progress, silent, user_path
from gptfl.core.curriculum import check_seed
from gptfl.errors import UsageError
from gptfl.evaluation.verify import check_made_here
from gptfl.influence.greedy import SelectionSpec, class_quota
from gptfl.influence.rank import check_options
from gptfl.influence.selection import target_of
from gptfl.influence.subset_search import SEARCH
from gptfl.plugins.guards import make_executor, make_metric
from gptfl.plugins.interfaces import Metric
from gptfl.plugins.registry import get_registry
from gptfl.recording.cost import Announce
from gptfl.recording.recording import with_texts
from gptfl.recording.trainers import model_of
from gptfl.report.pictures import check_picture
from gptfl.report.selection_study import RANDOM_KIND, draw_selection_study, write_selection_study
from gptfl.simulation.schedule import recorded_schedule
from gptfl.simulation.simulator import FittedSimulator, open_fitted
from gptfl.store.outputs import ResultWriter, check_plain_target
from gptfl.studies.results import SelectionStudy, SelectorResult
from gptfl.studies.retraining import Retrainer, Training
from gptfl.studies.rivals import TargetSplit, baseline_choices, drawn_of, split_tests

ALSO = "accuracy"
"""Measured beside the metric selected for, where the test examples have classes."""


def select_study(
    size: int,
    simulator: str | Path | None = None,
    *,
    dynamics: str | Path | None = None,
    features: str | Path | None = None,
    workspace: str | Path | None = None,
    metric: str | None = None,
    estimator: str | None = None,
    on: str | Sequence[str] = "mean",
    how: str | None = None,
    orders: int = 4,
    max_share_per_class: float | None = None,
    diversity: float = 0.0,
    cautious: float = 0.0,
    search: int = SEARCH,
    rivals: Sequence[str] | None = None,
    random_subsets: int = 10,
    repeats: int = 5,
    score_on: int | None = None,
    model: str | None = None,
    data: str | Path | None = None,
    device: str = "auto",
    executor: str = "local",
    seed: int = 42,
    dry_run: bool = False,
    output: str | Path | None = None,
    figure: str | Path | None = None,
    progress: Progress = silent,
    announce: Announce | None = None,
) -> SelectionStudy | None:
    """Train on what ``select`` chooses, on what ``rivals`` would choose, and on random subsets of equal class shares.

    Of the test examples that ``on`` names, ``score_on`` (half of them) are set apart by ``seed``: the simulator's
    estimator, with its settings, and the rivals are fitted anew to the recording without these, choose for the
    others, and every training is scored on those set apart. ``rivals`` are estimators (``NAME`` or
    ``NAME:SETTING=VALUE,...``), by default TracIn where the recording has gradients for it; their choice is by
    influence and ``max_share_per_class`` alone. A choice is trained on ``repeats`` times in other orders, each of
    ``random_subsets`` once, by the recording's recipe and model. Each training is kept: the same call goes on where
    an interrupted one stopped. ``announce`` gets the cost first; ``dry_run`` stops there and returns None.

    Raises ``UsageError`` for options that make no sense, and ``DataError`` where the recording was imported, its
    model or texts can't be had, or an estimator can't tell what is asked.
    """
    check_seed(seed)
    check_options(how, orders)
    for flag, count in (("--random", random_subsets), ("--repeats", repeats)):
        if count < 2:
            raise UsageError(f"{flag} is {count}", "give 2 or more: the spread tells what a difference is worth")
    source = open_fitted(simulator, dynamics, workspace, estimator, metric, features)
    check_made_here(source)
    wish = SelectionSpec(size, max_share_per_class, diversity, cautious, search)
    subject = target_of(on, source, wish)
    class_quota(source.scope.pool, wish)
    halves = split_tests(source, subject, score_on, seed)
    target, picture = _targets(source, output, figure)
    runner = make_executor(get_registry(), executor)
    retrainer = _retrainer(source, halves, model, data, device, seed, progress)
    choices, notes = baseline_choices(source, halves, wish, rivals, how, orders, seed, features, progress)
    drawn = drawn_of(source.scope.pool, size, random_subsets, seed)
    kinds = {name: [Training(repeat, (), places) for repeat in range(repeats)] for name, places in choices.items()}
    kinds[RANDOM_KIND] = [Training(number % repeats, (), places) for number, places in enumerate(drawn)]
    distinct = list(dict.fromkeys(training for one in kinds.values() for training in one))
    retrainer.open()
    if announce is not None:
        announce(retrainer.estimate(distinct))
    if dry_run:
        return None
    with source.recording.workspace.lock("gptfl select-study"):
        now = retrainer.carry_out(runner, distinct)
    study = SelectionStudy(
        recording=source.recording.path.name,
        on=subject.name,
        size=size,
        kinds=tuple(_kind(name, trainings, retrainer) for name, trainings in kinds.items()),
        metrics={metric.info.name: metric.info for metric in retrainer.metrics},
        asked=len(halves.asked),
        scored=tuple(source.scope.test[place].id for place in halves.scored),
        steps=retrainer.steps,
        trained=len(distinct),
        trained_now=now,
        seed=seed,
        output=target,
        figure=picture,
        notes=(*source.notes, *source.recording.notes, *notes, *retrainer.notes),
    )
    keeping = ResultWriter(study)
    keeping.draw("figure", lambda known: draw_selection_study(known, picture), asked=figure is not None)
    keeping.write("output", lambda known: write_selection_study(known, target))
    return keeping.settled()


def _targets(source: FittedSimulator, output: str | Path | None, figure: str | Path | None) -> tuple[Path, Path]:
    name = f"{source.recording.stem}.select-study"
    root = source.recording.workspace.root
    target = root / f"{name}.json" if output is None else user_path(output)
    picture = root / f"{name}.png" if figure is None else user_path(figure)
    if target.suffix.lower() != ".json":
        raise UsageError(f"--output {target} is not a .json file", "end it in .json")
    check_picture(picture)
    check_plain_target(target, "--output")
    check_plain_target(picture, "--figure")
    return target, picture


def _retrainer(
    source: FittedSimulator,
    halves: TargetSplit,
    model: str | None,
    data: str | Path | None,
    device: str,
    seed: int,
    progress: Progress,
) -> Retrainer:
    recording = source.recording
    pool, test = with_texts(recording.dynamics, data, recording.path)
    scored = tuple(test[place] for place in halves.scored)
    recipe = recorded_schedule(recording.dynamics, source.metric)
    kept = recording.workspace.root / f"{recording.stem}.select-study.jsonl"
    return Retrainer(
        recording,
        pool,
        scored,
        _metrics(source.metric, scored),
        model_of(recording, model),
        device,
        recipe.steps,
        recipe.batch_size,
        seed,
        kept,
        progress,
    )


def _metrics(asked: MetricInfo, scored: Sequence[Example]) -> tuple[Metric, ...]:
    """The metric selected for, and accuracy where the test examples have classes."""
    registry = get_registry()
    first = make_metric(registry, asked.name)
    first.check(scored)
    if asked.name == ALSO or not all(example.choices for example in scored):
        return (first,)
    return (first, make_metric(registry, ALSO))


def _kind(name: str, trainings: Sequence[Training], retrainer: Retrainer) -> SelectorResult:
    pool = retrainer.pool
    subsets = dict.fromkeys(training.members or () for training in trainings)
    values = {
        metric.info.name: np.array([retrainer.result(training)[metric.info.name] for training in trainings])
        for metric in retrainer.metrics
    }
    return SelectorResult(name, tuple(tuple(pool[place].id for place in members) for members in subsets), values)
