"""``gptfl doctor``."""

from gptfl.cli import console
from gptfl.cli.adapter import with_options
from gptfl.options.doctor import DoctorOptions


@with_options(DoctorOptions)
def command(options: DoctorOptions) -> None:
    """Find the rows of your own data that harm, within a time budget, and verify what leaving them out does.

    Records few runs, fits, judges how far to trust that, and only then proposes rows to leave out, which are trained
    without beside as many random ones. Writes a page, the rows that are kept and those that aren't.

    Example: `gptfl doctor train.jsonl checked.jsonl --model smollm2-135m-instruct --train-layers 4 --budget 45m`
    """
    from gptfl.api.doctor import as_document, doctor_with

    console.warn_of_problems()

    def announce(stage: str, made: str, seconds: float) -> None:
        if not options.as_json:
            console.say(f"{stage:<10} {console.human_seconds(seconds):>12}   {made}")
            # Whoever reads it from a pipe or a log has it while the next stage works.
            console.flush()

    with console.progress_bar() as progress:
        found = doctor_with(options, progress=progress, announce=announce)
    for text in found.notes:
        console.note(text)
    if options.as_json:
        console.say_json(as_document(found))
        return
    console.say_paths(report=found.report, rows=found.applied)
    console.say(found.verdict)
