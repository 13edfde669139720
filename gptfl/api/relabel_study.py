"""Retrains after correcting the labels that an order of checking comes to first, to see what that order is worth."""

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from gptfl.api.writing import study_targets, study_written
from gptfl.core import Progress, silent
from gptfl.core.curriculum import RunStream, generator, run_seed
from gptfl.core.packing import Batching
from gptfl.errors import DataError, UsageError
from gptfl.influence.rank import InfluenceRequest, open_sources, rankings_of, suspicion
from gptfl.influence.self_influence import measure_initial_metrics
from gptfl.influence.targets import check_how, influence_target
from gptfl.options.base import make
from gptfl.options.influence import RelabelStudyOptions
from gptfl.options.signature import takes
from gptfl.plugins.guards import make_executor, make_metric
from gptfl.recording.cost import Announce
from gptfl.recording.recording import OpenedRecording, with_texts
from gptfl.recording.trainers import model_of
from gptfl.report.relabel import PERFECT_ORDER, RANDOM_ORDER, draw_study, write_study
from gptfl.simulation.schedule import batching_in
from gptfl.studies.results import RelabelStudy
from gptfl.studies.retraining import Retrainer, Training, orders_of
from gptfl.tasks.label_noise import flipped_of

METRICS = ("accuracy", "loss")


@takes(RelabelStudyOptions)
def relabel_study(
    simulators: str | Path | Sequence[str | Path] = (),
    *groups: object,
    progress: Progress = silent,
    announce: Announce | None = None,
    **options: Any,
) -> RelabelStudy | None:
    """Correct the first ``shares`` of the pool in several orders, and retrain on the whole pool after each.

    The orders are the rankings of the simulators (chosen as in ``rank``), a random one and a perfect one. Model and
    recipe are the recording's, from the same weights. Each of ``repeats`` shuffles the batches anew, the same for all
    orders. Trainings on the same labels are done once, and each is kept: the same call goes on where an interrupted one
    stopped. With ``dry_run`` it is None.

    Args:
        simulators: their files; with neither these nor ``estimators``, the one made last.
        groups: options in groups, such as ``gptfl.options.influence.StudyOptions(device="cpu")``.
        progress: called along the way.
        announce: called with the cost before the trainings start; ``dry_run=True`` stops there.
        options: those of ``gptfl relabel-study`` (docs/cli.md) by name; ``shares`` may be a sequence of numbers, ``on`` one
            of test ids.

    Raises ``TypeError`` for a name that is no option, ``UsageError`` for options that make no sense, and ``DataError``
    where no label of the recording is flipped, its model or texts can't be had, or an estimator can't answer.
    """
    all_options = make(RelabelStudyOptions, *groups, simulators=simulators or None, **options)
    return relabel_study_with(all_options, progress=progress, announce=announce)


def relabel_study_with(
    options: RelabelStudyOptions, *, progress: Progress = silent, announce: Announce | None = None
) -> RelabelStudy | None:
    """``relabel_study`` with all options in one object."""
    influence, study, inputs, seed = options.influence, options.study, options.inputs, options.study.seed
    check_how(influence.how)
    points = _shares(options.shares)
    sources = open_sources(influence, inputs)
    recording = sources[0].recording
    flipped = flipped_of(recording.dynamics.pool)
    if not flipped.any():
        raise DataError(
            f"{recording.path} has no flipped labels to correct", "record with gptfl collect --flip-labels 0.4"
        )
    target, picture = study_targets("relabel-study", recording, study)
    runner = make_executor(recording.registry, study.executor, study.executor_set)
    retrainer = _retrainer(recording, options, progress)
    subject = influence_target(influence.on, recording.dynamics)
    own = measure_initial_metrics(recording, sources[0].metric, None, None, progress)
    request = InfluenceRequest(subject, influence.how, own, inputs.features, influence.orders, seed, absent=True)
    rankings, notes = rankings_of(sources, request, progress)
    suspicions = {ranking.label: suspicion(ranking, subject) for ranking in rankings}
    suspicions |= {RANDOM_ORDER: np.zeros(len(flipped)), PERFECT_ORDER: flipped.astype(np.float64)}
    trainings = _trainings(suspicions, flipped, points, options.repeats, seed)
    distinct = list(dict.fromkeys(training for one in trainings.values() for row in one for training in row))
    now = retrainer.carry_out(runner, distinct, "gptfl relabel-study", announce, study.dry_run)
    if now is None:
        return None
    result = RelabelStudy(
        recording=recording.path.name,
        on=subject.name,
        orders=tuple(trainings),
        shares=points,
        found=_found_shares(trainings, flipped),
        values=_measured_values(trainings, retrainer),
        metrics={metric.info.name: metric.info for metric in retrainer.metrics},
        flips=int(flipped.sum()),
        pool=len(flipped),
        test=len(recording.dynamics.test),
        steps=retrainer.steps,
        trained=len(distinct),
        trained_now=now,
        output=target,
        figure=picture,
        notes=(*notes, *retrainer.notes),
    )
    return study_written(result, target, picture, study.figure, write_study, draw_study)


