"""``gptfl collect``."""

from gptfl.cli import console
from gptfl.cli.adapter import with_options
from gptfl.cli.featurize import next_command
from gptfl.cli.plan import announce
from gptfl.options.recording import CollectOptions


@with_options(CollectOptions)
def command(options: CollectOptions) -> None:
    """Record how fine-tuning on random subsets moves every test example's metrics.

    Finished runs are on disk at once: an interrupted recording goes on with the same command, and
    a larger --runs adds to what is there, and so does --next, once a simulator is fitted.

    Example: `gptfl collect --model smollm2-135m-instruct-q4 --task sst2 --data DIR --train-layers 6
    --runs 24 --subset-size 32 --steps 48 --lr 2e-5 --test 48 --record-every 2`
    """
    from gptfl.api.recording import chooser
    from gptfl.core.texts import counted
    from gptfl.recording.collect import record
    from gptfl.recording.launch import is_first_process

    with console.progress_bar() as progress:
        result = record(options, progress=progress, announce=announce, choose=chooser(options, progress))
    if not is_first_process():
        return
    for text in result.notes:
        console.note(text)
    if options.output.dry_run:
        console.say("Nothing was recorded (--dry-run).")
        return
    console.say(f"{result.path}: {counted(result.runs, 'run')}, {result.recorded_now} of them new")
    for which, (first, last) in result.moved.items():
        console.say(f"{which} {first:.4g} → {last:.4g}, mean of all runs and test examples")
    console.say(f"next: {next_command(result.sketched)}")
