"""``gptfl select-study``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gptfl.cli import console
from gptfl.cli.numbers import at_least, seed_check
from gptfl.cli.options import FILES, PRECISE, RESULT, Dynamics, Features, Metric, Workspace, complete, complete_model
from gptfl.cli.plugins import warn_of_problems
from gptfl.cli.rank import Data, Device, How
from gptfl.cli.select import Cautious, Diversity, Estimator, MaxShare, On, Orders, Search, Simulator, Size
from gptfl.cli.tables import show_table

if TYPE_CHECKING:
    from gptfl.recording.cost import CostEstimate
    from gptfl.studies.results import SelectionStudy


TRAINED = "Trainings"
FEW = "give 2 or more: the spread tells what a difference is worth"


def command(
    size: Size,
    estimator: Estimator = None,
    metric: Metric = None,
    on: On = "mean",
    how: How = None,
    orders: Orders = 4,
    max_share_per_class: MaxShare = None,
    diversity: Diversity = 0.0,
    cautious: Cautious = 0.0,
    search: Search = None,
    rival: Annotated[
        list[str] | None,
        typer.Option(
            help="Also train on the examples of greatest influence by this estimator: NAME or NAME:SETTING=VALUE,...; "
            "may be given several times.",
            show_default="tracin-cp, where the recording has gradients",
            autocompletion=complete("estimator"),
            rich_help_panel=TRAINED,
        ),
    ] = None,
    random: Annotated[
        int,
        typer.Option(
            callback=at_least(2, FEW),
            help="Random subsets to train on once each.",
            metavar="K",
            rich_help_panel=TRAINED,
        ),
    ] = 10,
    repeats: Annotated[
        int,
        typer.Option(
            callback=at_least(2, FEW),
            help="Trainings on each selected subset, in other orders.",
            rich_help_panel=TRAINED,
        ),
    ] = 5,
    score_on: Annotated[
        int | None,
        typer.Option(
            callback=at_least(1),
            help="So many test examples, chosen by the seed, are kept from the selection and scored on.",
            metavar="N",
            show_default="half of them",
            rich_help_panel=TRAINED,
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
    simulator: Simulator = None,
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
    """Train on what gptfl select chooses, beside random subsets and TracIn's choice, to see what selecting is worth.

    Scored on test examples that are kept from the selection: estimators are fitted anew without them. Finished
    trainings are kept: an interrupted study goes on with the same command, and more repeats add to what is there.

    Example: `gptfl select-study --size 32 --max-share-per-class 0.5 --random 10 --repeats 5`
    """
    from gptfl.api.select_study import select_study
    from gptfl.influence.subset_search import SEARCH

    warn_of_problems()
    with console.progress_bar() as progress:
        study, error = console.outcome(
            select_study,
            size,
            simulator,
            dynamics=dynamics,
            features=features,
            workspace=workspace,
            metric=metric,
            estimator=estimator,
            on=on,
            how=how,
            orders=orders,
            max_share_per_class=max_share_per_class,
            diversity=diversity,
            cautious=cautious,
            search=SEARCH if search is None else search,
            rivals=rival,
            random_subsets=random,
            repeats=repeats,
            score_on=score_on,
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


def show(study: "SelectionStudy", as_json: bool) -> None:
    """Print what a study came to."""
    from gptfl.report.selection_study import selection_study_table, to_json

    if as_json:
        console.say(to_json(study).rstrip("\n"))
        return
    console.say(
        f"{study.size} training examples of {study.recording} selected for {study.asked} test examples and scored on "
        f"{len(study.scored)} others; {study.trained} trainings, {study.trained_now} of them new"
    )
    for metric in study.metrics:
        console.say(f"{metric} at step {study.steps}, differences with 95% intervals over trainings")
        show_table(selection_study_table(study, metric))
    console.say_paths(numbers=study.output, picture=study.figure)


def _announce(plan: "CostEstimate") -> None:
    kept = plan.runs - plan.runs_left
    console.say("Plan")
    console.show_pairs(
        {
            "trainings": f"{plan.runs}" + (f" ({kept} done already)" if kept else ""),
            "each": f"{plan.steps} steps of {plan.batch_size} over {plan.subset} examples, "
            f"measured twice on {plan.test} test examples",
            "training": f"{console.human_count(plan.trained_parameters)} of {console.human_count(plan.parameters)} "
            f"parameters, lr {plan.learning_rate:g}, {plan.precision} on {plan.device}",
            "time": f"about {console.human_seconds(plan.seconds)} ({console.human_seconds(plan.seconds_per_step)} a step)",
            "memory": f"about {console.human_bytes(plan.memory_bytes)} and activations",
        }
    )