def _found_shares(trainings: Mapping[str, list[list[Training]]], flipped: np.ndarray) -> np.ndarray:
    """[order share repeat] The share of all flipped labels that were corrected before each training."""
    counts = [[[len(one.corrected) for one in row] for row in rows] for rows in trainings.values()]
    return np.asarray(np.array(counts) / flipped.sum())


def _measured_values(trainings: Mapping[str, list[list[Training]]], retrainer: Retrainer) -> dict[str, np.ndarray]:
    """By metric, what each training came to [order share repeat]."""
    results = [[[retrainer.result(one) for one in row] for row in rows] for rows in trainings.values()]
    return {
        metric.info.name: np.array([[[one[metric.info.name] for one in row] for row in rows] for rows in results])
        for metric in retrainer.metrics
    }


def _shares(given: str | Sequence[float]) -> tuple[float, ...]:
    """The shares in ascending order, with 0 and 1 at the ends."""
    shares = _numbers(given) if isinstance(given, str) else given
    for share in shares:
        if not (isinstance(share, Real) and math.isfinite(share) and 0 <= share <= 1):
            text = f"{share:g}" if isinstance(share, Real) else repr(share)
            raise UsageError(f"--shares has {text}", "give shares of the pool from 0 to 1, such as 0.1,0.2,0.4")
    return tuple(sorted({0.0, 1.0, *map(float, shares)}))


def _numbers(text: str) -> list[float]:
    numbers = []
    for piece in text.split(","):
        try:
            numbers.append(float(piece))
        except ValueError:
            raise UsageError(
                f"--shares {text!r}: {piece!r} is not a number", "give shares of the pool such as 0.1,0.2,0.4"
            ) from None
    return numbers


def _retrainer(recording: OpenedRecording, options: RelabelStudyOptions, progress: Progress) -> Retrainer:
    pool, test = with_texts(recording, options.influence.data)
    chosen = tuple(make_metric(recording.registry, name) for name in METRICS)
    for metric in chosen:
        metric.check(test)
    batch_size, total = _length(recording, len(pool), options.epochs, options.steps)
    kept = recording.workspace.root / f"{recording.stem}.relabel-study.jsonl"
    device, seed = options.study.device, options.study.seed
    name = model_of(recording, options.study.model)
    return Retrainer(
        recording=recording,
        pool=pool,
        test=test,
        metrics=chosen,
        model=name,
        device=device,
        steps=total,
        batch_size=batch_size,
        seed=seed,
        path=kept,
        progress=progress,
    )


def _length(recording: OpenedRecording, pool: int, epochs: float | None, steps: int | None) -> tuple[int, int]:
    """Examples a step, and steps: as many passes over the pool as recorded runs made over their subsets."""
    if epochs is not None and steps is not None:
        raise UsageError("--epochs and --steps both say how long to train", "give one of them")
    settings = recording.dynamics.settings
    missing = [name for name in ("batch_size", "steps", "subset_size") if name not in settings]
    if missing:
        raise DataError(f"{recording.path} doesn't say its {missing[0]}", "use a recording that gptfl collect made")
    batch_size, subset = settings.batch_size, settings.subset_size
    if steps is None:
        batching = batching_in(recording.dynamics)
        seen = np.mean([(run.curriculum.batches >= 0).sum() for run in recording.dynamics.runs]) if batching else None
        passes = (settings.steps * batch_size if seen is None else seen) / subset if epochs is None else epochs
        steps = (batching or Batching(batch_size)).steps(np.arange(pool), float(passes))
    return batch_size, steps


def _trainings(
    suspicions: Mapping[str, np.ndarray], flipped: np.ndarray, shares: Sequence[float], repeats: int, seed: int
) -> dict[str, list[list[Training]]]:
    """For each order of checking and each share, the training of each repeat."""
    found: dict[str, list[list[Training]]] = {name: [[] for _ in shares] for name in suspicions}
    for repeat in range(repeats):
        shuffle = generator(run_seed(seed, repeat), RunStream.CHECKING_ORDER).permutation(len(flipped))
        for name, order in orders_of(suspicions, shuffle).items():
            for row, share in zip(found[name], shares, strict=True):
                checked = order[: round(share * len(order))]
                row.append(Training(repeat, tuple(sorted(int(place) for place in checked[flipped[checked]]))))
    return found
