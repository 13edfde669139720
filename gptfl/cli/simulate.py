"""``gptfl simulate``."""

import math
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gptfl.cli import console
from gptfl.cli.adapter import with_options
from gptfl.cli.drawing import DrawingProcess
from gptfl.cli.loading import uncollected
from gptfl.cli.page import page_target, write_result_page
from gptfl.cli.picture import pictured
from gptfl.cli.tables import show_table
from gptfl.errors import UsageError
from gptfl.options.files import typed
from gptfl.options.simulation import SimulateOptions

if TYPE_CHECKING:
    from gptfl.simulation.outcome import Simulation


@with_options(SimulateOptions)
def command(options: SimulateOptions) -> None:
    """Predict what training on other examples, or in another order, would have done.

    Without --subset, --drop or --curriculum it predicts the recording's held-out runs.
    A file of ids holds one id a line; what follows # is a comment. `gptfl inspect RECORDING --examples` lists ids.

    Example: `gptfl simulate --subset ids.txt --orders 8`
    """
    if len(options.run.subset) > 1:
        _many(options)
        return
    options, page = pictured(options), page_target(options)
    beside = DrawingProcess.start() if not options.no_picture and DrawingProcess.is_possible() else None
    with uncollected():
        from gptfl.api.simulate import simulate_with
        from gptfl.report.simulation import draw_simulation, to_dict

        console.warn_of_problems()
    draw = draw_simulation if beside is None else beside.draw
    with console.progress_bar() as progress:
        result, error = console.outcome(simulate_with, options, progress=progress, draw=draw)
    if options.as_json:
        for text in result.notes:
            console.note(text)
        console.say_json(to_dict(result))
    else:
        show(result)
    write_result_page(result, options, "simulate", page, options.as_json)
    if not options.as_json:
        console.say(f"next: {_next(options, result.imported or options.new.new_train is not None)}")
    console.show_unkept(result.unkept, error)


def _many(options: SimulateOptions) -> None:
    """Predict several subsets in one pass, and show where each would end. Nothing is written."""
    from gptfl.api.simulate import simulate_many_with
    from gptfl.report.display import many_table, many_to_dict

    console.warn_of_problems()
    run = options.run
    others = {
        "--drop": run.drop,
        "--curriculum": run.curriculum,
        "--against": options.against,
        "--observe": options.observe,
        "--new-train": options.new.new_train,
        "--new-test": options.new.new_test,
        "--output": options.output,
        "--figure": options.figure,
        "--html": options.html,
        "--every-order": run.every_order or None,
    }
    for flag, value in others.items():
        if value is not None:
            raise UsageError(f"{flag} goes with one --subset, and {len(run.subset)} are given", "ask about one")
    with console.progress_bar() as progress:
        found = simulate_many_with(options, progress=progress)
    for text in found.notes:
        console.note(text)
    names = [str(one) for one in run.subset]
    if options.as_json:
        console.say_json(many_to_dict(found, names))
        return
    show_table(many_table(found, names))
    console.say(f"next: gptfl verify --subset {console.quoted(Path(names[found.order[0]]))}")


def _next(options: SimulateOptions, untrainable: bool) -> str:
    """What to run next: the training of what was simulated, where it can be trained and its file read again."""
    from gptfl.core import user_path

    run = options.run
    files = [Path(str(one)) for one in (*run.subset, run.drop, run.curriculum) if one is not None]
    if not files:
        return "gptfl simulate --subset ids.txt"
    if options.against is not None:
        files.append(Path(str(options.against)))
    if untrainable or not all(user_path(file).is_file() for file in files):
        return "gptfl rank"
    against = () if options.against is None else ("--against", str(options.against))
    return shlex.join(("gptfl", "verify", *typed(replace(run, every_order=False)), *against))


def show(result: "Simulation") -> None:
    """Print what a simulation came to."""
    from gptfl.core.texts import counted
    from gptfl.report.simulation import change_text, direction, simulation_table

    for text in result.notes:
        console.note(text)
    name = result.metric.name
    of = "1 curriculum" if len(result.labels) == 1 else f"{len(result.labels)} curricula"
    if result.request.query.typical is not None:
        of = "mean over all orders"
    console.say(f"Simulated {result.what} ({of}) by {result.estimator}, {name} at step {result.steps[-1]}")
    at = "" if result.reference.step == result.steps[-1] else f" at step {result.reference.step}"
    spread = "" if math.isnan(result.mean_spread) else f" ± {result.mean_spread:.3g} over curricula"
    pairs = {"predicted": f"{result.mean_final:.4g}{spread}, mean of {counted(len(result.tests), 'test example')}"}
    if result.mean_recorded is not None:
        pairs["recorded"] = "–" if math.isnan(result.mean_recorded) else f"{result.mean_recorded:.4g}"
    pairs["against"] = f"{result.mean_reference:.4g}, {result.reference.what}{at}"
    pairs["change"] = f"{change_text(result)} ({direction(result)})"
    if result.recorded is not None:
        pairs["trust"] = result.trust
    for group in result.groups:
        pairs[group.name] = f"MSE {group.mse:.3g}, final ρ {group.rho:.3f}, of {counted(group.count, 'test example')}"
    console.show_pairs(pairs)
    show_table(simulation_table(result))
    console.say_paths(predictions=result.predictions, picture=result.figure)
