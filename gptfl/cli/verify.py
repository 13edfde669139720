"""``gptfl verify``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gptfl.cli import console
from gptfl.cli.choosing import Batches, BatchSize, Drop, Epochs, Orders, Rate, Steps, Subset
from gptfl.cli.numbers import seed_check
from gptfl.cli.options import FILES, PRECISE, RESULT, Dynamics, Metric, Workspace, complete, complete_model
from gptfl.cli.plugins import warn_of_problems
from gptfl.cli.rank import Data, Device
from gptfl.cli.tables import show_table

if TYPE_CHECKING:
    from gptfl.evaluation.verification import Verification
    from gptfl.recording.cost import CostEstimate


def command(
    subset: Subset = None,
    drop: Drop = None,
    curriculum: Batches = None,
    orders: Orders = 1,
    epochs: Epochs = None,
    steps: Steps = None,
    batch_size: BatchSize = None,
    lr: Rate = None,
    estimator: Annotated[
        str | None,
        typer.Option(
            help="Verify the simulator of this estimator.",
            show_default="the one fitted last",
            autocompletion=complete("estimator"),
        ),
    ] = None,
    metric: Metric = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what the training will take, and stop.")] = False,
    model: Annotated[
        str | None,
        typer.Option(
            help="Name or folder of the recorded model.",
            show_default="as the recording says",
            autocompletion=complete_model,
            rich_help_panel=FILES,
        ),
    ] = None,
    data: Data = None,
    device: Device = "auto",
    executor: Annotated[
        str,
        typer.Option(
            help="What carries out the trainings: local is this machine (see gptfl plugins).",
            autocompletion=complete("executor"),
            rich_help_panel=PRECISE,
        ),
    ] = "local",
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
        typer.Option(
            help="JSON file of the numbers, the trained trajectories among them.",
            show_default="in the workspace",
            rich_help_panel=FILES,
        ),
    ] = None,
    figure: Annotated[
        Path | None, typer.Option(help="Picture to write.", show_default="beside it", rich_help_panel=FILES)
    ] = None,
) -> None:
    """Predict a run that was never made, then make it, and show how far the prediction was right.

    What to train on is said as for `gptfl simulate`; the model is trained by the recording's own settings.

    Example: `gptfl verify --subset ids.txt`
    """
    from gptfl.api.verify import verify

    warn_of_problems()
    with console.progress_bar() as progress:
        found, error = console.outcome(
            verify,
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
            features=features,
            metric=metric,
            estimator=estimator,
            model=model,
            data=data,
            device=device,
            executor=executor,
            seed=seed,
            dry_run=dry_run,
            output=output,
            figure=figure,
            progress=progress,
            announce=None if as_json and not dry_run else _announce,
        )
    if found is None:
        console.say("Nothing was trained (--dry-run).")
        return
    for text in found.notes:
        console.note(text)
    show(found, as_json)
    console.settle(found.unkept, error)


def show(found: "Verification", as_json: bool) -> None:
    """Print how far a prediction was right."""
    from gptfl.report.calibration import percent
    from gptfl.report.verification import to_json, verification_table

    if as_json:
        console.say(to_json(found).rstrip("\n"))
        return
    name = found.metric.name
    of = "1 training" if len(found.labels) == 1 else f"{len(found.labels)} trainings"
    took = console.human_seconds(found.seconds)
    console.say(f"Trained on {found.what} ({of}, {took}), {name} at step {found.steps[found.last]}")
    predicted, recorded, reference = ("–" if mean is None else f"{mean:.4g}" for mean in found.means())
    pairs = {
        "predicted": f"{predicted} by {found.estimator}, mean of {len(found.tests)} test examples",
        "recorded": recorded,
        "average run": reference,
        "MSE": f"{found.mse:.3g}, over all steps after the first",
        "final ρ": f"{found.rho:.3f}, across test examples",
    }
    if found.binary:
        pairs["MSE"] += f"; the Brier score of the probabilities of {name} 1"
    if found.skill is not None:
        pairs["skill"] = f"{found.skill:.2f} (0: as good as the average run, 1: perfect)"
    for level, one in found.coverage.items():
        pairs[f"inside {percent(level)}"] = f"{percent(one.share)} of {one.points} recorded points"
    console.show_pairs(pairs)
    show_table(verification_table(found))
    console.say_paths(numbers=found.output, picture=found.figure)
    console.say("next: gptfl rank")


def _announce(plan: "CostEstimate") -> None:
    of = "1 training" if plan.runs == 1 else f"{plan.runs} trainings"
    console.say("Plan")
    console.show_pairs(
        {
            "to train": f"{of} of {plan.steps} steps of {plan.batch_size}, measured {plan.recorded} times on "
            f"{plan.test} test examples",
            "training": f"{console.human_count(plan.trained_parameters)} of {console.human_count(plan.parameters)} "
            f"parameters, lr {plan.learning_rate:g}, {plan.precision} on {plan.device}",
            "time": f"about {console.human_seconds(plan.seconds)} ({console.human_seconds(plan.seconds_per_step)} a step)",
            "memory": f"about {console.human_bytes(plan.memory_bytes)} and activations",
        }
    )
