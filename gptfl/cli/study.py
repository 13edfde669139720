"""What the commands that retrain have in common: the cost first, then the notes, the numbers and what couldn't be kept."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gptfl.cli import console
from gptfl.cli.picture import pictured
from gptfl.cli.plan import announce_trainings

if TYPE_CHECKING:
    from gptfl.recording.cost import CostEstimate


def carry_out(study_with: Callable[..., Any], options: Any, over: str, show: Callable[[Any, bool], None]) -> None:
    """Carry out a study, and print it.

    Args:
        study_with: the study, with all options in one object.
        options: of the command, with a group ``study``.
        over: on what each training is, ``{subset}`` standing for how many examples.
        show: prints what it came to, as JSON if so asked.
    """
    options = pictured(options)
    console.warn_of_problems()
    quiet = options.study.as_json and not options.study.dry_run

    def announce(plan: "CostEstimate") -> None:
        _announce(plan, over)

    with console.progress_bar() as progress:
        study, error = console.outcome(study_with, options, progress=progress, announce=None if quiet else announce)
    if study is None:
        console.say("Nothing was trained (--dry-run).")
        return
    for text in study.notes:
        console.note(text)
    show(study, options.study.as_json)
    console.show_unkept(study.unkept, error)


def _announce(plan: "CostEstimate", over: str) -> None:
    kept = plan.runs - plan.runs_left
    announce_trainings(
        plan,
        {
            "trainings": f"{plan.runs}" + (f" ({kept} done already)" if kept else ""),
            "each": f"{plan.steps} steps of {plan.batch_size} over {over.format(subset=plan.subset)}, "
            f"measured twice on {plan.test} test examples",
        },
    )
