"""``gptfl relabel-study``."""

from typing import TYPE_CHECKING

from gptfl.cli import console
from gptfl.cli.adapter import with_options
from gptfl.cli.study import carry_out
from gptfl.cli.tables import show_table
from gptfl.options.influence import RelabelStudyOptions

if TYPE_CHECKING:
    from gptfl.studies.results import RelabelStudy


@with_options(RelabelStudyOptions)
def command(options: RelabelStudyOptions) -> None:
    """Retrain after correcting the labels that a ranking checks first, beside random and perfect order.

    Needs a recording with flipped labels (collect --flip-labels). Finished trainings are kept: an interrupted study
    goes on with the same command, and more shares or estimators add to what is there.

    Example: `gptfl relabel-study --estimator gptfluence --on self --shares 0.1,0.2,0.4 --repeats 3`
    """
    from gptfl.api.relabel_study import relabel_study_with

    carry_out(relabel_study_with, options, "a pool of {subset}", show)


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
