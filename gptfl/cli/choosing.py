"""Options that say what a run that was never recorded trains on."""

from pathlib import Path
from typing import Annotated

import typer

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
Orders = Annotated[int, typer.Option(help="Random orders to average over.", metavar="K", rich_help_panel=ASKED)]
Epochs = Annotated[
    float | None,
    typer.Option(help="Passes over the subset.", show_default="as many steps as recorded", rich_help_panel=CHANGED),
]
Steps = Annotated[
    int | None, typer.Option(help="Optimiser steps.", show_default="as recorded", rich_help_panel=CHANGED)
]
BatchSize = Annotated[
    int | None, typer.Option(help="Examples a step.", show_default="as recorded", rich_help_panel=CHANGED)
]
Rate = Annotated[
    float | None, typer.Option(help="Peak learning rate.", show_default="as recorded", rich_help_panel=CHANGED)
]
