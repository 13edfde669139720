"""Trains on selected subsets, scored on test examples that the selection never saw, to see what selecting is worth."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gptfl.api.writing import study_targets, study_written
from gptfl.core import Example, MetricInfo, Progress, silent
from gptfl.evaluation.verify import check_made_here
from gptfl.influence.greedy import SelectionSpec, class_quota
from gptfl.influence.selection import target_of
from gptfl.influence.targets import check_how
from gptfl.options.base import make
from gptfl.options.influence import SelectStudyOptions
from gptfl.options.signature import takes
from gptfl.plugins.guards import make_executor, make_metric
from gptfl.plugins.interfaces import Metric
from gptfl.plugins.registry import Registry
from gptfl.recording.cost import Announce
from gptfl.recording.recording import with_texts
from gptfl.recording.trainers import model_of
from gptfl.report.selection_study import RANDOM_KIND, draw_selection_study, write_selection_study
from gptfl.simulation.schedule import recorded_schedule
from gptfl.simulation.simulator import FittedSimulator, open_fitted
from gptfl.studies.results import SelectionStudy, SelectorResult
from gptfl.studies.retraining import Retrainer, Training
from gptfl.studies.rivals import TargetSplit, baseline_choices, drawn_of, split_tests

ALSO = "accuracy"
"""Measured beside the metric selected for, where the test examples have classes."""


@takes(SelectStudyOptions)
def select_study(
    size: int,
    simulator: str | Path | None = None,
    *groups: object,
    progress: Progress = silent,
    announce: Announce | None = None,
    **options: Any,
) -> SelectionStudy | None:
    """Train on what ``select`` chooses, on what ``rivals`` would choose, and on random subsets of equal class shares.

    Of the test examples that ``on`` names, ``score_on`` (half of them) are held out by ``seed``: the simulator's
    estimator, with its settings, and the rivals are fitted anew to the recording without these, choose for the
    others, and every training is scored on those held out. The rivals' choice is by influence and
    ``max_share_per_class`` alone. A choice is trained on ``repeats`` times in other orders, each of ``random_subsets``
    once, by the recording's recipe and model. Each training is kept: the same call goes on where an interrupted one
    stopped. With ``dry_run`` it is None.

    Args:
        size: how many examples to choose.
        simulator: its file, by default the one made last.
        groups: options in groups, such as ``gptfl.options.influence.StudyOptions(device="cpu")``.
        progress: called along the way.
        announce: called with the cost before the trainings start; ``dry_run=True`` stops there.
        options: those of ``gptfl select-study`` (docs/cli.md) by name; ``on`` may be a sequence of test ids. No
            ``rivals`` at all are an empty sequence.

    Raises ``TypeError`` for a name that is no option, ``UsageError`` for options that make no sense, and ``DataError``
    where the recording was imported, its model or texts can't be had, or an estimator can't tell what is asked.
    """
    all_options = make(SelectStudyOptions, *groups, size=size, simulator=simulator, **options)
    return select_study_with(all_options, progress=progress, announce=announce)


def select_study_with(
    options: SelectStudyOptions, *, progress: Progress = silent, announce: Announce | None = None
) -> SelectionStudy | None:
    """``select_study`` with all options in one object."""
    selection, study, inputs, seed = options.selection, options.study, options.inputs, options.study.seed
    check_how(selection.how)
    source = open_fitted(
        selection.simulator, inputs.dynamics, inputs.workspace, selection.estimator, selection.metric, inputs.features
    )
    check_made_here(source)
    spec = SelectionSpec.of(selection)
    subject = target_of(selection.on, source, spec)
    class_quota(source.scope.pool, spec)
    halves = split_tests(source, subject, options.score_on, seed)
    target, picture = study_targets("select-study", source.recording, study)
    runner = make_executor(source.recording.registry, study.executor, study.executor_set)
    retrainer = _retrainer(source, halves, options, progress)
    choices, notes = baseline_choices(
        source,
        halves,
        spec_of_selection=spec,
        rivals=options.rivals,
        how=selection.how,
        orders=selection.orders,
        seed=seed,
        features=inputs.features,
        progress=progress,
    )
    drawn = drawn_of(source.scope.pool, spec.size, options.random_subsets, seed)
    kinds = _trainings(choices, drawn, options.repeats)
    distinct = list(dict.fromkeys(training for one in kinds.values() for training in one))
    now = retrainer.carry_out(runner, distinct, "gptfl select-study", announce, study.dry_run)
    if now is None:
        return None
    found = SelectionStudy(
        recording=source.recording.path.name,
        on=subject.name,
        size=spec.size,
        kinds=tuple(_kind(name, trainings, retrainer) for name, trainings in kinds.items()),
        metrics={metric.info.name: metric.info for metric in retrainer.metrics},
        targets=len(halves.targets),
        scored=tuple(source.scope.test[place].id for place in halves.scored),
        steps=retrainer.steps,
        trained=len(distinct),
        trained_now=now,
        seed=seed,
        output=target,
        figure=picture,
        notes=(*source.notes, *source.recording.notes, *notes, *retrainer.notes),
    )
    return study_written(found, target, picture, study.figure, write_selection_study, draw_selection_study)


def _trainings(
    choices: Mapping[str, tuple[int, ...]], drawn: Sequence[tuple[int, ...]], repeats: int
) -> dict[str, list[Training]]:
    """Each choice in as many orders as there are repeats; each random subset in one of these."""
    kinds = {name: [Training(repeat, (), places) for repeat in range(repeats)] for name, places in choices.items()}
    kinds[RANDOM_KIND] = [Training(number % repeats, (), places) for number, places in enumerate(drawn)]
    return kinds


def _retrainer(
    source: FittedSimulator,
    halves: TargetSplit,
    options: SelectStudyOptions,
    progress: Progress,
) -> Retrainer:
    recording = source.recording
    pool, test = with_texts(recording, options.data)
    scored = tuple(test[place] for place in halves.scored)
    recipe = recorded_schedule(recording.dynamics, source.metric)
    kept = recording.workspace.root / f"{recording.stem}.select-study.jsonl"
    return Retrainer(
        recording=recording,
        pool=pool,
        test=scored,
        metrics=_metrics(recording.registry, source.metric, scored),
        model=model_of(recording, options.study.model),
        device=options.study.device,
        steps=recipe.steps,
        batch_size=recipe.batch_size,
        seed=options.study.seed,
        path=kept,
        progress=progress,
    )


def _metrics(registry: Registry, metric: MetricInfo, scored: Sequence[Example]) -> tuple[Metric, ...]:
    """The metric selected for, and accuracy where the test examples have classes."""
    first = make_metric(registry, metric.name)
    first.check(scored)
    if metric.name == ALSO or not all(example.choices for example in scored):
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
