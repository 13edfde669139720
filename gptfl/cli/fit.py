"""``gptfl fit``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gptfl.cli import console
from gptfl.cli.options import (
    FILES,
    Dynamics,
    Encoder,
    Every,
    Features,
    KeepDiverged,
    Seed,
    Settings,
    Unseen,
    UnseenShare,
    Workspace,
    complete,
)
from gptfl.cli.plugins import warn_of_problems
from gptfl.errors import UsageError

if TYPE_CHECKING:
    from gptfl.simulation.fit import FitResult


def command(
    estimator: Annotated[
        str | None,
        typer.Option(
            help="What to fit (see gptfl plugins).",
            show_default="exposure-gp where there are gradient features, else gptfluence",
            autocompletion=complete("estimator"),
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="Recorded metric; several, given one by one, make a simulator each.",
            show_default="the only one, else loss",
            autocompletion=complete("metric"),
        ),
    ] = None,
    encoder: Encoder = None,
    settings: Settings = None,
    every: Every = 1,
    keep_diverged: KeepDiverged = False,
    unseen: Unseen = None,
    unseen_share: UnseenShare = None,
    seed: Seed = 42,
    dynamics: Dynamics = None,
    features: Features = None,
    workspace: Workspace = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Simulator file to write.", show_default="in the workspace", rich_help_panel=FILES),
    ] = None,
) -> None:
    """Learn a simulator from a recording's runs to fit; its test runs are not looked at.

    Example: `gptfl fit --estimator gptfluence --set order=2 --set projection=linear`
    """
    from gptfl.simulation.fit import fit

    warn_of_problems()
    chosen: list[str | None] = [*dict.fromkeys(metric or ())] or [None]
    if output is not None and len(chosen) > 1:
        raise UsageError(
            f"--output {output} names one file for {len(chosen)} metrics", "leave it out, or fit one metric"
        )
    for one in chosen:
        with console.progress_bar() as progress:
            result = fit(
                estimator,
                dynamics=dynamics,
                features=features,
                workspace=workspace,
                encoder=encoder,
                metric=one,
                settings=console.parse_settings(settings),
                every=every,
                keep_diverged=keep_diverged,
                unseen=unseen,
                unseen_share=unseen_share,
                seed=seed,
                output=output,
                progress=progress,
            )
        _show(result)
    console.say("next: gptfl simulate --subset ids.txt, or gptfl compare")


def _show(result: "FitResult") -> None:
    for text in result.notes:
        console.note(text)
    runs = f"{result.fit_runs} runs" + (f" and {result.validation_runs} to validate" if result.validation_runs else "")
    on = f" on features by {result.encoder}" if result.encoder else ""
    took = console.human_seconds(result.seconds)
    console.say(f"{result.path}: {result.estimator} of the {result.metric}, fitted to {runs}{on} in {took}")
