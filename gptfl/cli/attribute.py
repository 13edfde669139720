"""``gptfl attribute``."""

from gptfl.cli import console
from gptfl.cli.adapter import with_options
from gptfl.cli.rank import show
from gptfl.errors import UsageError
from gptfl.options.attribute import AttributeOptions


@with_options(AttributeOptions)
def command(options: AttributeOptions) -> None:
    """Tell which examples of a finished fine-tuning helped and which hurt, from its checkpoints.

    Nothing is trained. The test examples are measured at the model and at every checkpoint, and gradients are sketched
    there; what they foretell is scaled by how the losses moved.

    Example: `gptfl attribute --model smollm2-135m-instruct --checkpoints out --train train.jsonl --eval eval.jsonl`
    """
    from gptfl.api.attribute import attribute_with
    from gptfl.report.ranking import to_csv, to_json

    if options.as_csv and options.as_json:
        raise UsageError("--csv and --json were given together", "choose one")
    console.warn_of_problems()
    with console.progress_bar() as progress:
        result, error = console.outcome(attribute_with, options, progress=progress)
    for text in result.notes:
        console.note(text)
    if options.as_csv or options.as_json:
        console.say((to_csv if options.as_csv else to_json)(result, options.top, options.reverse).rstrip("\n"))
    else:
        show(result, options.top, options.reverse)
    console.show_unkept(result.unkept, error)
