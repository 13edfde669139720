"""``gptfl demo``."""

import shutil
import sys
from pathlib import Path

from gptfl.cli import console
from gptfl.cli.adapter import with_options
from gptfl.cli.tables import show_table
from gptfl.options.common import DemoOptions

TOP = 5
"""How many examples of the ranking are shown."""


@with_options(DemoOptions)
def command(options: DemoOptions) -> None:
    """Go the recommended road on a small built-in model and task, in a minute or two on two cores.

    Needs no download: the model is built and pre-trained on the spot the first time. Runs that are there already
    aren't made again.

    Example: `gptfl demo`
    """
    from gptfl.api.demo import demo_with
    from gptfl.cli import rank, verify
    from gptfl.report.comparison import rich_table

    def announce(stage: str, made: str, seconds: float) -> None:
        console.say(f"{stage:<10} {console.human_seconds(seconds):>12}   {made}")

    with console.progress_bar() as progress:
        result = demo_with(options, progress=progress, announce=announce)
    console.say()
    show_table(rich_table(result.comparison))
    console.say()
    verify.show(result.verification, as_json=False)
    console.say()
    rank.show(result.ranking, TOP, reverse=False)
    console.say()
    console.say(f"Verdict: {result.verdict}.")
    console.say(f"page: {result.page} (open it in a browser)")
    console.show_unkept((*result.comparison.unkept, *result.verification.unkept, *result.ranking.unkept), None)
    console.say()
    console.say("Try next, in the same workspace:")
    # In a virtual environment that isn't activated, the bare name would not be found.
    program = "gptfl " if shutil.which("gptfl") else f"{console.quoted(Path(sys.argv[0]))} "
    here = console.quoted(result.workspace)
    recording = console.quoted(result.workspace / "errands-tiny.dynamics.h5")
    for line in (
        f"gptfl inspect {recording} --examples",
        f"gptfl simulate --drop {console.quoted(result.subset)} -w {here}",
        f"gptfl select --size 20 -w {here}",
        "and on real data, with DIR holding train.jsonl and test.jsonl (fields: docs/data.md):",
        "gptfl collect --few-runs --model smollm2-135m-instruct --task sst2 --data DIR --train-layers 6 --dry-run",
        "gptfl collect --model pythia-410m --task rte",
    ):
        console.say(f"  {line.replace('gptfl ', program, 1) if line.startswith('gptfl ') else line}")
