"""``gptfl verify``."""

from typing import TYPE_CHECKING

from gptfl.cli import console
from gptfl.cli.adapter import with_options
from gptfl.cli.page import page_target, write_result_page
from gptfl.cli.picture import pictured
from gptfl.cli.plan import announce_trainings
from gptfl.cli.tables import show_table
from gptfl.options.evaluation import VerifyOptions

if TYPE_CHECKING:
    from gptfl.evaluation.verification import Verification
    from gptfl.recording.cost import CostEstimate


@with_options(VerifyOptions)
def command(options: VerifyOptions) -> None:
    """Predict a run that was never made, then make it, and show how far the prediction was right.

    What to train on is said as for `gptfl simulate`; the model is trained by the recording's own settings. With --drop or
    --against both sets are trained, in the same orders, and it says whether their difference is clear of noise.

    Example: `gptfl verify --subset ids.txt`
    """
    from gptfl.api.verify import verify_with

    options, page = pictured(options), page_target(options)
    console.warn_of_problems()
    quiet = options.as_json and not options.dry_run
    with console.progress_bar() as progress:
        found, error = console.outcome(verify_with, options, progress=progress, announce=None if quiet else _announce)
    if found is None:
        console.say("Nothing was trained (--dry-run).")
        return
    for text in found.notes:
        console.note(text)
    show(found, options.as_json)
    write_result_page(found, options, "verify", page, options.as_json)
    if not options.as_json:
        console.say("next: gptfl rank")
    console.show_unkept(found.unkept, error)


def show(found: "Verification", as_json: bool) -> None:
    """Print how far a prediction was right."""
    from gptfl.report.verification import to_json, trainings, verification_pairs, verification_table

    if as_json:
        console.say(to_json(found).rstrip("\n"))
        return
    took = console.human_seconds(found.seconds)
    console.say(
        f"Trained on {found.what} ({trainings(found)}, {took}), {found.metric.name} at step {found.steps[found.last]}"
    )
    console.show_pairs(verification_pairs(found))
    show_table(verification_table(found))
    console.say_paths(numbers=found.output, picture=found.figure)


def _announce(plan: "CostEstimate") -> None:
    from gptfl.core.texts import counted

    announce_trainings(
        plan,
        {
            "to train": f"{counted(plan.runs, 'training')} of {plan.steps} steps of {plan.batch_size}, measured {plan.recorded} times on "
            f"{plan.test} test examples",
        },
    )
