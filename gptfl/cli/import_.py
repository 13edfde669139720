"""``gptfl import``."""

from typing import TYPE_CHECKING

from gptfl.cli import console
from gptfl.cli.adapter import with_options
from gptfl.cli.featurize import next_command
from gptfl.options.interchange import ImportOptions

if TYPE_CHECKING:
    from gptfl.interchange.import_recording import ImportResult


@with_options(ImportOptions)
def command(options: ImportOptions) -> None:
    """Turn what others recorded into a recording that every other command takes; no model is needed.

    Repeated steps count as the last one says, missing ones stay open, and both are told.

    Example: `gptfl import gptdynamics runs/rte --train-texts rte-train.json --test-texts rte-test.json --lr 5e-7`
    """
    from gptfl.interchange.import_recording import import_with

    with console.progress_bar() as progress:
        result = import_with(options, progress=progress)
    for text in result.notes:
        console.note(text)
    _show(result)
    # Imported sketches are features as they are.
    console.say(f"next: {next_command(sketched=False) if result.features is None else 'gptfl fit'}")


def _show(result: "ImportResult") -> None:
    low, high = result.steps
    steps = f"{low}" if low == high else f"{low} to {high}"
    console.say(
        f"{result.path}: {result.runs} run{'' if result.runs == 1 else 's'} of {steps} steps, "
        f"scored from step {result.first_step}, {result.pool} training and {result.test} test examples"
    )
    rows = {}
    for metric, found in result.metrics.items():
        rows[metric] = (
            f"{found.scores:,} scores of {found.runs} runs, {found.missing:,} missing, {found.duplicates.repeats:,} repeated"
            + (f" ({found.duplicates.differing:,} with another value)" if found.duplicates.differing else "")
        )
    duplicates = result.batches
    rows["batches"] = f"{duplicates.repeats:,} repeated" + (
        f" ({duplicates.differing:,} with other examples)" if duplicates.differing else ""
    )
    console.show_pairs(rows)
    if result.features is not None:
        console.say(f"{result.features}: gradients, {', '.join(result.sets)}")
