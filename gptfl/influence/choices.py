"""What ``gptfl select`` chooses: a subset, a frontier between two sides, or a mixture of groups."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gptfl.core import Features, Progress
from gptfl.errors import UsageError
from gptfl.influence.frontier import POINTS, Frontier, frontier_from
from gptfl.influence.greedy import SelectionSpec
from gptfl.influence.mixture import MixtureSelection, mixture_from
from gptfl.influence.select import select_from
from gptfl.influence.selection import Selection, spec_of, target_of
from gptfl.influence.targets import InfluenceTarget, check_how, kept_target
from gptfl.options.influence import SelectOptions
from gptfl.simulation.simulator import FittedSimulator


@dataclass(frozen=True, slots=True)
class Choice:
    """What is to be chosen, read and checked: for ``subject``, and where there are two sides without harm to ``keep``."""

    options: SelectOptions
    spec: SelectionSpec
    subject: InfluenceTarget
    keep: InfluenceTarget | None

    @classmethod
    def of(cls, options: SelectOptions, source: FittedSimulator) -> "Choice":
        """Read what options say. Raises ``UsageError`` for options that don't go together, ``DataError`` for unknown ids."""
        selection = options.selection
        check_how(selection.how)
        _check_together(options)
        spec = spec_of(options, source)
        subject = target_of(selection.on, source, spec)
        keep = None
        if options.keep is not None:
            keep = kept_target(options.keep, subject, source.recording.dynamics)
        return cls(options, spec, subject, keep)

    @property
    def kind(self) -> str:
        """What the names of its files say of it, beside the target and the size."""
        if self.options.by is not None:
            return f"by-{self.options.by}"
        return "" if self.keep is None else f"keep-{self.keep.name}"


def _check_together(options: SelectOptions) -> None:
    """Raise ``UsageError`` for options that don't go together."""
    selection = options.selection
    if options.by is not None and options.keep is not None:
        raise UsageError("--by and --keep were given together", "choose shares of groups, or rows for two sides")
    if options.keep is None:
        _lacks({"frontier": options.frontier, "point": options.point}, "--keep")
    if options.by is not None:
        others = {
            "--how": selection.how,
            "--diversity": selection.diversity or None,
        }
        for flag, value in others.items():
            if value is not None:
                raise UsageError(
                    f"{flag} {value} is about rows, and --by chooses shares of groups", f"leave {flag} out"
                )


def _lacks(given: Mapping[str, object], flag: str) -> None:
    for name, value in given.items():
        if value is not None:
            raise UsageError(f"is {value}, without {flag}", f"give {flag} with it", option=name)


def choose(
    source: FittedSimulator, choice: Choice, features: str | Path | Features | None, progress: Progress
) -> Selection | Frontier | MixtureSelection:
    """What is chosen; nothing is written.

    Args:
        source: the simulator.
        choice: what to choose, as ``Choice.of`` read it.
        features: the vectors, or their file; None for those in the workspace.
        progress: called along the way.

    Raises ``DataError`` where the estimator can't tell what is asked, ``UsageError`` where the criteria don't go together.
    """
    options, selection = choice.options, choice.options.selection
    if options.by is not None:
        return mixture_from(source, choice.subject, options.by, choice.spec, options.seed, progress)
    if choice.keep is not None:
        return frontier_from(
            source,
            choice.subject,
            choice.keep,
            choice.spec,
            points=options.frontier or POINTS,
            point=options.point,
            how=selection.how,
            features=features,
            orders=selection.orders,
            seed=options.seed,
            progress=progress,
        )
    return select_from(
        source,
        choice.subject,
        spec=choice.spec,
        how=selection.how,
        features=features if not isinstance(features, Features) else None,
        orders=selection.orders,
        seed=options.seed,
        progress=progress,
    )
