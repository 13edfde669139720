"""Selects the training examples that are predicted to be best to train on."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gptfl.core import Progress, silent, user_path
from gptfl.core.curriculum import check_seed
from gptfl.errors import UsageError
from gptfl.influence.greedy import SelectionSpec
from gptfl.influence.rank import check_options
from gptfl.influence.select import select_from
from gptfl.influence.selection import Selection, target_of
from gptfl.influence.subset_search import SEARCH
from gptfl.influence.targets import InfluenceTarget
from gptfl.report.selection import write_ids
from gptfl.simulation.simulator import FittedSimulator, open_fitted
from gptfl.store.outputs import ResultWriter, check_plain_target
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
    chosen before (see ``select_greedily``), ``cautious`` so many standard deviations. Then they are exchanged one by one
    for others as long as the simulator predicts a better outcome of the whole subset, for ``search`` predicted
    curricula (see ``improve_by_swaps``). The ids go to ``output``, by default in the workspace, as ``simulate``, ``verify`` and
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
    selection = select_from(source, subject, wish, how, features, orders, seed, progress)
    keeping = ResultWriter(replace(selection, output=target))
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
