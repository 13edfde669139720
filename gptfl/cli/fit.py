"""``gptfl fit``."""

from pathlib import Path
from typing import Annotated

import typer

from gptfl.cli import console
from gptfl.cli.options import FILES, Dynamics, Encoder, Features, Metric, Seed, Settings, Workspace, complete
from gptfl.cli.plugins import warn_of_problems


def command(
    estimator: Annotated[
        str, typer.Option(help="What to fit (see gptfl plugins).", autocompletion=complete("estimator"))
    ] = "gptfluence",
    metric: Metric = None,
    encoder: Encoder = None,
    settings: Settings = None,
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
    from gptfl.stages.fit import fit

    warn_of_problems()
    with console.progress_bar() as progress:
        result = fit(
            estimator,
            dynamics=dynamics,
            features=features,
            workspace=workspace,
            encoder=encoder,
            metric=metric,
            settings=console.parse_settings(settings),
            seed=seed,
            output=output,
            progress=progress,
        )
    for text in result.notes:
        console.note(text)
    runs = f"{result.fit_runs} runs" + (f" and {result.validation_runs} to validate" if result.validation_runs else "")
    on = f" on features by {result.encoder}" if result.encoder else ""
    took = console.human_seconds(result.seconds)
    console.say(f"{result.path}: {result.estimator} of the {result.metric}, fitted to {runs}{on} in {took}")
    console.say("next: gptfl simulate --subset ids.txt, or gptfl compare")
