"""``gptfl select``."""

from typing import TYPE_CHECKING

from gptfl.cli import console
from gptfl.cli.adapter import with_options
from gptfl.cli.picture import pictured
from gptfl.cli.tables import show_table
from gptfl.errors import UsageError
from gptfl.options.influence import SelectOptions

if TYPE_CHECKING:
    from gptfl.influence.frontier import Frontier
    from gptfl.influence.mixture import MixtureSelection
    from gptfl.influence.selection import Selection
    from gptfl.influence.two_sides import Gain
    from gptfl.report.choices import Chosen


@with_options(SelectOptions)
def command(options: SelectOptions) -> None:
    """Select the training examples that are predicted to be best to train on for some test examples.

    Writes their ids, one a line, as `gptfl simulate --subset` and `gptfl verify --subset` take them. With --keep it shows
    the frontier between two sides; with --by it chooses shares of groups.

    Example: `gptfl select --size 32 --on mean --max-share-per-class 0.5`
    """
    from gptfl.api.select import select_with
    from gptfl.report.choices import chosen_csv, chosen_json

    if options.as_csv and options.as_json:
        raise UsageError("--csv and --json were given together", "choose one")
    options = pictured(options)
    console.warn_of_problems()
    with console.progress_bar() as progress:
        found, error = console.outcome(select_with, options, progress=progress)
    for text in found.notes:
        console.note(text)
    if options.as_json or options.as_csv:
        console.say((chosen_json if options.as_json else chosen_csv)(found).rstrip("\n"))
    else:
        show_choice(found, options.top)
        if found.output is not None:
            subset = f"--subset {console.quoted(found.output)}"
            console.say(f"next: gptfl {'simulate' if found.imported else 'verify'} {subset}")
    console.show_unkept(found.unkept, error)


def show_choice(found: "Chosen", top: int) -> None:
    """Print what was chosen, of whatever kind."""
    from gptfl.influence.frontier import Frontier
    from gptfl.influence.mixture import MixtureSelection

    if isinstance(found, Frontier):
        show_frontier(found)
    elif isinstance(found, MixtureSelection):
        show_mixture(found, top)
    else:
        show(found, top)


def show_frontier(found: "Frontier") -> None:
    """Print the frontier between two sides."""
    from gptfl.report.frontier import frontier_table, frontier_words

    console.say(
        f"Subsets of {found.size} of the {found.pool} training examples, by {found.estimator} (--how {found.how}): what they "
        f"do to the {found.metric.name} at step {found.step}, against the average recorded run; positive is better"
    )
    pairs = {
        "gain": f"{found.subject} ({found.reference[0]:.4g} in the average run)",
        "retained": f"{found.kept} ({found.reference[1]:.4g} in the average run)",
    }
    if found.point.both is not None:
        pairs["both"] = "how likely the target gets better and the retained don't get worse, by the joint posterior"
    console.show_pairs(pairs)
    show_table(frontier_table(found))
    console.say(frontier_words(found))
    lost = found.found - len(found.points)
    if lost:
        console.say(f"left out: {lost} of {found.found} subsets, each worse than another for both sides")
    console.say_paths(picture=found.figure, ids=found.output)
    console.say(f"* point {found.chosen + 1}, whose ids are written (--point K writes another's)")


def show_mixture(found: "MixtureSelection", top: int) -> None:
    """Print the shares of groups, and what they are predicted to give."""
    from gptfl.report.mixture import better_words, mixture_table

    console.say(
        f"Shares by {found.by} of {len(found.ids)} of the {found.pool} training examples, for {found.subject}, by "
        f"{found.estimator}; rows of a group are drawn at random"
    )
    name = f"{found.metric.name} at step {found.step}"
    pairs = {
        "predicted": f"{found.predicted:.4g} ({name}, mean over draws, which differ by ±{found.drawn:.2g})",
        "gain": f"{_gain_text(found.gain)} on the average run's {found.reference:.4g} (positive is better)",
        "pool's shares": f"{found.predicted_usual:.4g}; gain on it {_gain_text(found.better)}",
        "verdict": better_words(found),
    }
    console.show_pairs(pairs)
    show_table(mixture_table(found, top))
    console.say_paths(picture=found.figure, ids=found.output)


def _gain_text(gain: "Gain") -> str:
    between = "" if gain.low is None or gain.high is None else f" [{gain.low:+.3g}, {gain.high:+.3g}]"
    return f"{gain.value:+.3g}{between}"


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
