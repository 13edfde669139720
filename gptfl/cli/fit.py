"""``gptfl fit``."""

from dataclasses import replace
from typing import TYPE_CHECKING

from gptfl.cli import console
from gptfl.cli.adapter import with_options
from gptfl.errors import UsageError
from gptfl.options.simulation import FitOptions

if TYPE_CHECKING:
    from gptfl.simulation.fit import FitResult


@with_options(FitOptions)
def command(options: FitOptions) -> None:
    """Learn a simulator from a recording's runs to fit; its test runs are not looked at.

    Example: `gptfl fit --estimator gptfluence --set order=2 --set projection=linear`
    """
    from gptfl.simulation.fit import fit_with

    console.warn_of_problems()
    chosen: list[tuple[str, ...]] = [(one,) for one in dict.fromkeys(options.metrics)] or [()]
    if options.output is not None and len(chosen) > 1:
        raise UsageError(
            f"--output {options.output} names one file for {len(chosen)} metrics", "leave it out, or fit one metric"
        )
    for one in chosen:
        with console.progress_bar() as progress:
            result = fit_with(replace(options, metrics=one), progress=progress)
        _show(result)
    console.say("next: gptfl simulate --subset ids.txt, or gptfl compare")


def _show(result: "FitResult") -> None:
    from gptfl.core.texts import counted

    for text in result.notes:
        console.note(text)
    runs = counted(result.fit_runs, "run") + (
        f" and {result.validation_runs} to validate" if result.validation_runs else ""
    )
    on = f" on features by {result.encoder}" if result.encoder else ""
    took = console.human_seconds(result.seconds)
    console.say(f"{result.path}: {result.estimator} of the {result.metric}, fitted to {runs}{on} in {took}")
