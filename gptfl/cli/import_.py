"""``gptfl import``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gptfl.cli import console
from gptfl.cli.featurize import next_command
from gptfl.cli.numbers import positive
from gptfl.cli.options import FILES, Workspace, complete

if TYPE_CHECKING:
    from gptfl.interchange.import_recording import ImportResult


ADDED = "What the layout lacks"


def command(
    layout: Annotated[str, typer.Argument(help="Layout of the files: gptdynamics, that of the released recordings.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that holds a folder for each run.")],
    train_texts: Annotated[
        Path | None,
        typer.Option(
            help="JSON lines of id, input and, if known, target: the training examples.",
            show_default="DIR/train_texts.json",
        ),
    ] = None,
    test_texts: Annotated[
        Path | None,
        typer.Option(help="The same of the test examples.", show_default="DIR/test_texts.json"),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="Metric to import, such as loss, bleu or rougeL; may be given several times.",
            show_default="all that have files",
            autocompletion=complete("metric"),
        ),
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option(
            callback=positive, help="Peak learning rate of the runs.", show_default="not known", rich_help_panel=ADDED
        ),
    ] = None,
    schedule: Annotated[
        str | None,
        typer.Option(
            help="How the learning rate went on: linear (decay to 0) or constant.",
            show_default="linear, with --lr",
            rich_help_panel=ADDED,
        ),
    ] = None,
    sketches: Annotated[
        Path | None,
        typer.Option(
            help="NumPy archive (.npz) of gradient sketches, which become the features 'gradients'.",
            show_default=False,
            rich_help_panel=ADDED,
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the recording.", show_default="that of DIR", rich_help_panel=FILES)
    ] = None,
    workspace: Workspace = None,
) -> None:
    """Turn what others recorded into a recording that every other command takes; no model is needed.

    Repeated steps count as the last one says, missing ones stay open, and both are told.

    Example: `gptfl import gptdynamics runs/rte --train-texts rte-train.json --test-texts rte-test.json --lr 5e-7`
    """
    from gptfl.interchange.import_recording import import_

    with console.progress_bar() as progress:
        result = import_(
            layout,
            folder,
            train_texts=train_texts,
            test_texts=test_texts,
            metrics=tuple(dict.fromkeys(metric or ())),
            lr=lr,
            schedule=schedule,
            sketches=sketches,
            name=name,
            workspace=workspace,
            progress=progress,
        )
    for text in result.notes:
        console.note(text)
    _tell(result)
    # Imported sketches are features as they are.
    console.say(f"next: {next_command(sketched=False) if result.features is None else 'gptfl fit'}")


def _tell(result: "ImportResult") -> None:
    low, high = result.steps
    steps = f"{low}" if low == high else f"{low} to {high}"
    console.say(
        f"{result.path}: {result.runs} run{'' if result.runs == 1 else 's'} of {steps} steps, "
        f"scored from step {result.first_step}, {result.pool} training and {result.test} test examples"
    )
    rows = {}
    for metric, found in result.metrics.items():
        rows[metric] = (
            f"{found.scores:,} scores of {found.runs} runs, {found.missing:,} missing, {found.odd.repeats:,} repeated"
            + (f" ({found.odd.differing:,} with another value)" if found.odd.differing else "")
        )
    odd = result.batches
    rows["batches"] = f"{odd.repeats:,} repeated" + (
        f" ({odd.differing:,} with other examples)" if odd.differing else ""
    )
    console.show_pairs(rows)
    if result.features is not None:
        console.say(f"{result.features}: gradients, {', '.join(result.sets)}")
