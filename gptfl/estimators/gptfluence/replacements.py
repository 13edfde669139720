"""Where runs end in which others take one member's places, without a roll-out of each.

A step of the recurrence is affine in the last scores, and its factors are sums over the batch. So what comes before, between
and after the places is the same for all who take them, and is composed once for each run: of each candidate no more than
its inner products with the test examples is needed, and as many steps as hold the places.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from gptfl.errors import DataError
from gptfl.estimators.gptfluence.affine import Passage, passage
from gptfl.estimators.gptfluence.asked import AskedRuns
from gptfl.estimators.gptfluence.pool_rows import PoolProjection
from gptfl.estimators.gptfluence.recurrence import factors
from gptfl.estimators.gptfluence.replaced_places import Share, places_of

NUMBERS = 2**19
"""Inner products of so many pairs of a candidate and a test example are held at once (4 MB for each factor)."""
LARGEST = float(np.finfo(np.float32).max)
"""A roll-out is in single precision."""


@dataclass(frozen=True, slots=True)
class Presentation:
    """A step of the recurrence that holds the places: what all others add to its factors, and what comes after it.

    The last scores are multiplied by the alphas and ``scale``, and the last one by ``keep`` beside (see ``UpdateRule``).
    """

    others: Float[Tensor, "factor test"]
    share: Share
    scale: float
    keep: float
    after: Passage

    def factors(
        self, pulls: Float[Tensor, "factor ..."], relative: Float[Tensor, " row"] | None, at: Tensor, paired: bool
    ) -> Float[Tensor, "factor ..."]:
        """Alphas and beta with each candidate.

        Args:
            pulls: the candidates' inner products with test examples.
            relative: how much each candidate counts in the loss of a batch, None where all count alike.
            at: places of the test examples.
            paired: whether each candidate meets all of them, and not just the one beside it.
        """
        own, beside = self.share.of(relative)
        found = pulls * (own[:, None] if paired and own.ndim else own)
        found += self.others[:, None, at] if paired else self.others[:, at]
        if beside is not None:
            among = self.share.beside[:, :, at]
            found += torch.einsum("rs,fst->frt" if paired else "rs,fsr->fr", beside, among)
        return found

    def mean_factors(
        self, pulls: Float[Tensor, "factor test"], relative: Float[Tensor, " row"] | None
    ) -> Float[Tensor, "factor test"]:
        """The mean of alphas and beta over some candidates, given the mean of what they pull, each by what it counts."""
        _, beside = self.share.of(relative)
        found = self.others + pulls
        return found if beside is None else found + torch.einsum("s,fst->ft", beside.mean(dim=0), self.share.beside)


@dataclass(frozen=True, slots=True)
class ReplacedRun:
    """A run but for the places: the scores that it comes to before them, latest first, and the steps that hold them."""

    begin: Float[Tensor, "order test"]
    presentations: Sequence[Presentation]

    def end(self, each: Iterable[Float[Tensor, "factor ..."]], at: Tensor | slice) -> Float[Tensor, "*pair"]:
        """The last score of test examples ``at``, given the factors of each step that holds the places."""
        past: list[Tensor] = list(self.begin[:, at])
        for step, factor in zip(self.presentations, each, strict=True):
            moved = factor[0] * past[0]
            for alpha, score in zip(factor[1:-1], past[1:], strict=True):
                moved = torch.addcmul(moved, alpha, score)
            moved = torch.add(factor[-1], moved, alpha=step.scale)
            if step.keep:
                moved = torch.add(moved, past[0], alpha=step.keep)
            past = step.after.carry([moved, *past[:-1]], at)
        return past[0]


@dataclass(frozen=True, slots=True)
class Replacements:
    """Some runs in which candidates take one member's places (``ReplacementForm``)."""

    asked: AskedRuns
    courses: Sequence[ReplacedRun]

    def on_target(
        self,
        candidates: Int[np.ndarray, " candidate"],
        rows: Sequence[Int[np.ndarray, " row"]],
        weights: Float[np.ndarray, " test"],
    ) -> Sequence[Float[np.ndarray, " row"]]:
        """For each run, a weighted sum of the test examples' values with each candidate."""
        at = np.flatnonzero(weights)
        share = torch.from_numpy(weights[at]).double()
        found = [np.empty(len(one)) for one in rows]
        for run, where, values in self._pairs(candidates, rows, torch.from_numpy(at)):
            found[run][where] = (values @ share).numpy()
        return found

    def on_own(
        self,
        candidates: Int[np.ndarray, " candidate"],
        rows: Sequence[Int[np.ndarray, " row"]],
        tests: Int[np.ndarray, " candidate"],
    ) -> Sequence[Float[np.ndarray, " row"]]:
        """For each run, the value with each candidate of the test example that ``tests`` names for it."""
        with torch.inference_mode():
            projected, found = self._projected(candidates), []
            pulls = (projected * self.asked.test[:, tests]).sum(dim=-1).double()
            for course, chosen in zip(self.courses, rows, strict=True):
                at, relative = torch.from_numpy(tests[chosen]), self._relative(candidates[chosen])
                own = pulls[:, chosen]
                each = (step.factors(own, relative, at, paired=False) for step in course.presentations)
                found.append(self._known(course.end(each, at).expand(len(chosen))).numpy())
        return found

    def totals(
        self, candidates: Int[np.ndarray, " candidate"], rows: Sequence[Int[np.ndarray, " row"]]
    ) -> Float[np.ndarray, "run test"]:
        """For each run, every test example's values with each candidate, added up."""
        every = torch.arange(self.asked.test.shape[1])
        found = np.zeros((len(rows), len(every)))
        alone = [run for run, course in enumerate(self.courses) if len(course.presentations) == 1 and len(rows[run])]
        # A score is affine in the factors of one step, so that the mean of both goes together.
        with torch.inference_mode():
            mean = torch.zeros(len(alone), len(candidates), dtype=torch.float64)
            for one, run in zip(mean, alone, strict=True):
                own, _ = self.courses[run].presentations[0].share.of(self._relative(candidates[rows[run]]))
                one[torch.from_numpy(rows[run])] = own / len(rows[run])
            projected = (mean @ self._projected(candidates).double()).to(self.asked.test.dtype)
            pulls = (projected @ self.asked.test.transpose(1, 2)).double()
            for place, run in enumerate(alone):
                course, relative = self.courses[run], self._relative(candidates[rows[run]])
                factor = course.presentations[0].mean_factors(pulls[:, place], relative)
                found[run] = len(rows[run]) * self._known(course.end([factor], every)).numpy()
        left = [one[:0] if run in alone else one for run, one in enumerate(rows)]
        for run, _, values in self._pairs(candidates, left, every):
            found[run] += values.sum(dim=0).numpy()
        return found

    def _pairs(
        self, candidates: Int[np.ndarray, " candidate"], rows: Sequence[Int[np.ndarray, " row"]], at: Tensor
    ) -> Iterator[tuple[int, slice, Float[Tensor, "row chosen"]]]:
        """Values at the end of each run for all pairs, some candidates at a time; the slice is that of the run's rows."""
        if not any(map(len, rows)):
            return
        size = max(1, NUMBERS // max(1, len(at)))
        with torch.inference_mode():
            projected, theirs = self._projected(candidates), self.asked.test[:, at].transpose(1, 2)
            for begin in range(0, len(candidates), size):
                pulls = (projected[:, begin : begin + size] @ theirs).double()
                for run, (course, chosen) in enumerate(zip(self.courses, rows, strict=True)):
                    where = slice(*np.searchsorted(chosen, [begin, begin + size]).tolist())
                    names = chosen[where]
                    if not len(names):
                        continue
                    own = pulls if len(names) == pulls.shape[1] else pulls[:, names - begin]
                    relative = self._relative(candidates[names])
                    each = (step.factors(own, relative, at, paired=True) for step in course.presentations)
                    yield run, where, self._known(course.end(each, at).expand(len(names), len(at)))

    def _projected(self, candidates: Int[np.ndarray, " candidate"]) -> Float[Tensor, "factor candidate width"]:
        train = self.asked.train
        return train.at(candidates) if isinstance(train, PoolProjection) else train[:, candidates]

    def _relative(self, candidates: Int[np.ndarray, " candidate"]) -> Float[Tensor, " candidate"] | None:
        relative = self.asked.law.relative
        return None if relative is None else torch.from_numpy(relative[candidates])

    def _known(self, values: Float[Tensor, "*pair"]) -> Float[Tensor, "*pair"]:
        """Values on the metric's scale. Raises ``DataError`` where a roll-out would leave the range of numbers."""
        if len(values) and not bool(values.abs().max() <= LARGEST):
            raise DataError(
                f"a roll-out with another example in the places of one leaves the range of numbers by step "
                f"{int(self.asked.query.steps[-1])}",
                "it is too unlike the recorded runs for this simulator: use another estimator",
            )
        return values * self.asked.scale


def replacements_of(asked: AskedRuns, replaced: Int[np.ndarray, " run"]) -> Replacements | None:
    """What others do in the places of one example of each run of a question.

    None where there is no such form: a run takes no step, or some examples count for nothing.
    Raises ``DataError`` for batches that fit neither the pool nor the steps.
    """
    law, query, test = asked.law, asked.query, asked.test
    if asked.stays or (law.relative is not None and (law.batch is None or (law.relative <= 0).any())):
        return None
    with torch.inference_mode():
        counts = law.counts(query.batches, query.learning_rates, query.steps, asked.train.shape[1])
        runs, intervals = len(query.batches), len(query.steps) - 1
        motion = law.motion(counts, torch.float64).view(runs, intervals)
        places = places_of(asked, counts, replaced)
        sums = [one.view(runs, intervals, -1) for one in factors(asked.train, test, places.others)]
        courses = []
        for run in range(runs):
            factor = torch.stack([one[run] for one in sums]).double()
            if asked.push is not None:
                factor[-1] += asked.push[run if len(asked.push) > 1 else 0]
            scale = motion.scale[run].tolist()
            keep = [0.0] * intervals if motion.keep is None else motion.keep[run].tolist()
            idle = motion.idle[run].tolist()
            held = sorted(places.shares[run])
            spans = zip([-1, *held], [*held, intervals], strict=True)
            passages = [passage(factor, scale, keep, idle, left + 1, right) for left, right in spans]
            first = torch.from_numpy(np.array(asked.first[run])).double()
            begin = passages[0].carry([first] * (len(factor) - 1), slice(None))
            steps = [
                Presentation(factor[:, at], places.shares[run][at], scale[at], keep[at], after)
                for at, after in zip(held, passages[1:], strict=True)
            ]
            courses.append(ReplacedRun(torch.stack(begin), steps))
    return Replacements(asked, courses)
