"""``gptfl rank``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gptfl.cli import console
from gptfl.cli.numbers import at_least, seed_check
from gptfl.cli.options import FILES, PRECISE, RESULT, Dynamics, Features, Metric, Workspace, complete
from gptfl.cli.plugins import warn_of_problems
from gptfl.cli.tables import show_table
from gptfl.errors import UsageError

if TYPE_CHECKING:
    from gptfl.influence.ranking import RankResult


ASKED, OWN = "Which influence", "First scores, for --on self"
TOP = 10


def complete_on(incomplete: str) -> list[str]:
    """Shell completion over what influence can be told on."""
    return [word for word in ("mean", "self", "test:", "group:") if word.startswith(incomplete)]


def complete_how(incomplete: str) -> list[str]:
    """Shell completion over the ways to tell influence."""
    return [word for word in ("replace", "drop", "closed-form", "derivative") if word.startswith(incomplete)]


Estimators = Annotated[
    list[str] | None,
    typer.Option(
        "--estimator",
        help="Rank by the simulator of this estimator; may be given several times.",
        show_default="the one fitted last",
        autocompletion=complete("estimator"),
    ),
]
On = Annotated[
    str,
    typer.Option(
        help="Influence on what: mean (of all test examples), self (the example's own metric), test:ID, "
        "or group:FILE (test ids, one a line).",
        autocompletion=complete_on,
        rich_help_panel=ASKED,
    ),
]
How = Annotated[
    str | None,
    typer.Option(
        help="replace (simulate others in its place), drop (simulate without it), closed-form (as the estimator itself "
        "tells it, with an interval) or derivative (the same to first order, without one).",
        show_default="closed-form or derivative where there is one, else replace",
        autocompletion=complete_how,
        rich_help_panel=ASKED,
    ),
]
Orders = Annotated[
    int,
    typer.Option(
        callback=at_least(1, "give 1 or more"),
        help="Random runs that each example is tried in.",
        metavar="K",
        rich_help_panel=ASKED,
    ),
]
Simulators = Annotated[
    list[Path] | None,
    typer.Option(
        "--simulator",
        help="Simulator file to rank by; may be given several times.",
        show_default="the one made last",
        rich_help_panel=FILES,
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.", rich_help_panel=PRECISE)]
Data = Annotated[
    Path | None,
    typer.Option(help="Where the texts are, for a recording made with --no-texts.", show_default=False),
]


def command(
    estimator: Estimators = None,
    metric: Metric = None,
    on: On = "mean",
    how: How = None,
    orders: Orders = 4,
    top: Annotated[
        int | None,
        typer.Option(
            callback=at_least(1, "give 1 or more"),
            help="How many to show.",
            metavar="N",
            show_default="10, files all",
            rich_help_panel=RESULT,
        ),
    ] = None,
    harmful: Annotated[
        bool,
        typer.Option("--harmful", "--reverse", help="Most harmful (lowest influence) first.", rich_help_panel=RESULT),
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.", rich_help_panel=RESULT)] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.", rich_help_panel=RESULT)] = False,
    model: Annotated[
        str | None,
        typer.Option(
            help="Measure each training example's first score with the recording's model, and keep it.",
            show_default="as measured before, else the test examples' mean",
            rich_help_panel=OWN,
        ),
    ] = None,
    data: Data = None,
    seed: Annotated[
        int, typer.Option(callback=seed_check, help="Seed of the random runs.", rich_help_panel=PRECISE)
    ] = 42,
    simulator: Simulators = None,
    dynamics: Dynamics = None,
    features: Features = None,
    workspace: Workspace = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Also write the table to this .csv or .json file.", show_default=False, rich_help_panel=FILES
        ),
    ] = None,
    figure: Annotated[
        Path | None,
        typer.Option(
            help="Picture of how early flipped labels are found.",
            show_default="in the workspace, if labels were flipped",
            rich_help_panel=FILES,
        ),
    ] = None,
) -> None:
    """Order the training examples by influence; positive makes the metric better.

    For a recording with flipped labels (collect --flip-labels), also say how early checking in this order finds them.

    Example: `gptfl rank --estimator gptfluence --on self --how drop --csv`
    """
    from gptfl.api.rank import rank
    from gptfl.report.ranking import to_csv, to_json

    if as_csv and as_json:
        raise UsageError("--csv and --json were given together", "choose one")
    warn_of_problems()
    with console.progress_bar() as progress:
        result, error = console.outcome(
            rank,
            simulator or (),
            estimators=estimator or (),
            dynamics=dynamics,
            features=features,
            workspace=workspace,
            metric=metric,
            on=on,
            how=how,
            orders=orders,
            model=model,
            data=data,
            seed=seed,
            top=top,
            reverse=harmful,
            output=output,
            figure=figure,
            progress=progress,
        )
    for text in result.notes:
        console.note(text)
    if as_csv or as_json:
        console.say((to_csv if as_csv else to_json)(result, top, harmful).rstrip("\n"))
    else:
        show(result, TOP if top is None else top, harmful)
        flips = result.flipped is not None and not result.imported
        console.say(f"next: {'gptfl relabel-study' if flips else 'gptfl select --size N'}")
    console.settle(result.unkept, error)


def show(result: "RankResult", top: int, reverse: bool) -> None:
    """Print the rankings and how early they find flips."""
    from gptfl.report.ranking import detection_table, rich_table

    for ranking in result.rankings:
        how = f"--how {ranking.how}" + (
            "" if ranking.step is None else f", {result.metric.name} at step {ranking.step}"
        )
        console.say(
            f"Influence of each of {len(result.pool)} training examples on {result.subject}, by {ranking.label} ({how})"
        )
        show_table(rich_table(result, ranking, top, reverse))
    if result.flipped is not None:
        first = "highest" if result.on == "self" else "lowest"
        console.say(
            f"{int(result.flipped.sum())} of {len(result.pool)} labels are flipped; checking the {first} influence first:"
        )
        show_table(detection_table(result.detections))
    console.say_paths(table=result.output, picture=result.figure)
