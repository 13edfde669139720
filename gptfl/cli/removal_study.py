"""``gptfl removal-study``."""

from typing import TYPE_CHECKING

from gptfl.cli import console
from gptfl.cli.adapter import with_options
from gptfl.cli.study import carry_out
from gptfl.cli.tables import show_table
from gptfl.options.removal_study import RemovalStudyOptions

if TYPE_CHECKING:
    from gptfl.studies.results import RemovalStudy


@with_options(RemovalStudyOptions)
def command(options: RemovalStudyOptions) -> None:
    """Retrain without the most harmful, the most helpful and random rows, to see whether a ranking is right.

    The removal curve by which rankings of training data are judged, with what the simulator predicted beside it. Finished
    trainings are kept: an interrupted study goes on with the same command, and more sizes, orders, random sets or
    estimators add to what is there.

    Example: `gptfl removal-study --on mean --sizes 5,10,20 --orders 4 --random 4`
    """
    from gptfl.api.removal_study import removal_study_with

    carry_out(removal_study_with, options, "the pool of {subset}, or all but some rows of it", show)


def show(study: "RemovalStudy", as_json: bool) -> None:
    """Print what a study came to."""
    from gptfl.report.removal_study import headline, removal_study_tables, to_json

    if as_json:
        console.say(to_json(study).rstrip("\n"))
        return
    console.say(f"{study.trained} trainings, {study.trained_now} of them new")
    console.say(headline(study))
    for ranking in study.rankings:
        for table in removal_study_tables(study, ranking):
            show_table(table)
    console.say_paths(numbers=study.output, picture=study.figure)
