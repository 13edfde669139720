"""Retrains after correcting the labels that an order of checking comes to first, to see what that order is worth."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from gptfl.core import Progress, silent, user_path
from gptfl.core.curriculum import RunStream, check_seed, count_steps, generator, run_seed
from gptfl.errors import DataError, UsageError
from gptfl.influence.rank import InfluenceRequest, check_options, open_sources, rankings_of, suspicion
from gptfl.influence.self_influence import measure_initial_metrics
from gptfl.influence.targets import influence_target
from gptfl.plugins.guards import make_executor, make_metric
from gptfl.plugins.registry import get_registry
from gptfl.recording.cost import Announce
from gptfl.recording.recording import OpenedRecording, with_texts
from gptfl.recording.trainers import model_of
from gptfl.report.pictures import check_picture
from gptfl.report.ranking import check_table
from gptfl.report.relabel import PERFECT_ORDER, RANDOM_ORDER, draw_study, write_study
from gptfl.store.outputs import ResultWriter, check_plain_target
from gptfl.studies.results import RelabelStudy
from gptfl.studies.retraining import Retrainer, Training, orders_of
from gptfl.tasks.label_noise import flipped_of

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5)
METRICS = ("accuracy", "loss")


def relabel_study(
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
    shares: Sequence[float] = SHARES,
    repeats: int = 3,
    epochs: float | None = None,
    steps: int | None = None,
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
) -> RelabelStudy | None:
    """Correct the first ``shares`` of the pool in several orders, and retrain on the whole pool after each.

    The orders are the rankings of the simulators (chosen, as are ``on``, ``how`` and ``orders``, as in ``rank``),
    a random one and a perfect one. Model and recipe are the recording's, from the same weights, for as many passes
    over the pool as its runs made over their subsets, unless ``epochs`` or ``steps`` say otherwise. Each of
    ``repeats`` shuffles the batches anew, the same for all orders. Trainings on the same labels are done once, and
    each is kept: the same call goes on where an interrupted one stopped. ``announce`` gets the cost first;
    ``dry_run`` stops there and returns None.

    Raises ``UsageError`` for options that make no sense, and ``DataError`` where no label of the recording is
    flipped, its model or texts can't be had, or an estimator can't answer.
    """
    check_seed(seed)
    check_options(how, orders)
    points = _check_shares(shares)
    if repeats < 1:
        raise UsageError(f"--repeats is {repeats}", "give 1 or more")
    sources = open_sources(simulators, estimators, dynamics, workspace, metric, features)
    recording = sources[0].recording
    flipped = flipped_of(recording.dynamics.pool)
    if not flipped.any():
        raise DataError(
            f"{recording.path} has no flipped labels to correct", "record with gptfl collect --flip-labels 0.4"
        )
    target, picture = _targets(recording, output, figure)
    runner = make_executor(get_registry(), executor)
    retrainer = _retrainer(recording, model, data, device, epochs, steps, seed, progress)
    subject = influence_target(on, recording.dynamics)
    own = measure_initial_metrics(recording, sources[0].metric, None, None, progress)
    rankings, notes = rankings_of(sources, InfluenceRequest(subject, how, own, features, orders, seed), progress)
    suspicions = {ranking.label: suspicion(ranking, subject) for ranking in rankings}
    suspicions |= {RANDOM_ORDER: np.zeros(len(flipped)), PERFECT_ORDER: flipped.astype(np.float64)}
    trainings = _trainings(suspicions, flipped, points, repeats, seed)
    distinct = list(dict.fromkeys(training for one in trainings.values() for row in one for training in row))
    retrainer.open()
    if announce is not None:
        announce(retrainer.estimate(distinct))
    if dry_run:
        return None
    with recording.workspace.lock("gptfl relabel-study"):
        now = retrainer.carry_out(runner, distinct)
    names = [metric.info.name for metric in retrainer.metrics]
    values = {
        name: np.array([[[retrainer.result(t)[name] for t in row] for row in one] for one in trainings.values()])
        for name in names
    }
    found = np.array([[[len(t.corrected) for t in row] for row in one] for one in trainings.values()]) / flipped.sum()
    study = RelabelStudy(
        recording=recording.path.name,
        on=subject.name,
        orders=tuple(trainings),
        shares=points,
        found=found,
        values=values,
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
    keeping = ResultWriter(study)
    keeping.draw("figure", lambda known: draw_study(known, picture), asked=figure is not None)
    keeping.write("output", lambda known: write_study(known, target))
    return keeping.settled()


def _check_shares(shares: Sequence[float]) -> tuple[float, ...]:
    """The shares in ascending order, with 0 and 1 at the ends."""
    for share in shares:
        if not (math.isfinite(share) and 0 <= share <= 1):
            raise UsageError(f"--shares has {share:g}", "give shares of the pool from 0 to 1, such as 0.1,0.2,0.4")
    return tuple(sorted({0.0, 1.0, *map(float, shares)}))


def _targets(recording: OpenedRecording, output: str | Path | None, figure: str | Path | None) -> tuple[Path, Path]:
    name = f"{recording.stem}.relabel-study"
    target = recording.workspace.root / f"{name}.json" if output is None else user_path(output)
    picture = recording.workspace.root / f"{name}.png" if figure is None else user_path(figure)
    check_table(target)
    if target.suffix.lower() != ".json":
        raise UsageError(f"--output {target} is not a .json file", "end it in .json")
    check_picture(picture)
    check_plain_target(target, "--output")
    check_plain_target(picture, "--figure")
    return target, picture


def _retrainer(
    recording: OpenedRecording,
    model: str | None,
    data: str | Path | None,
    device: str,
    epochs: float | None,
    steps: int | None,
    seed: int,
    progress: Progress,
) -> Retrainer:
    pool, test = with_texts(recording.dynamics, data, recording.path)
    chosen = tuple(make_metric(get_registry(), name) for name in METRICS)
    for metric in chosen:
        metric.check(test)
    batch_size, total = _length(recording, len(pool), epochs, steps)
    kept = recording.workspace.root / f"{recording.stem}.relabel-study.jsonl"
    name = model_of(recording, model)
    return Retrainer(recording, pool, test, chosen, name, device, total, batch_size, seed, kept, progress)


def _length(recording: OpenedRecording, pool: int, epochs: float | None, steps: int | None) -> tuple[int, int]:
    """Examples a step, and steps: as many passes over the pool as recorded runs made over their subsets."""
    if epochs is not None and steps is not None:
        raise UsageError("--epochs and --steps both say how long to train", "give one of them")
    for flag, value in (("--epochs", epochs), ("--steps", steps)):
        if value is not None and not 0 < value < math.inf:
            raise UsageError(f"{flag} is {value}", "give a positive number")
    settings = recording.dynamics.settings
    missing = [name for name in ("batch_size", "steps", "subset_size") if name not in settings]
    if missing:
        raise DataError(f"{recording.path} doesn't say its {missing[0]}", "use a recording that gptfl collect made")
    batch_size, subset = settings.batch_size, settings.subset_size
    if steps is None:
        passes = settings.steps * batch_size / subset if epochs is None else epochs
        steps = count_steps(pool, batch_size, passes)
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
