"""Selects the training examples that are predicted to be best to train on."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from gptfl.curricula import check_seed
from gptfl.errors import DataError, UsageError
from gptfl.records import Classes, Features, Prediction, Progress, classes_of, silent, user_path
from gptfl.report.selection import Selection, write_ids
from gptfl.stages.asking import Source, open_source
from gptfl.stages.closed_form import WIDTH, vectors_of
from gptfl.stages.exchanging import SEARCH, Start, exchanged
from gptfl.stages.influence import Subject, Told, subject_of, tell
from gptfl.stages.keeping import Keeping
from gptfl.stages.outcome import Reference
from gptfl.stages.picking import Wish, pick, rooms_of
from gptfl.stages.plausible import novelty_note, share_note
from gptfl.stages.questions import AS_RECORDED, Asked, against_average, ask_subset
from gptfl.stages.rank import check_options
from gptfl.stages.trust import held_out_trust
from gptfl.store.targets import check_plain_target
from gptfl.store.workspace import safe_name


def select(
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
    seed: int = 42,
    output: str | Path | None = None,
    progress: Progress = silent,
) -> Selection:
    """Choose ``size`` training examples with the best predicted effect on the metric of some test examples.

    ``on`` (``mean``, ``test:ID``, ``group:FILE`` or a sequence of test ids), ``how`` and ``orders`` say how influence
    is told, as in ``rank``. The examples of greatest influence are chosen first, as if effects added up;
    ``max_share_per_class`` bounds the share of any one class, ``diversity`` takes off what is like an example that was
    chosen before (see ``picking.pick``), ``cautious`` so many standard deviations. Then they are exchanged one by one
    for others as long as the simulator predicts a better outcome of the whole subset, for ``search`` predicted
    curricula (see ``exchanging.exchanged``). The ids go to ``output``, by default in the workspace, as ``simulate``, ``verify`` and
    their ``subset`` take them, and the result tells what the simulator predicts for training on all of them by the
    recording's recipe, the mean over ``orders`` random orders.

    Raises ``UsageError`` for options that make no sense, and ``DataError`` where files are missing or don't belong
    together, or the estimator can't tell what is asked.
    """
    check_seed(seed)
    check_options(how, orders)
    source = open_source(simulator, dynamics, workspace, estimator, metric, features)
    wish = Wish(size, max_share_per_class, diversity, cautious, search)
    subject = target_of(on, source, wish)
    target = _target(source, subject, wish, output)
    told, chosen = chosen_of(source, subject, wish, how, features, orders, seed, progress)
    asked = ask_subset(source, np.sort(np.array(chosen)), False, orders, seed, AS_RECORDED)
    prediction = source.ask(asked.query)
    selection = _summarise(source, subject, wish, told, chosen, asked, prediction, target)
    keeping = Keeping(selection)
    keeping.write("output", lambda known: write_ids(known, target))
    return keeping.settled()


def target_of(on: str | Sequence[str], source: Source, wish: Wish) -> Subject:
    """What is to become better. Raises ``UsageError`` and ``DataError`` as ``subject_of`` and ``Wish.check`` do."""
    wish.check(len(source.scope.pool))
    subject = subject_of(on, source.recording.dynamics)
    if subject.itself:
        raise UsageError("--on self names no test examples to train for", "use --on mean, test:ID or group:FILE")
    return subject


def chosen_of(
    source: Source,
    subject: Subject,
    wish: Wish,
    how: str | None,
    features: str | Path | Features | None,
    orders: int,
    seed: int,
    progress: Progress,
) -> tuple[Told, list[int]]:
    """The influence of every example and the places of those chosen: the greatest first, then exchanged."""
    rooms = rooms_of(source.scope.pool, wish)
    name = source.found.estimator
    if wish.diversity and source.found.features is None:
        raise DataError(
            f"--diversity {wish.diversity:g} goes by features, and {name} was fitted without any",
            "leave it out, or use an estimator that is fitted to features",
        )
    told = tell(source, subject, how, None, features, orders, seed, progress)
    if wish.cautious and told.spread is None:
        raise DataError(
            f"--cautious {wish.cautious:g}: {name} doesn't say how sure it is of an influence (--how {told.how})",
            "leave it out, or use an estimator that tells influence in closed form, such as exposure-gp",
        )
    worth = told.influence if told.spread is None else told.influence - wish.cautious * told.spread
    penalty = wish.diversity * float(worth.std())
    if not wish.diversity:
        chosen = pick(worth, 0.0, wish, rooms, None)
        return exchanged(source, subject, wish, rooms, told, Start(chosen, worth), None, seed, progress)
    with vectors_of(source, features) as vectors:
        chosen = pick(worth, penalty, wish, rooms, vectors)
        return exchanged(source, subject, wish, rooms, told, Start(chosen, worth, penalty), vectors, seed, progress)


def _target(source: Source, subject: Subject, wish: Wish, output: str | Path | None) -> Path:
    name = f"{source.recording.stem}.{source.found.estimator}.{source.metric.name}.{safe_name(subject.name)}"
    own = source.recording.workspace.root / f"{name}.{wish.size}.ids.txt"
    path = own if output is None else user_path(output)
    if path.suffix.lower() != ".txt":
        raise UsageError(f"--output {path} is not a .txt file", "end it in .txt")
    check_plain_target(path, "--output")
    return path


def _summarise(
    source: Source,
    subject: Subject,
    wish: Wish,
    told: Told,
    chosen: list[int],
    asked: Asked,
    prediction: Prediction,
    target: Path,
) -> Selection:
    average: Reference = against_average(source, asked)
    influence = told.influence[chosen]
    half = None if told.spread is None else WIDTH * told.spread[chosen]
    tests = slice(None) if subject.tests is None else subject.tests
    trust = held_out_trust(source)
    names, classes = Classes(source.scope.pool), classes_of(source.scope.pool)
    return Selection(
        recording=source.recording.path.name,
        estimator=source.found.estimator,
        metric=source.metric,
        on=subject.name,
        subject=subject.text,
        how=told.how,
        pool=len(source.scope.pool),
        examples=tuple(source.scope.pool[place] for place in chosen),
        influence=influence,
        low=None if half is None else influence - half,
        high=None if half is None else influence + half,
        step=int(asked.query.steps[-1]),
        predicted=float(prediction.values[:, -1, tests].mean()),
        reference=float(average.final[tests].mean()),
        intervals={
            level: (float(low[:, -1, tests].mean()), float(high[:, -1, tests].mean()))
            for level, (low, high) in sorted(prediction.intervals.items())
            # Of what is 0 or 1 a mean of bounds says nothing of the mean.
            if not source.recording.dynamics.is_binary(source.metric)
        },
        orders=len(asked.labels),
        simulator=source.path,
        output=target,
        notes=(
            *source.notes,
            *source.recording.notes,
            *told.notes,
            *asked.notes,
            *average.notes,
            *share_note(source.world, asked.query.batches),
            *novelty_note(prediction.novelty),
            f"trust in {source.found.estimator}: {trust.text}",
        ),
        wish=asdict(wish),
        class_names=() if classes is None else tuple(names.name(classes[place]) for place in chosen),
    )
