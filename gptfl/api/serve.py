"""Shows the page of a recording in a browser of this machine, and answers what it asks."""

import contextlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from gptfl.api.page_parts import PageForm, gathered, opened_for_page
from gptfl.api.page_server import PageServer
from gptfl.core import Progress, silent
from gptfl.core.linear_form import LinearForm
from gptfl.errors import DataError, UsageError
from gptfl.options.base import make
from gptfl.options.report import ServeOptions
from gptfl.options.signature import takes
from gptfl.report.page.arrays import packed
from gptfl.report.page.content import LEVEL, RemoteForm
from gptfl.report.page.remote import RemotePage
from gptfl.simulation.counterfactual import AS_RECORDED, subset_request
from gptfl.simulation.forms import linear_form_of
from gptfl.simulation.outcome import mean_over
from gptfl.simulation.schedule import recorded_schedule
from gptfl.simulation.simulator import FittedSimulator

ORDERS = 4
"""In so many random orders an answer is simulated where the estimator can't tell the mean over all of them."""


@dataclass(frozen=True, slots=True)
class WhatIfAnswers:
    """Answers about subsets of the pool by a simulator.

    ``orders`` are the random orders of an answer, None for the mean over every order; ``form`` tells how sure changes of the
    mean are, where there is one.
    """

    source: FittedSimulator
    orders: int | None
    form: LinearForm | None
    seed: int

    @classmethod
    def of(cls, source: FittedSimulator, seed: int) -> "WhatIfAnswers":
        """By the means that a simulator has. Raises ``DataError`` where it can't answer at all."""
        every = source.named.estimator.tags.every_order
        recipe = recorded_schedule(source.recording.dynamics, source.metric)
        tests = len(source.scope.test)
        try:
            form = linear_form_of(source, np.full((1, tests), 1.0 / tests))
        except DataError:
            form = None
        answers = cls(source, None if every and recipe.allows_every_order else ORDERS, form, seed)
        # Asked once before anyone waits: what can't be answered has to be said now.
        answers.ends(np.arange(len(source.pool.places)))
        return answers

    @property
    def words(self) -> str:
        """What to know of the answers."""
        how = "the mean over every order" if self.orders is None else f"the mean over {self.orders} random orders"
        sure = "" if self.form is not None else " How sure a change of the mean is isn't told here."
        return f"It is {how}.{sure}"

    @property
    def remote(self) -> RemoteForm:
        """What the page has to know beforehand."""
        steps = recorded_schedule(self.source.recording.dynamics, self.source.metric).grid
        reach = 0.0 if self.form is None else self.form.intervals.reach.get(LEVEL, 0.0)
        return RemoteForm(steps, reach, bounds=reach > 0.0)

    def ends(self, members: Int[np.ndarray, " subset"]) -> float:
        """The mean over test examples at the last step."""
        return float(self._predicted(members)["values"][-1].mean())

    def __call__(self, on: Bool[np.ndarray, " pool"], other: Bool[np.ndarray, " pool"] | None) -> Mapping[str, Any]:
        """What training on a subset gives, and the end of the other that it is held against.

        Raises ``UsageError`` where the other is empty, ``DataError`` where the estimator can't answer.
        """
        members = np.flatnonzero(on)
        others = None if other is None else np.flatnonzero(other)
        if others is not None and not len(others):
            raise UsageError("the subset to compare with is empty", "switch on at least one example")
        if not len(members):
            return {"count": 0}
        found = self._predicted(members)
        values = found["values"]
        answer: dict[str, Any] = {
            "count": len(members),
            "values": packed(values),
            "mean": packed(values.mean(axis=1)),
            "low": None if found["low"] is None else packed(found["low"]),
            "high": None if found["high"] is None else packed(found["high"]),
            "novelty": found["novelty"],
            "meanSpread": None,
            "spread": None,
            "apart": 0.0,
            "than": None if others is None else self.ends(others),
        }
        if self.form is not None:
            covariance = self.form.joint_change(members, others).covariance
            answer |= {
                "meanSpread": packed(self.form.predict(members).spread),
                "spread": float(np.sqrt(covariance[0, 0])),
                "apart": float(self.form.breadth.apart(self.form.recipe, len(members))[-1]),
            }
        return answer

    def _predicted(self, members: Int[np.ndarray, " subset"]) -> dict[str, Any]:
        request = subset_request(self.source, members, False, self.orders, self.seed, AS_RECORDED)
        prediction = self.source.predict(request.query)
        low, high = prediction.intervals.get(LEVEL, (None, None))
        return {
            "values": mean_over(prediction.values),
            "low": None if low is None else mean_over(low),
            "high": None if high is None else mean_over(high),
            "novelty": None if prediction.novelty is None else float(prediction.novelty.mean()),
        }


@takes(ServeOptions)
def serve(
    port: int = 0,
    *groups: object,
    announce: Callable[[str, tuple[str, ...]], None] | None = None,
    progress: Progress = silent,
    **options: Any,
) -> int:
    """Show the page of a recording in a browser of this machine until Ctrl-C; returns how many subsets were asked about.

    Args:
        port: to listen on, 0 for any that is free.
        groups: options in groups, such as ``gptfl.options.simulation.SimulatorOptions(workspace="study")``.
        announce: called with the address and the notes, once it is there to be opened; None prints the address.
        progress: called along the way.
        options: those of ``gptfl serve`` (docs/cli.md) by name.

    Raises ``TypeError`` for a name that is no option, ``DataError`` where there is no recording or simulator, and
    ``ResourceError`` where the port can't be had.
    """
    with page_server(make(ServeOptions, *groups, port=port, **options), progress) as server:
        (announce or _say)(server.url, tuple(server.page.parts.notes))
        return answer_until_stopped(server)


def _say(url: str, notes: tuple[str, ...]) -> None:
    sys.stdout.write(f"{url}\n")
    sys.stdout.flush()


def answer_until_stopped(server: PageServer) -> int:
    """Answer until Ctrl-C; returns how many subsets were asked about."""
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()
    return server.answered


def page_server(options: ServeOptions, progress: Progress = silent) -> PageServer:
    """A server that listens, and answers once it is run.

    Args:
        options: what is shown, and on which port.
        progress: called while the page is made.

    Raises ``DataError`` where there is no recording or simulator, ``ResourceError`` where the port can't be had.
    """
    opened = opened_for_page(options)
    if opened[1] is None:
        raise DataError(
            "there is no simulator to ask", "gptfl featurize, then gptfl fit; or gptfl report for a page without"
        )
    answers = WhatIfAnswers.of(opened[1], options.seed)

    def form_of(_: FittedSimulator) -> PageForm:
        return answers.remote, answers.words

    found = gathered(options, opened, progress, form_of)
    page = RemotePage(replace(found.parts, command="gptfl serve"))
    return PageServer(page, answers, options.port)
