"""Records for ``gptfl doctor``, in two stages: what the first runs took says how many more fit into the budget."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from gptfl.api.doctor_plan import LEAST_RUNS, DoctorPlan, change_of, plan_for, replanned, room_left
from gptfl.core import Progress
from gptfl.options.base import make
from gptfl.options.doctor import DoctorOptions
from gptfl.options.recording import CollectOptions
from gptfl.recording.result import CollectResult
from gptfl.store.recordings import read_dynamics
from gptfl.store.workspace import Workspace

NAME = "doctor"


def collect_options(options: DoctorOptions, runs: int | None, root: Path, dry: bool) -> CollectOptions:
    """What ``gptfl collect`` would be asked for.

    Args:
        options: those of ``gptfl doctor``.
        runs: how many, None for the fewest.
        root: the workspace.
        dry: whether only to estimate.
    """
    reading = options.reading
    return make(
        CollectOptions,
        options.training,
        options.execution,
        model=options.model,
        train=options.train,
        eval=options.eval,
        fields=reading.fields,
        loss_on=reading.loss_on,
        chat_template=reading.chat_template,
        end_token=reading.end_token,
        pool=reading.pool,
        test=reading.test,
        few_runs=True,
        runs=runs,
        record_every=options.record_every,
        name=NAME,
        workspace=root,
        dry_run=dry,
    )


def first_plan(options: DoctorOptions, budget: float, space: Workspace, progress: Progress) -> DoctorPlan:
    """How much fits into the budget, by timed steps, or by what runs took that are recorded already.

    Args:
        options: those of ``gptfl doctor``.
        budget: in seconds.
        space: the workspace, maybe with runs of an interrupted call.
        progress: called along the way.

    Raises ``DataError`` where nothing fits, or the workspace has a recording of another recipe.
    """
    from gptfl.recording.collect import record

    found = record(collect_options(options, None, space.root, True), progress=progress)
    assert found.estimate is not None
    return plan_for(budget, found.estimate, *recorded_seconds(found.path))


def recorded_seconds(path: Path) -> tuple[int, float | None]:
    """How many runs are recorded, and the seconds that one took in the mean; None where no run tells."""
    if not path.exists():
        return 0, None
    runs = read_dynamics(path).runs
    known = [run.seconds for run in runs if run.seconds]
    return len(runs), sum(known) / len(known) if known else None


def record_in_stages(
    options: DoctorOptions,
    plan: DoctorPlan,
    budget: float,
    space: Workspace,
    began: float,
    settled: Callable[[DoctorPlan, str | None], None],
    progress: Progress,
) -> tuple[CollectResult, DoctorPlan]:
    """Record the fewest runs, plan anew by what they took, and record the others: what came of it, and the plan.

    A plan by measured runs is kept to.

    Args:
        options: those of ``gptfl doctor``.
        plan: the first one.
        budget: in seconds.
        space: the workspace.
        began: when the call did, on the clock of ``time.perf_counter``.
        settled: gets the new plan, and in a line what has changed, before the further runs.
        progress: called along the way.

    Raises as ``collect`` does.
    """
    from gptfl.recording.collect import record

    def up_to(runs: int) -> CollectResult:
        return record(collect_options(options, runs, space.root, False), progress=progress)

    if plan.measured:
        return up_to(plan.runs), plan
    before = time.perf_counter() - began
    first = up_to(LEAST_RUNS)
    done, seconds = recorded_seconds(first.path)
    room = room_left(budget, before, time.perf_counter() - began)
    # Where workers don't tell how long runs took, the timed steps are all that is known.
    now = replanned(plan, budget, room, seconds or plan.per_run, done)
    settled(now, change_of(plan, now, room, done))
    if now.runs <= done:
        return first, now
    more = up_to(now.runs)
    return replace(more, recorded_now=first.recorded_now + more.recorded_now), now
