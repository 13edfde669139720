"""``gptfl select``."""

from typing import TYPE_CHECKING

from gptfl.cli import console
from gptfl.cli.adapter import with_options
from gptfl.cli.tables import show_table
from gptfl.options.influence import SelectOptions

if TYPE_CHECKING:
    from gptfl.influence.selection import Selection


@with_options(SelectOptions)
def command(options: SelectOptions) -> None:
    """Select the training examples that are predicted to be best to train on for some test examples.

    Writes their ids, one a line, as `gptfl simulate --subset` and `gptfl verify --subset` take them.

    Example: `gptfl select --size 32 --on mean --max-share-per-class 0.5`
    """
    from gptfl.api.select import select_with
    from gptfl.report.selection import to_json

    console.warn_of_problems()
    with console.progress_bar() as progress:
        found, error = console.outcome(select_with, options, progress=progress)
    for text in found.notes:
        console.note(text)
    if options.as_json:
        console.say(to_json(found).rstrip("\n"))
    else:
        show(found, options.top)
        if found.output is not None:
            subset = f"--subset {console.quoted(found.output)}"
            console.say(f"next: gptfl {'simulate' if found.imported else 'verify'} {subset}")
    console.show_unkept(found.unkept, error)


def show(found: "Selection", top: int) -> None:
    """Print what was selected and what is predicted of it."""
    import numpy as np

    from gptfl.core.texts import counted
    from gptfl.report.number_scale import NumberScale
    from gptfl.report.selection import selection_table

    of = f"{found.pool}" if found.among is None else f"{found.among} of the {found.pool}"
    console.say(
        f"{len(found.ids)} of {of} training examples selected for {found.subject}, by {found.estimator} "
        f"(--how {found.how})"
    )
    name = f"{found.metric.name} at step {found.step}"
    scale = NumberScale.of(np.array([found.predicted, found.reference]))
    pairs = {"predicted": f"{found.predicted:.4g} ({name}, mean of {counted(found.orders, 'order')})"}
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
