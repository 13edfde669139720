"""What a fitted estimator predicts at the end of any curriculum by one recipe, as a sum over what places in its batches hold.

To put one example into the places of another changes the sum by the difference of two of its terms, whatever else a run
sees. So many exchanges can be told at once, and none takes a prediction of the whole run.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from gptfl.core.curriculum import presentation_weights
from gptfl.core.links import Link
from gptfl.core.probability import probability

AT_ONCE = 1024
"""Effects of so many members are added up at once."""


@dataclass(frozen=True, slots=True)
class PresentationForm:
    """Predictions at the last step of runs by a recipe, on the even scale of ``link``: ``base`` plus a term for each presentation.

    An example seen at a step counts by its share of that step's size (``presentation_weights``), times ``channels``, which
    tell how what it does hangs on when it is seen. In each of ``row_channels`` that is its ``rows`` times ``columns``, in each
    of ``direct_channels`` its ``direct`` effects on the test examples. ``examples`` are the places in the pool that these
    arrays are of, ascending. ``trials`` is as in ``LinearForm``: more than 0 where what is recorded is 0 or 1.
    """

    link: Link
    trials: int
    learning_rates: Float[np.ndarray, " step"]
    examples: Int[np.ndarray, " example"]
    base: Float[np.ndarray, " test"]
    channels: Float[np.ndarray, "step channel"]
    row_channels: Int[np.ndarray, " row_channel"]
    rows: Float[np.ndarray, "example row_channel row"]
    columns: Float[np.ndarray, "row test"]
    direct_channels: Int[np.ndarray, " direct_channel"]
    direct: Float[np.ndarray, "example direct_channel test"]

    def counts(
        self, batches: Int[np.ndarray, "order step batch"], members: Int[np.ndarray, " member"]
    ) -> Float[np.ndarray, "order member channel"]:
        """How much the places of each member count in each channel; the batches hold members alone, and -1 as padding."""
        weights = presentation_weights(batches, np.broadcast_to(self.learning_rates, batches.shape[:2]))
        found = np.zeros((len(batches), len(members), self.channels.shape[1]))
        ascending = np.argsort(members)
        order, step, column = np.nonzero(batches >= 0)
        member = ascending[np.searchsorted(members[ascending], batches[order, step, column])]
        np.add.at(found, (order, member), weights[order, step][:, None] * self.channels[step])
        return found

    def effects(
        self, counts: Float[np.ndarray, "order channel"], rows: Int[np.ndarray, " some"]
    ) -> Float[np.ndarray, "order some test"]:
        """What some examples, by their places among ``examples``, would each do in places that count so much."""
        along = np.einsum("oc,ncr->onr", counts[:, self.row_channels], self.rows[rows], optimize=True)
        straight = np.einsum("oc,nct->ont", counts[:, self.direct_channels], self.direct[rows], optimize=True)
        return np.asarray(along @ self.columns + straight)

    def ends(
        self, counts: Float[np.ndarray, "order member channel"], rows: Int[np.ndarray, " member"]
    ) -> Float[np.ndarray, "order test"]:
        """Where runs end on the even scale whose members, by their places among ``examples``, count so much."""
        found = np.stack([self.base] * len(counts))
        for begin in range(0, len(rows), AT_ONCE):
            some, own = rows[begin : begin + AT_ONCE], counts[:, begin : begin + AT_ONCE]
            along = np.einsum("omc,mcr->or", own[:, :, self.row_channels], self.rows[some], optimize=True)
            found += along @ self.columns
            found += np.einsum("omc,mct->ot", own[:, :, self.direct_channels], self.direct[some], optimize=True)
        return found

    def along(self, slopes: Float[np.ndarray, "order test"]) -> Float[np.ndarray, "order example channel"]:
        """What each example does to a sum of the test examples with these weights, by what it counts in each channel."""
        found = np.zeros((len(slopes), len(self.examples), self.channels.shape[1]))
        for one, weights in zip(found, slopes, strict=True):
            one[:, self.row_channels] = self.rows @ (self.columns @ weights).astype(self.rows.dtype)
            one[:, self.direct_channels] += self.direct @ weights.astype(self.direct.dtype)
        return found

    def values(self, even: Float[np.ndarray, "*any test"]) -> Float[np.ndarray, "*any test"]:
        """The metric, from the even scale."""
        if not self.trials:
            return self.link.back(even)
        return probability(even, self.trials)

    def slopes(self, even: Float[np.ndarray, "*any test"]) -> Float[np.ndarray, "*any test"]:
        """How much the metric changes for a small change of the even scale."""
        if not self.trials:
            return np.asarray(1.0 / self.link.slope(self.link.back(even)))
        return np.full(even.shape, self.trials / (self.trials + 1.0))
