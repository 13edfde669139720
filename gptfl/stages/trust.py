"""Says how far to trust a simulator: its skill on the held-out runs of its recording."""

from dataclasses import dataclass

import numpy as np

from gptfl.builtin.baselines import average_run
from gptfl.errors import DataError
from gptfl.scores.pointwise import skill
from gptfl.simulator import average
from gptfl.stages.asking import Source
from gptfl.stages.splits import query_for, same_steps, stacked, stored_split, usable_runs


@dataclass(frozen=True, slots=True)
class Trust:
    """``skill`` on ``runs`` held-out runs, None where it can't be told; ``text`` says it."""

    skill: float | None
    runs: int
    text: str

    @property
    def note(self) -> str:
        """The line that a simulation of anything but the held-out runs ends with."""
        return f"trust: {self.text}; see gptfl compare --folds 4"


def held_out_trust(source: Source) -> Trust:
    """Roll the simulator out on the held-out runs, which it wasn't fitted to, and score it against the average run.

    As in ``gptfl compare`` on the recorded roles: all steps but the given first ones of every usable run. Steps at
    which the average run isn't known don't count.
    """
    split = stored_split(source.recording.dynamics.runs)
    runs, _ = usable_runs(split.test, source.metric)
    if not runs:
        return Trust(None, 0, "not known, for the recording has no held-out run")
    grid, mean = average_run(split.fit + split.validation, source.metric.name)
    predicted, recorded, means = [], [], []
    for group in same_steps(runs):
        members = [runs[place] for place in group]
        try:
            answer = source.ask(query_for(members, source.metric)).values
        except DataError as error:
            # Such as runs that reach beyond what an estimator can answer; the question asked may not.
            return Trust(None, len(runs), f"not known, for {source.found.estimator} can't answer them: {error.problem}")
        known = average.resample(grid, mean, members[0].steps)
        for run, values in zip(members, answer, strict=True):
            predicted.append(values)
            recorded.append(np.where(np.isfinite(known), run.metrics[source.metric.name], np.nan))
            means.append(known)
    found = skill(stacked(predicted), stacked(recorded), stacked(means))
    if not np.isfinite(found):
        return Trust(None, len(runs), "not known, for the held-out runs leave the average run no error")
    of = "held-out run" if len(runs) == 1 else f"{len(runs)} held-out runs"
    meaning = "below 0: worse than the average run" if found < 0 else "0: as good as the average run, 1: perfect"
    return Trust(found, len(runs), f"on the {of} this simulator has skill {found:.2f} ({meaning})")
