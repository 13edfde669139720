"""The executor gptfl brings: runs one after another in this process."""

from collections.abc import Callable, Iterable, Iterator

from gptfl.core import Run
from gptfl.plugins.interfaces import Plan, Trainer


class Local:
    """Carries out the runs one after another, with one model in memory."""

    name = "local"

    def execute(
        self, make_trainer: Callable[[], Trainer], plans: Iterable[Plan], on_step: Callable[[int, int, int], None]
    ) -> Iterator[Run]:
        """Yield each run as soon as it is done, in the order of the plans."""
        trainer = make_trainer()
        for plan in plans:
            yield trainer.run(plan, lambda done, total, index=plan.index: on_step(index, done, total))  # type: ignore[misc]
