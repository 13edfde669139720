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
    from gptfl.report.calibration import percent
    from gptfl.report.verification import paired_pairs, to_json, verification_table

    if as_json:
        console.say(to_json(found).rstrip("\n"))
        return
    name = found.metric.name
    of = "1 training" if len(found.labels) == 1 else f"{len(found.labels)} trainings"
    took = console.human_seconds(found.seconds)
    console.say(f"Trained on {found.what} ({of}, {took}), {name} at step {found.steps[found.last]}")
    predicted, recorded, reference = ("–" if mean is None else f"{mean:.4g}" for mean in found.means())
    pairs = {
        "predicted": f"{predicted} by {found.estimator}, mean of {len(found.tests)} test examples",
        "recorded": recorded,
        "average run": reference,
        **({} if found.paired is None else paired_pairs(found.paired)),
        "MSE": f"{found.mse:.3g}, over all steps after the first",
        "final ρ": f"{found.rho:.3f}, across test examples",
    }
    if found.binary:
        pairs["MSE"] += f"; the Brier score of the probabilities of {name} 1"
    if found.skill is not None:
        pairs["skill"] = f"{found.skill:.2f} (0: as good as the average run, 1: perfect)"
    for level, one in found.coverage.items():
        pairs[f"inside {percent(level)}"] = f"{percent(one.share)} of {one.points} recorded points"
    console.show_pairs(pairs)
    show_table(verification_table(found))
    console.say_paths(numbers=found.output, picture=found.figure)


def _announce(plan: "CostEstimate") -> None:
    of = "1 training" if plan.runs == 1 else f"{plan.runs} trainings"
    announce_trainings(
        plan,
        {
            "to train": f"{of} of {plan.steps} steps of {plan.batch_size}, measured {plan.recorded} times on "
            f"{plan.test} test examples",
        },
    )
