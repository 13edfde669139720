"""``gptfl select``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gptfl.cli import console
from gptfl.cli.numbers import at_least, check, not_negative, seed_check
from gptfl.cli.options import FILES, PRECISE, RESULT, Dynamics, Features, Metric, Workspace, complete
from gptfl.cli.plugins import warn_of_problems
from gptfl.cli.rank import How
from gptfl.cli.tables import show_table

if TYPE_CHECKING:
    from gptfl.influence.selection import Selection


CHOICE = "The subset"
TOP = 10

Size = Annotated[
    int,
    typer.Option(
        callback=at_least(1, "give a number from 1 to the size of the pool"),
        help="How many training examples to select.",
        metavar="M",
    ),
]
Estimator = Annotated[
    str | None,
    typer.Option(
        help="Select by the simulator of this estimator.",
        show_default="the one fitted last",
        autocompletion=complete("estimator"),
    ),
]
On = Annotated[
    str,
    typer.Option(
        help="What is to become better: mean (of all test examples), test:ID, or group:FILE (test ids, one a line).",
        autocompletion=lambda incomplete: [w for w in ("mean", "test:", "group:") if w.startswith(incomplete)],
    ),
]
MaxShare = Annotated[
    float | None,
    typer.Option(
        callback=check(lambda value: 0 < value <= 1, "give a share above 0, at most 1", "g"),
        help="At most this share of the subset may be of one class.",
        metavar="SHARE",
        show_default="any",
        rich_help_panel=CHOICE,
    ),
]
Diversity = Annotated[
    float,
    typer.Option(
        callback=not_negative,
        help="Take so much off an example's worth for being like one selected before it, in standard deviations of "
        "worth at full likeness (cosine of the features that the simulator was fitted on).",
        metavar="λ",
        rich_help_panel=CHOICE,
    ),
]
Cautious = Annotated[
    float,
    typer.Option(
        callback=not_negative,
        help="Go by influence less so many of its standard deviations, which the estimator must tell.",
        metavar="Z",
        rich_help_panel=CHOICE,
    ),
]
Search = Annotated[
    int | None,
    typer.Option(
        callback=not_negative,
        help="Predict up to so many curricula in search of exchanges that better the whole subset; 0 goes by the influence "
        "of single examples alone.",
        metavar="N",
        show_default="6000",
        rich_help_panel=CHOICE,
    ),
]
Orders = Annotated[
    int,
    typer.Option(
        callback=at_least(1, "give 1 or more"), help="Random orders that predictions are means over.", metavar="K"
    ),
]
Simulator = Annotated[
    Path | None,
    typer.Option("--simulator", help="Simulator file to use.", show_default="the one made last", rich_help_panel=FILES),
]


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
    top: Annotated[
        int,
        typer.Option(
            callback=at_least(1, "give 1 or more"),
            help="How many of them to show.",
            metavar="N",
            rich_help_panel=RESULT,
        ),
    ] = TOP,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.", rich_help_panel=RESULT)] = False,
    seed: Annotated[int, typer.Option(callback=seed_check, help="Seed of the orders.", rich_help_panel=PRECISE)] = 42,
    simulator: Simulator = None,
    dynamics: Dynamics = None,
    features: Features = None,
    workspace: Workspace = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Text file of the ids.", show_default="in the workspace", rich_help_panel=FILES),
    ] = None,
) -> None:
    """Select the training examples that are predicted to be best to train on for some test examples.

    Writes their ids, one a line, as `gptfl simulate --subset` and `gptfl verify --subset` take them.

    Example: `gptfl select --size 32 --on mean --max-share-per-class 0.5`
    """
    from gptfl.api.select import select
    from gptfl.influence.rank import check_options
    from gptfl.influence.subset_search import SEARCH
    from gptfl.report.selection import to_json

    check_options(how, orders, top)
    warn_of_problems()
    with console.progress_bar() as progress:
        found, error = console.outcome(
            select,
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
            seed=seed,
            output=output,
            progress=progress,
        )
    for text in found.notes:
        console.note(text)
    if as_json:
        console.say(to_json(found).rstrip("\n"))
    else:
        show(found, top)
        if found.output is not None:
            subset = f"--subset {console.quoted(found.output)}"
            console.say(f"next: gptfl {'simulate' if found.imported else 'verify'} {subset}")
    console.settle(found.unkept, error)


def show(found: "Selection", top: int) -> None:
    """Print what was selected and what is predicted of it."""
    import numpy as np

    from gptfl.report.cells import Scale
    from gptfl.report.selection import selection_table

    console.say(
        f"{len(found.ids)} of {found.pool} training examples selected for {found.subject}, by {found.estimator} "
        f"(--how {found.how})"
    )
    name = f"{found.metric.name} at step {found.step}"
    scale = Scale.of(np.array([found.predicted, found.reference]))
    pairs = {"predicted": f"{found.predicted:.4g} ({name}, mean of {found.orders} orders)"}
    for level, (low, high) in found.intervals.items():
        pairs[f"{level:.0%} interval"] = f"{scale.span(low, high)} (mean of the test examples' own)"
    pairs["average run"] = f"{found.reference:.4g}"
    if found.novelty is not None:
        pairs["novelty"] = (
            f"{found.novelty:.2f} (0: the recorded runs tell what these examples do, 1: they tell nothing)"
        )
    if found.classes:
        pairs["classes"] = ", ".join(f"{one} {count}" for one, count in found.classes.items())
    console.show_pairs(pairs)
    show_table(selection_table(found, top))
    console.say_paths(ids=found.output)
