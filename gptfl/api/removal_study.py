"""Retrains without the most harmful, the most helpful and random rows, to see whether a ranking is right."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gptfl.api.writing import study_targets, study_written
from gptfl.core import Progress, silent
from gptfl.errors import UsageError
from gptfl.evaluation.verify import check_made_here, check_rates
from gptfl.influence.rank import InfluenceRequest, open_sources, rankings_of
from gptfl.influence.targets import InfluenceTarget, check_how, influence_target
from gptfl.options.base import make
from gptfl.options.influence import InfluenceOptions
from gptfl.options.removal_study import RemovalStudyOptions
from gptfl.options.signature import takes
from gptfl.plugins.guards import make_executor, make_metric
from gptfl.recording.cost import Announce
from gptfl.recording.recording import with_texts
from gptfl.recording.trainers import model_of
from gptfl.report.removal_study import draw_removal_study, write_removal_study
from gptfl.simulation.schedule import RunSchedule, recorded_schedule
from gptfl.simulation.simulator import FittedSimulator
from gptfl.studies.removal_curve import (
    DropPlan,
    DropPredictor,
    distinct_trainings,
    dropped_sets,
    plan_drops,
    sizes_of,
    whole_values,
)
from gptfl.studies.results import PredictedChange, RemovalStudy
from gptfl.studies.retraining import Retrainer


@takes(RemovalStudyOptions)
def removal_study(
    simulators: str | Path | Sequence[str | Path] = (),
    *groups: object,
    progress: Progress = silent,
    announce: Announce | None = None,
    **options: Any,
) -> RemovalStudy | None:
    """Leave out the most harmful, the most helpful and random rows, retrain on the rest, and compare with the whole pool.

    The removal curve by which rankings of training data are judged (Ghorbani & Zou, 2019; Park et al., 2023). Rows are
    ranked by the simulators (chosen as in ``rank``) for the test examples that ``on`` names, and every training is scored
    on the same. Each of ``sizes`` is left out in ``orders`` orders, by the recording's recipe and from its weights; in the
    places of the rows left out others come, and the whole pool is trained in the same orders. Beside each recorded change
    is what the simulator predicts of the very same batches. Trainings on the same rows are done once, and each is kept:
    the same call goes on where an interrupted one stopped. With ``dry_run`` it is None.

    Args:
        simulators: their files; with neither these nor ``estimators``, the one made last.
        groups: options in groups, such as ``gptfl.options.influence.StudyOptions(device="cpu")``.
        progress: called along the way.
        announce: called with the cost before the trainings start; ``dry_run=True`` stops there.
        options: those of ``gptfl removal-study`` (docs/cli.md) by name; ``sizes`` may be a sequence of numbers and shares
            such as ``"5%"``, ``on`` one of test ids.

    Raises ``TypeError`` for a name that is no option, ``UsageError`` for options that make no sense, and ``DataError``
    where the recording was imported, its model or texts can't be had, or an estimator can't rank.
    """
    all_options = make(RemovalStudyOptions, *groups, simulators=simulators or None, **options)
    return removal_study_with(all_options, progress=progress, announce=announce)


def removal_study_with(
    options: RemovalStudyOptions, *, progress: Progress = silent, announce: Announce | None = None
) -> RemovalStudy | None:
    """``removal_study`` with all options in one object."""
    ranked, study, inputs, seed = options.ranking, options.study, options.inputs, options.study.seed
    check_how(ranked.how)
    sources = open_sources(ranked, inputs)
    check_made_here(sources[0])
    recording, metric = sources[0].recording, sources[0].metric
    subject = influence_target(ranked.on, recording.dynamics)
    if subject.tests is None:
        raise UsageError("--on self names no test examples to score on", "use --on mean, test:ID or group:FILE")
    pool = len(recording.dynamics.pool)
    sizes = sizes_of(options.sizes, pool)
    target, picture = study_targets("removal-study", recording, study)
    runner = make_executor(recording.registry, study.executor, study.executor_set)
    recipe = recorded_schedule(recording.dynamics, metric)
    retrainer = _retrainer(sources[0], recipe, subject, options, progress)
    # A ranking doesn't change with the number of orders that are trained: more orders only add trainings.
    request = InfluenceRequest(subject, ranked.how, None, inputs.features, InfluenceOptions().orders, seed)
    rankings, notes = rankings_of(sources, request, progress)
    plans = plan_drops(rankings, sizes, options.random_sets, pool, seed)
    distinct = distinct_trainings(plans, options.orders)
    now = retrainer.carry_out(runner, distinct, "gptfl removal-study", announce, study.dry_run)
    if now is None:
        return None
    labels = tuple(ranking.label for ranking in rankings)
    named = dict(zip(labels, sources, strict=True))
    predicted, unpredicted = _predictions(named, retrainer, recipe, subject, plans, options.orders)
    whole = whole_values(retrainer, options.orders)
    found = RemovalStudy(
        recording=recording.path.name,
        metric=metric,
        on=subject.name,
        subject=subject.text,
        tests=len(subject.tests),
        pool=pool,
        rankings=labels,
        sizes=sizes,
        whole=whole,
        drops=tuple(dropped_sets(plan, retrainer, whole, known) for plan, known in zip(plans, predicted, strict=True)),
        steps=retrainer.steps,
        seed=seed,
        trained=len(distinct),
        trained_now=now,
        output=target,
        figure=picture,
        notes=(*notes, *unpredicted, *retrainer.notes),
    )
    return study_written(found, target, picture, study.figure, write_removal_study, draw_removal_study)


def _retrainer(
    source: FittedSimulator,
    recipe: RunSchedule,
    subject: InfluenceTarget,
    options: RemovalStudyOptions,
    progress: Progress,
) -> Retrainer:
    """What trains: of the metric predicted, on the test examples that rows are ranked for."""
    recording = source.recording
    pool, test = with_texts(recording, options.ranking.data)
    assert subject.tests is not None
    scored = tuple(test[place] for place in subject.tests)
    metric = make_metric(recording.registry, source.metric.name)
    metric.check(scored)
    retrainer = Retrainer(
        recording=recording,
        pool=pool,
        test=scored,
        metrics=(metric,),
        model=model_of(recording, options.study.model),
        device=options.study.device,
        steps=recipe.steps,
        batch_size=recipe.batch_size,
        seed=options.study.seed,
        path=recording.workspace.root / f"{recording.stem}.removal-study.jsonl",
        progress=progress,
    )
    check_rates(retrainer.recipe, recipe.learning_rates, recording.path, "its settings")
    return retrainer


def _predictions(
    sources: dict[str, FittedSimulator],
    retrainer: Retrainer,
    recipe: RunSchedule,
    subject: InfluenceTarget,
    plans: Sequence[DropPlan],
    orders: int,
) -> tuple[list[dict[str, PredictedChange]], tuple[str, ...]]:
    """Of each plan, what the simulator of its ranking says, of random sets what each does; and who can't say anything."""
    assert subject.tests is not None
    found: list[dict[str, PredictedChange]] = [{} for _ in plans]
    notes: list[str] = []
    for label, source in sources.items():
        predictor = DropPredictor.of(source, recipe, retrainer, subject.tests, orders)
        if isinstance(predictor, str):
            notes.append(predictor)
            continue
        for plan, known in zip(plans, found, strict=True):
            if plan.ranking in (None, label):
                known[label] = predictor.predict(plan)
    return found, tuple(notes)
