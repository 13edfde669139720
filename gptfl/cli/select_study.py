"""``gptfl select-study``."""

from typing import TYPE_CHECKING

from gptfl.cli import console
from gptfl.cli.adapter import with_options
from gptfl.cli.study import carry_out
from gptfl.cli.tables import show_table
from gptfl.options.influence import SelectStudyOptions

if TYPE_CHECKING:
    from gptfl.studies.results import SelectionStudy


@with_options(SelectStudyOptions)
def command(options: SelectStudyOptions) -> None:
    """Train on what gptfl select chooses, beside random subsets and TracIn's choice, to see what selecting is worth.

    Scored on test examples that are kept from the selection: estimators are fitted anew without them. Finished
    trainings are kept: an interrupted study goes on with the same command, and more repeats add to what is there.

    Example: `gptfl select-study --size 32 --max-share-per-class 0.5 --random 10 --repeats 5`
    """
    from gptfl.api.select_study import select_study_with

    carry_out(select_study_with, options, "{subset} examples", show)


def show(study: "SelectionStudy", as_json: bool) -> None:
    """Print what a study came to."""
    from gptfl.report.selection_study import selection_study_table, to_json

    if as_json:
        console.say(to_json(study).rstrip("\n"))
        return
    console.say(
        f"{study.size} training examples of {study.recording} selected for {study.targets} test examples and scored on "
        f"{len(study.scored)} others; {study.trained} trainings, {study.trained_now} of them new"
    )
    for metric in study.metrics:
        console.say(f"{metric} at step {study.steps}, differences with 95% intervals over trainings")
        show_table(selection_study_table(study, metric))
    console.say_paths(numbers=study.output, picture=study.figure)
