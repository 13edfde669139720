"""``gptfl simulate``."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table

from gptfl.cli import console
from gptfl.cli.choosing import ASKED, Batches, BatchSize, Drop, Epochs, Orders, Rate, Steps, Subset
from gptfl.cli.numbers import seed_check
from gptfl.cli.options import FILES, PRECISE, RESULT, Dynamics, Metric, Workspace, complete, complete_model
from gptfl.cli.plugins import warn_of_problems
from gptfl.cli.tables import show_table
from gptfl.core.texts import written_id

if TYPE_CHECKING:
    from gptfl.report.cells import Scale
    from gptfl.simulation.outcome import Simulation


SHOWN_LEVEL = 0.9
"""The interval that the table and the picture show, where it is given."""

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
        console.say_json(_as_dict(result))
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
    pairs["change"] = f"{result.mean_change:+.4g} ({_direction(result)})"
    if result.recorded is not None:
        pairs["trust"] = result.trust
    for group in result.groups:
        pairs[group.name] = f"MSE {group.mse:.3g}, final ρ {group.rho:.3f}, of {group.count} test examples"
    console.show_pairs(pairs)
    _show_table(result)
    console.say_paths(predictions=result.predictions, picture=result.figure)


def _show_table(result: "Simulation") -> None:
    from gptfl.report.cells import Scale

    held_out = result.recorded is not None
    scale = Scale.of(result.reference.final)
    marks = dict(zip(result.tests, result.marks, strict=True)) if result.marks else {}
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("test example")
    level, bounds = _bounds(result, scale)
    headings = (
        f"P({result.metric.name} = 1)" if result.binary else f"predicted {result.metric.name}",
        *((f"{level:.0%} interval",) if bounds else ()),
        *(("recorded",) if held_out else ()),
        "against",
        "change",
    )
    for heading in headings:
        table.add_column(heading, justify="right")
    for title, changes in (("helped most", result.helped), ("hurt most", result.hurt)):
        if changes:
            table.add_row(f"[bold]{title}[/bold]", *("" for _ in headings))
        for change in changes:
            truth = () if change.recorded is None else (_told(change.recorded, scale),)
            span = (bounds[change.id],) if bounds else ()
            ends = (scale.number(change.predicted), *span, *truth, scale.number(change.reference))
            numbers = (*ends, scale.number(change.change, "+.3g"))
            mark = f" ({marks[change.id]})" if marks.get(change.id) else ""
            table.add_row(console.plain(f"  {written_id(change.id)}{mark}"), *numbers)
    show_table(table)


def _bounds(result: "Simulation", scale: "Scale") -> tuple[float, dict[str, str]]:
    """The level shown, and each test example's interval; nothing where the estimator gives none or tells probabilities."""
    if not result.intervals or result.binary:
        return 0.0, {}
    level = SHOWN_LEVEL if SHOWN_LEVEL in result.intervals else max(result.intervals)
    rows = zip(result.tests, *result.intervals[level], strict=True)
    return level, {id: scale.span(low, high) for id, low, high in rows}


def _told(recorded: float, scale: "Scale") -> str:
    """A recorded value; a new test example has none."""
    return "–" if math.isnan(recorded) else scale.number(recorded)


def _direction(result: "Simulation") -> str:
    if result.mean_change == 0 or math.isnan(result.mean_change):
        return "no change"
    return "better" if (result.mean_change > 0) == result.metric.higher_is_better else "worse"


def _as_dict(result: "Simulation") -> dict[str, object]:
    truths = [math.nan] * len(result.tests) if result.recorded is None else result.recorded
    marks = result.marks or ("",) * len(result.tests)
    rows = zip(result.tests, result.final, truths, result.change, result.spread, marks, strict=True)
    return {
        "estimator": result.estimator,
        "metric": result.metric.name,
        "higher_is_better": result.metric.higher_is_better,
        "binary": result.binary,
        "what": result.what,
        "against": result.reference.what,
        "against_step": result.reference.step,
        "curricula": len(result.labels),
        "step": int(result.steps[-1]),
        "predicted": _number(result.mean_final),
        "recorded": None if result.mean_recorded is None else _number(result.mean_recorded),
        "reference": _number(result.mean_reference),
        "change": _number(result.mean_change),
        "spread": _number(result.mean_spread),
        "skill": result.skill,
        "novelty": None if result.novelty is None else [float(one) for one in result.novelty],
        "test": [
            {
                "id": id,
                "predicted": _number(final),
                "recorded": _number(truth),
                "change": _number(change),
                "spread": _number(spread),
                "fitted": mark or "seen",
                "intervals": {
                    f"{level:g}": [float(low[place]), float(high[place])]
                    for level, (low, high) in result.intervals.items()
                },
            }
            for place, (id, final, truth, change, spread, mark) in enumerate(rows)
        ],
        "groups": {
            group.name: {"count": group.count, "mse": _number(group.mse), "rho": _number(group.rho)}
            for group in result.groups
        },
        "predictions": None if result.predictions is None else str(result.predictions),
        "picture": None if result.figure is None else str(result.figure),
    }


def _number(value: float) -> float | None:
    """A number as JSON has it: None where there is none."""
    return None if math.isnan(value) else float(value)
