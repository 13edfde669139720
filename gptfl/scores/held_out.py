"""The runs that estimators are scored on."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from gptfl.scores import pointwise
from gptfl.scores.removals import Removals
from gptfl.scores.sampling import Sampling


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The runs that test: what was recorded, and what the average training run predicts.

    ``folds`` numbers the fold that held each run out; ``mean_run`` is fitted on the training runs
    of that fold; ``steps`` is padded with -1 and the arrays with NaN where a run has fewer steps.
    ``tasks`` names the task of each test example of a mixture. ``given`` are recorded values that the estimators were
    told beside the first, NaN elsewhere; they are not among those ``recorded``, so that no score counts them.
    ``together`` numbers the groups of runs that belong together (``core.groups_of``), which the bootstrap draws as
    one; None where each run is its own. ``removals`` are the pairs among them that show what leaving a group of
    examples out changes, where there are some.
    """

    names: tuple[str, ...]
    tests: tuple[str, ...]
    folds: Int[np.ndarray, " run"]
    steps: Int[np.ndarray, "run recorded"]
    recorded: Float[np.ndarray, "run recorded test"]
    mean_run: Float[np.ndarray, "run recorded test"]
    tasks: tuple[str, ...] = ()
    given: Float[np.ndarray, "run recorded test"] | None = None
    together: Int[np.ndarray, " run"] | None = None
    removals: Removals | None = None

    def places(self) -> dict[str, Int[np.ndarray, " part"]]:
        """The places of each task's test examples, in order of first appearance; nothing outside a mixture."""
        own = np.array(self.tasks)
        return {task: np.flatnonzero(own == task) for task in dict.fromkeys(self.tasks)}

    def at(self, places: Int[np.ndarray, " part"]) -> "HeldOut":
        """The same runs with these test examples only."""
        return replace(
            self,
            tests=tuple(self.tests[place] for place in places),
            recorded=self.recorded[:, :, places],
            mean_run=self.mean_run[:, :, places],
            tasks=(),
            given=None if self.given is None else self.given[:, :, places],
        )

    @property
    def sampling(self) -> Sampling:
        """How the bootstrap draws these runs."""
        units = np.arange(len(self.names)) if self.together is None else self.together
        return Sampling(units, self.peers, len(self.tests), self._shared_orders(units))

    def _shared_orders(self, units: Int[np.ndarray, " run"]) -> Int[np.ndarray, " run"] | None:
        """The number of each run's order; None unless each is shared by groups of runs, and there are two or more."""
        if self.removals is None:
            return None
        orders = np.arange(len(units))
        orders[self.removals.pairs[:, 1]] = self.removals.pairs[:, 2]
        # The runs of a leave-out pair are of one order, too, but of one group.
        groups = [len(np.unique(units[orders == order])) for order in np.unique(orders)]
        return orders if len(groups) > 1 and min(groups) > 1 else None

    @property
    def independent(self) -> int:
        """How many groups of runs there are, which is how many runs where each is its own."""
        return len(np.unique(self.sampling.units))

    @property
    def peers(self) -> Int[np.ndarray, " run"]:
        """Numbers the groups that LDS compares within: runs of the same fold that end at the same step."""
        last = self.steps[np.arange(len(self.steps)), pointwise.final_rows(self.recorded)]
        return np.unique(np.stack([self.folds, last]), axis=1, return_inverse=True)[1].reshape(-1)
