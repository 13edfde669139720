"""The options of ``gptfl collect`` that say what is recorded: examples, metrics, runs, gradients, files."""

from pathlib import Path
from typing import Annotated

import typer

from gptfl.cli.numbers import at_least, check, not_negative, share
from gptfl.cli.options import FILES, complete, complete_model

WHAT, DESIGN = "What to record", "Runs"

Model = Annotated[
    str,
    typer.Option(
        help="Model to fine-tune: pythia-14m … pythia-2.8b, smollm2-135m-instruct[-q4], tiny, any Hub id or folder.",
        autocompletion=complete_model,
        rich_help_panel=WHAT,
    ),
]
Task = Annotated[
    str,
    typer.Option(
        help="Where the examples come from (see gptfl plugins); several, separated by commas, are a mixture.",
        autocompletion=complete("task"),
        rich_help_panel=WHAT,
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        help="Folder with train.jsonl and test.jsonl, instead of the Hub; of a mixture, with a folder a task.",
        show_default=False,
        rich_help_panel=WHAT,
    ),
]
Instructions = Annotated[
    bool | None,
    typer.Option(
        "--instructions/--no-instructions",
        help="Word each prompt by one of several instruction templates.",
        show_default="of a mixture",
        rich_help_panel=WHAT,
    ),
]
FlipLabels = Annotated[
    float | None,
    typer.Option(
        callback=share("give the share of the pool to flip, between 0 and 1, as in 0.4"),
        help="Mislabel this share of the pool, as in 0.4; the recording keeps which.",
        metavar="SHARE",
        show_default=False,
        rich_help_panel=WHAT,
    ),
]
Metric = Annotated[
    list[str] | None,
    typer.Option(
        help="Metric to record; may be given several times.",
        show_default="loss",
        autocompletion=complete("metric"),
        rich_help_panel=WHAT,
    ),
]
Runs = Annotated[
    int | None,
    typer.Option(
        callback=at_least(1),
        help="How many runs; more later keep the first.",
        show_default="32, with --few-runs 6",
        rich_help_panel=DESIGN,
    ),
]
FewRuns = Annotated[
    bool,
    typer.Option(
        "--few-runs",
        help="Record what the estimator exposure-gp needs and no more: 6 runs of the contrast design, and --sketches. "
        "--runs and --design go before.",
        rich_help_panel=DESIGN,
    ),
]
Design = Annotated[
    str | None,
    typer.Option(
        help="Which examples each run is trained on. uniform: drawn anew for each run (the paper's). contrast: few "
        "examples many times, such that runs differ much and all examples come about equally often. balanced: "
        "contrast with as many examples of each class in every run, the same in all. leave-out: pairs of runs, "
        "the second with other examples in the places of a group. repeat: each subset in three orders, and one of "
        "them twice.",
        metavar="NAME",
        show_default="uniform, with --few-runs contrast",
        rich_help_panel=DESIGN,
    ),
]
Repeats = Annotated[
    int,
    typer.Option(
        callback=not_negative,
        help="Runs besides that repeat the first ones and tell how much is left to chance: three in four in another "
        "order, the fourth the very same. Nothing is fitted to them.",
        metavar="N",
        rich_help_panel=DESIGN,
    ),
]
ReservePool = Annotated[
    int,
    typer.Option(
        callback=check(lambda value: value == 0 or value > 1, "give 0, or 2 or more, so that runs can differ in it"),
        help="Set N pool examples aside that no run to fit has. Every third run is then to test, and half of its "
        "examples are reserved ones; see --unseen train of compare.",
        metavar="N",
        rich_help_panel=DESIGN,
    ),
]
LeaveOutSize = Annotated[
    int | None,
    typer.Option(
        callback=at_least(1),
        help="How many examples the runs of a leave-out pair differ in.",
        metavar="N",
        show_default="an eighth of the subset",
        rich_help_panel=DESIGN,
    ),
]
Pool = Annotated[
    int | None,
    typer.Option(
        callback=at_least(1),
        help="Training examples that runs draw from, of all tasks.",
        show_default="200",
        rich_help_panel=DESIGN,
    ),
]
PerTask = Annotated[
    int | None,
    typer.Option(
        callback=at_least(1),
        help="Training examples of each task, instead of --pool.",
        show_default=False,
        rich_help_panel=DESIGN,
    ),
]
Test = Annotated[
    int,
    typer.Option(callback=at_least(1), help="Test examples that are measured, of all tasks.", rich_help_panel=DESIGN),
]
SubsetSize = Annotated[
    int | None,
    typer.Option(
        callback=at_least(1),
        help="Examples of each run.",
        show_default="uniform: 64 % of the pool; else 32, or a sixth of a smaller pool",
        rich_help_panel=DESIGN,
    ),
]
RecordEvery = Annotated[
    int, typer.Option(callback=at_least(1), help="Measure at every N-th step.", rich_help_panel=DESIGN)
]
Checkpoints = Annotated[
    str | None,
    typer.Option(
        help="Save the trained weights of every run: at N of the recorded steps, or at all of them.",
        metavar="N|all",
        show_default="none",
        rich_help_panel=WHAT,
    ),
]
Gradients = Annotated[
    str | None,
    typer.Option(
        help="What gradient baselines need: reference (products of all examples' gradients along one more run; may "
        "be added to a finished recording), own (the changes of loss "
        "that gradients foretell along each recorded run, for tracin-own-run) or both.",
        show_default="none",
        rich_help_panel=WHAT,
    ),
]
GradientPoints = Annotated[
    int | None,
    typer.Option(
        callback=at_least(1),
        help="At how many steps of the reference run gradients are multiplied, first and last included.",
        show_default="4",
        rich_help_panel=WHAT,
    ),
]
Sketches = Annotated[
    bool,
    typer.Option(
        "--sketches",
        help="Record random projections of all examples' gradients along one more run, for gptfl featurize; "
        "may be added to a finished recording.",
        rich_help_panel=WHAT,
    ),
]
SketchPoints = Annotated[
    int | None,
    typer.Option(
        callback=at_least(1),
        help="At how many steps of the reference run gradients are sketched, first and last included.",
        metavar="N",
        show_default="4",
        rich_help_panel=WHAT,
    ),
]
SketchDimensions = Annotated[
    int | None,
    typer.Option(
        callback=at_least(1),
        help="Numbers of a sketch: the more, the nearer its products are to the gradients'.",
        metavar="N",
        show_default="8192",
        rich_help_panel=WHAT,
    ),
]
SketchModules = Annotated[
    str | None,
    typer.Option(
        help="Sketch only the gradients of trained weights whose name fits this pattern, as in '*mlp*'.",
        metavar="PATTERN",
        show_default="all trained weights",
        rich_help_panel=WHAT,
    ),
]
Name = Annotated[
    str | None, typer.Option(help="Name of the recording.", show_default="TASK-MODEL", rich_help_panel=FILES)
]
Texts = Annotated[
    bool,
    typer.Option("--texts/--no-texts", help="Keep the examples' texts, or only hashes.", rich_help_panel=FILES),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the plan and its cost, record nothing.", rich_help_panel=WHAT)
]
