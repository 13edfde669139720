"""Selects the training examples that are predicted to be best to train on."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from gptfl.api.rank import check_options
from gptfl.core import Classes, Prediction, Progress, classes_of, silent, user_path
from gptfl.core.curriculum import check_seed
from gptfl.core.imported import is_imported
from gptfl.errors import UsageError
from gptfl.influence.closed_form import WIDTH
from gptfl.influence.greedy import SelectionSpec
from gptfl.influence.selection import Selection, chosen_of, target_of
from gptfl.influence.subset_search import SEARCH
from gptfl.influence.targets import Influence, InfluenceTarget
from gptfl.report.selection import write_ids
from gptfl.simulation.caveats import beyond_note, novelty_note, share_note
from gptfl.simulation.counterfactual import AS_RECORDED, SimulationRequest, ask_subset
from gptfl.simulation.outcome import Reference
from gptfl.simulation.reference import against_average, held_out_trust
from gptfl.simulation.simulator import FittedSimulator, open_fitted
from gptfl.store.outputs import ResultWriter, check_plain_target
from gptfl.store.workspace import safe_name

OPTIMISTIC = (
    "the predicted change is optimistic: these examples were chosen because it is large, and what is predicted too well "
    "is chosen first; gptfl verify tells what they come to"
)


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
    source = open_fitted(simulator, dynamics, workspace, estimator, metric, features)
    wish = SelectionSpec(size, max_share_per_class, diversity, cautious, search)
    subject = target_of(on, source, wish)
    target = _target(source, subject, wish, output)
    told, chosen = chosen_of(source, subject, wish, how, features, orders, seed, progress)
    asked = ask_subset(source, np.sort(np.array(chosen)), False, orders, seed, AS_RECORDED)
    prediction = source.ask(asked.query)
    selection = _summarise(source, subject, wish, told, chosen, asked, prediction, target)
    keeping = ResultWriter(selection)
    keeping.write("output", lambda known: write_ids(known, target))
    return keeping.settled()


def _target(source: FittedSimulator, subject: InfluenceTarget, wish: SelectionSpec, output: str | Path | None) -> Path:
    name = f"{source.recording.stem}.{source.found.estimator}.{source.metric.name}.{safe_name(subject.name)}"
    own = source.recording.workspace.root / f"{name}.{wish.size}.ids.txt"
    path = own if output is None else user_path(output)
    if path.suffix.lower() != ".txt":
        raise UsageError(f"--output {path} is not a .txt file", "end it in .txt")
    check_plain_target(path, "--output")
    return path


def _summarise(
    source: FittedSimulator,
    subject: InfluenceTarget,
    wish: SelectionSpec,
    told: Influence,
    chosen: list[int],
    asked: SimulationRequest,
    prediction: Prediction,
    target: Path,
) -> Selection:
    average: Reference = against_average(source, asked)
    influence = told.influence[chosen]
    half = None if told.spread is None else WIDTH * told.spread[chosen]
    tests = slice(None) if subject.tests is None else subject.tests
    trust = held_out_trust(source)
    names, classes = Classes(source.scope.pool), classes_of(source.scope.pool)
    final, step = prediction.values[:, -1, tests].mean(axis=0), int(asked.query.steps[-1])
    dynamics = source.recording.dynamics
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
        step=step,
        predicted=float(final.mean()),
        reference=float(average.final[tests].mean()),
        intervals={
            level: (float(low[:, -1, tests].mean()), float(high[:, -1, tests].mean()))
            for level, (low, high) in sorted(prediction.intervals.items())
            # Of what is 0 or 1 a mean of bounds says nothing of the mean.
            if not dynamics.is_binary(source.metric)
        },
        novelty=None if prediction.novelty is None else float(prediction.novelty.mean()),
        imported=is_imported(dynamics.settings),
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
            *beyond_note(final, dynamics, source.metric, step, tests),
            OPTIMISTIC,
            f"trust in {source.found.estimator}: {trust.text}",
        ),
        wish=asdict(wish),
        class_names=() if classes is None else tuple(names.name(classes[place]) for place in chosen),
    )
