"""``gptfl relabel-study``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gptfl.cli import console
from gptfl.cli.numbers import at_least, positive, seed_check
from gptfl.cli.options import FILES, PRECISE, RESULT, Dynamics, Features, Metric, Workspace, complete, complete_model
from gptfl.cli.plugins import warn_of_problems
from gptfl.cli.rank import Data, Device, Estimators, How, On, Orders, Simulators
from gptfl.cli.tables import show_table
from gptfl.errors import UsageError

if TYPE_CHECKING:
    from gptfl.recording.cost import CostEstimate
    from gptfl.studies.results import RelabelStudy


TRAINED = "Trainings"


def command(
    estimator: Estimators = None,
    metric: Metric = None,
    on: On = "mean",
    how: How = None,
    orders: Orders = 4,
    shares: Annotated[
        str,
        typer.Option(
            help="Shares of the pool to check and correct, beside none and all of it.",
            metavar="S,S,…",
            rich_help_panel=TRAINED,
        ),
    ] = "0.1,0.2,0.3,0.4,0.5",
    repeats: Annotated[
        int,
        typer.Option(
            callback=at_least(1, "give 1 or more"),
            help="Trainings a point, each in another order.",
            rich_help_panel=TRAINED,
        ),
    ] = 3,
    epochs: Annotated[
        float | None,
        typer.Option(
            callback=positive,
            help="Passes over the pool.",
            show_default="as recorded runs over their subsets",
            rich_help_panel=TRAINED,
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            callback=positive, help="Optimiser steps, instead of --epochs.", show_default=False, rich_help_panel=TRAINED
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Model to train.",
            show_default="the recording's",
            autocompletion=complete_model,
            rich_help_panel=TRAINED,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the cost, train nothing.", rich_help_panel=TRAINED)
    ] = False,
    executor: Annotated[
        str,
        typer.Option(
            help="What carries out the trainings: local is this machine (see gptfl plugins).",
            autocompletion=complete("executor"),
            rich_help_panel=PRECISE,
        ),
    ] = "local",
    device: Device = "auto",
    data: Data = None,
    seed: Annotated[
        int, typer.Option(callback=seed_check, help="Seed of everything random.", rich_help_panel=PRECISE)
    ] = 42,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.", rich_help_panel=RESULT)] = False,
    simulator: Simulators = None,
    dynamics: Dynamics = None,
    features: Features = None,
    workspace: Workspace = None,
    output: Annotated[
        Path | None,
        typer.Option(help="JSON file of the numbers.", show_default="in the workspace", rich_help_panel=FILES),
    ] = None,
    figure: Annotated[
        Path | None, typer.Option(help="Picture to write.", show_default="in the workspace", rich_help_panel=FILES)
    ] = None,
) -> None:
    """Retrain after correcting the labels that a ranking checks first, beside random and perfect order.

    Needs a recording with flipped labels (collect --flip-labels). Finished trainings are kept: an interrupted study
    goes on with the same command, and more shares or estimators add to what is there.

    Example: `gptfl relabel-study --estimator gptfluence --on self --shares 0.1,0.2,0.4 --repeats 3`
    """
    from gptfl.api.relabel_study import relabel_study

    chosen = _numbers(shares)
    warn_of_problems()
    with console.progress_bar() as progress:
        study, error = console.outcome(
            relabel_study,
            simulator or (),
            estimators=estimator or (),
            dynamics=dynamics,
            features=features,
            workspace=workspace,
            metric=metric,
            on=on,
            how=how,
            orders=orders,
            shares=chosen,
            repeats=repeats,
            epochs=epochs,
            steps=steps,
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
    if study is None:
        console.say("Nothing was trained (--dry-run).")
        return
    for text in study.notes:
        console.note(text)
    show(study, as_json)
    console.settle(study.unkept, error)


def show(study: "RelabelStudy", as_json: bool) -> None:
    """Print what a study came to."""
    from gptfl.report.relabel import study_table, to_json

    if as_json:
        console.say(to_json(study).rstrip("\n"))
        return
    console.say(
        f"{study.flips} of {study.pool} labels of {study.recording} are flipped; "
        f"{study.trained} trainings, {study.trained_now} of them new"
    )
    for metric in study.values:
        of = f"1 training, {study.test}" if study.repeats == 1 else f"{study.repeats} trainings, {study.test}"
        console.say(f"{metric} at step {study.steps} (mean of {of} test examples) by share checked and corrected")
        show_table(study_table(study, metric))
    console.say_paths(numbers=study.output, picture=study.figure)


def _numbers(text: str) -> list[float]:
    numbers = []
    for piece in text.split(","):
        try:
            numbers.append(float(piece))
        except ValueError:
            raise UsageError(
                f"--shares {text!r}: {piece!r} is not a number", "give shares of the pool such as 0.1,0.2,0.4"
            ) from None
    return numbers


def _announce(plan: "CostEstimate") -> None:
    kept = plan.runs - plan.runs_left
    console.say("Plan")
    console.show_pairs(
        {
            "trainings": f"{plan.runs}" + (f" ({kept} done already)" if kept else ""),
            "each": f"{plan.steps} steps of {plan.batch_size} over a pool of {plan.subset}, "
            f"measured twice on {plan.test} test examples",
            "training": f"{console.human_count(plan.trained_parameters)} of {console.human_count(plan.parameters)} "
            f"parameters, lr {plan.learning_rate:g}, {plan.precision} on {plan.device}",
            "time": f"about {console.human_seconds(plan.seconds)} ({console.human_seconds(plan.seconds_per_step)} a step)",
            "memory": f"about {console.human_bytes(plan.memory_bytes)} and activations",
        }
    )
