"""Options that say what a run that was never recorded trains on."""

from pathlib import Path
from typing import Annotated

import typer

from gptfl.cli.numbers import at_least, positive

ASKED, CHANGED = "The run to predict", "Changes to the recorded recipe"

Subset = Annotated[
    Path | None,
    typer.Option(help="File of pool ids to train on, one a line.", show_default=False, rich_help_panel=ASKED),
]
Drop = Annotated[
    Path | None,
    typer.Option(help="File of pool ids to leave out of the whole pool.", show_default=False, rich_help_panel=ASKED),
]
Batches = Annotated[
    Path | None,
    typer.Option(help="File of batches, one JSON list of ids a line.", show_default=False, rich_help_panel=ASKED),
]
Orders = Annotated[
    int,
    typer.Option(
        callback=at_least(1, "give 1 or more"),
        help="Random orders to average over.",
        metavar="K",
        rich_help_panel=ASKED,
    ),
]
Epochs = Annotated[
    float | None,
    typer.Option(
        callback=positive,
        help="Passes over the subset.",
        show_default="as many steps as recorded",
        rich_help_panel=CHANGED,
    ),
]
Steps = Annotated[
    int | None,
    typer.Option(callback=positive, help="Optimiser steps.", show_default="as recorded", rich_help_panel=CHANGED),
]
BatchSize = Annotated[
    int | None,
    typer.Option(callback=positive, help="Examples a step.", show_default="as recorded", rich_help_panel=CHANGED),
]
Rate = Annotated[
    float | None,
    typer.Option(callback=positive, help="Peak learning rate.", show_default="as recorded", rich_help_panel=CHANGED),
]
