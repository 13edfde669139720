"""``gptfl simulate``."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gptfl.cli import console
from gptfl.cli.choosing import ASKED, Batches, BatchSize, Drop, Epochs, Orders, Rate, Steps, Subset
from gptfl.cli.numbers import seed_check
from gptfl.cli.options import FILES, PRECISE, RESULT, Dynamics, Metric, Workspace, complete, complete_model
from gptfl.cli.plugins import warn_of_problems
from gptfl.cli.tables import show_table

if TYPE_CHECKING:
    from gptfl.simulation.outcome import Simulation


NEW = "Examples that the recording lacks"


def command(
    subset: Subset = None,
    drop: Drop = None,
    curriculum: Batches = None,
    against: Annotated[
        Path | None,
        typer.Option(
            help="File of pool ids to compare with.", show_default="the average recorded run", rich_help_panel=ASKED
        ),
    ] = None,
    observe: Annotated[
        Path | None,
        typer.Option(
            help="JSON lines of scores recorded of this very run so far, with step, id and value; goes on from there.",
            show_default=False,
            rich_help_panel=ASKED,
        ),
    ] = None,
    orders: Orders = 1,
    epochs: Epochs = None,
    steps: Steps = None,
    batch_size: BatchSize = None,
    lr: Rate = None,
    new_train: Annotated[
        Path | None,
        typer.Option(
            help="JSON lines of new training examples, which --subset, --drop and --curriculum may then name.",
            show_default=False,
            rich_help_panel=NEW,
        ),
    ] = None,
    new_test: Annotated[
        Path | None,
        typer.Option(
            help="JSON lines of new test examples, with their first scores in the field 'first'.",
            show_default=False,
            rich_help_panel=NEW,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="The recorded model, to measure first scores that --new-test doesn't give.",
            show_default=False,
            autocompletion=complete_model,
            rich_help_panel=NEW,
        ),
    ] = None,
    estimator: Annotated[
        str | None,
        typer.Option(
            help="Ask the simulator of this estimator.",
            show_default="the one fitted last",
            autocompletion=complete("estimator"),
        ),
    ] = None,
    metric: Metric = None,
    seed: Annotated[int, typer.Option(callback=seed_check, help="Seed of the orders.", rich_help_panel=PRECISE)] = 42,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.", rich_help_panel=RESULT)] = False,
    simulator: Annotated[
        Path | None,
        typer.Option(help="Simulator file to use.", show_default="the one made last", rich_help_panel=FILES),
    ] = None,
    dynamics: Dynamics = None,
    features: Annotated[
        Path | None,
        typer.Option(
            help="Features file that the simulator was fitted on; read only for unseen examples.",
            show_default="in the workspace",
            rich_help_panel=FILES,
        ),
    ] = None,
    workspace: Workspace = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Predictions file to write.", show_default="in the workspace", rich_help_panel=FILES),
    ] = None,
    figure: Annotated[
        Path | None, typer.Option(help="Picture to write.", show_default="beside it", rich_help_panel=FILES)
    ] = None,
) -> None:
    """Predict what training on other examples, or in another order, would have done.

    Without --subset, --drop or --curriculum it predicts the recording's held-out runs.
    A file of ids holds one id a line; what follows # is a comment. `gptfl inspect RECORDING --examples` lists ids.

    Example: `gptfl simulate --subset ids.txt --orders 8`
    """
    from gptfl.api.simulate import simulate
    from gptfl.report.simulation import to_dict

    warn_of_problems()
    with console.progress_bar() as progress:
        result, error = console.outcome(
            simulate,
            simulator,
            dynamics=dynamics,
            workspace=workspace,
            subset=subset,
            drop=drop,
            curriculum=curriculum,
            orders=orders,
            epochs=epochs,
            steps=steps,
            batch_size=batch_size,
            lr=lr,
            against=against,
            observe=observe,
            new_train=new_train,
            new_test=new_test,
            model=model,
            features=features,
            metric=metric,
            estimator=estimator,
            seed=seed,
            output=output,
            figure=figure,
            progress=progress,
        )
    if as_json:
        for text in result.notes:
            console.note(text)
        console.say_json(to_dict(result))
    else:
        show(result)
        asked: dict[str, object] = {
            "--subset": subset,
            "--drop": drop,
            "--curriculum": curriculum,
            "--orders": orders if orders > 1 else None,
        }
        asked |= {"--epochs": epochs, "--steps": steps, "--batch-size": batch_size, "--lr": lr}
        console.say(f"next: {_next(asked, result.imported or new_train is not None)}")
    console.settle(result.unkept, error)


def _next(asked: Mapping[str, object], untrainable: bool) -> str:
    """What to run next: the training of what was simulated, where it can be trained and its file read again."""
    given = {flag: value for flag, value in asked.items() if value is not None}
    files = [value for value in given.values() if isinstance(value, Path)]
    if not files:
        return "gptfl simulate --subset ids.txt"
    if untrainable or not all(file.expanduser().is_file() for file in files):
        return "gptfl rank"
    words = [console.quoted(value) if isinstance(value, Path) else f"{value:g}" for value in given.values()]
    return " ".join(("gptfl verify", *(word for pair in zip(given, words, strict=True) for word in pair)))


def show(result: "Simulation") -> None:
    """Print what a simulation came to."""
    from gptfl.report.simulation import direction, simulation_table

    for text in result.notes:
        console.note(text)
    name = result.metric.name
    of = "1 curriculum" if len(result.labels) == 1 else f"{len(result.labels)} curricula"
    console.say(f"Simulated {result.what} ({of}) by {result.estimator}, {name} at step {result.steps[-1]}")
    at = "" if result.reference.step == result.steps[-1] else f" at step {result.reference.step}"
    spread = "" if math.isnan(result.mean_spread) else f" ± {result.mean_spread:.3g} over curricula"
    pairs = {"predicted": f"{result.mean_final:.4g}{spread}, mean of {len(result.tests)} test examples"}
    if result.mean_recorded is not None:
        pairs["recorded"] = "–" if math.isnan(result.mean_recorded) else f"{result.mean_recorded:.4g}"
    pairs["against"] = f"{result.mean_reference:.4g}, {result.reference.what}{at}"
    pairs["change"] = f"{result.mean_change:+.4g} ({direction(result)})"
    if result.recorded is not None:
        pairs["trust"] = result.trust
    for group in result.groups:
        pairs[group.name] = f"MSE {group.mse:.3g}, final ρ {group.rho:.3f}, of {group.count} test examples"
    console.show_pairs(pairs)
    show_table(simulation_table(result))
    console.say_paths(predictions=result.predictions, picture=result.figure)
