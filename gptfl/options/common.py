"""Options that several commands share, and those of the small commands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from gptfl.options.base import SEED, at_least, option
from gptfl.options.rows import OWN, RowOptions

FILES, PRECISE, RESULT, TRAINED = "Files", "Fine points", "Output", "Trainings"
File = str | Path | None
"""A file or folder, where one may be named."""
Ids = str | Path | Sequence[str]
"""A file of ids; Python also takes the ids themselves."""
Picture = str | Path | bool | None
"""A file; Python also takes True for the usual place, as None is, and False for no picture."""
Settings = tuple[str, ...] | Mapping[str, Any]
"""``NAME=VALUE`` words; Python also takes a mapping of names to values."""


def workspace() -> Any:
    """The folder of a study."""
    return option(
        None,
        "Folder that holds the files of a study.",
        flag=("--workspace", "-w"),
        envvar="GPTFL_WORKSPACE",
        shown="./gptfl-work",
        panel=FILES,
    )


def dynamics() -> Any:
    """The recording."""
    return option(None, "Recording to use.", shown="the one made last", panel=FILES)


def metric() -> Any:
    """The recorded metric that a command is about."""
    return option(None, "Recorded metric.", shown="the only one, else loss", complete="metric")


def seed(of: str = "everything random") -> Any:
    """The seed."""
    return option(42, f"Seed of {of}.", panel=PRECISE, bound=SEED)


def device() -> Any:
    """The device of a training."""
    return option("auto", "auto, cpu, cuda or cuda:N.", panel=PRECISE)


def settings() -> Any:
    """The settings of a part."""
    return option(
        (),
        "A setting, as listed in docs/simulator.md and docs/baselines.md; may be given several times.",
        flag="--set",
        metavar="NAME=VALUE",
        panel=PRECISE,
    )


def data(panel: str | None = None) -> Any:
    """Where the texts are that a recording lacks."""
    return option(None, "Where the texts are, for a recording made with --no-texts.", shown=False, panel=panel)


def as_json(help: str = "Print JSON.", panel: str | None = RESULT) -> Any:
    """Whether to print JSON."""
    return option(False, help, flag="--json", panel=panel, shell=True)


def as_csv() -> Any:
    """Whether to print CSV."""
    return option(False, "Print CSV.", flag="--csv", panel=RESULT, shell=True)


def figure(shown: str = "in the workspace") -> Any:
    """The picture to write."""
    return option(None, "Picture to write.", shown=shown, panel=FILES)


def no_picture() -> Any:
    """Whether to draw none; Python has ``figure=False`` for it."""
    return option(False, "Draw no picture.", flag="--no-picture", panel=FILES, shell=True)


def html(of: str) -> Any:
    """The page of a result alone; Python has ``gptfl.save`` for it."""
    return option(
        None,
        f"Also write {of} as one HTML page that fetches nothing, as gptfl report has it; it holds texts where these are "
        "shown.",
        metavar="FILE",
        shown=False,
        panel=FILES,
        shell=True,
    )


def max_length(panel: str | None = None) -> Any:
    """How long an example may be."""
    help_ = "Tokens of prompt and target; longer prompts lose their beginning."
    return option(2048, help_, panel=panel, bound=at_least(1))


def chat_template_of_import() -> Any:
    """The chat template of an imported recording's runs, which no recording of others says."""
    return option(
        None,
        "Of an imported recording of conversations, the chat template (Jinja) of its runs, as of gptfl collect; needs --recipe.",
        metavar="FILE",
        shown="the tokenizer's",
        panel=FILES,
    )


def sketch_points(panel: str | None = None) -> Any:
    """At how many steps of a reference run gradients are sketched."""
    return option(
        None,
        "At how many steps of the reference run gradients are sketched, first and last included.",
        metavar="N",
        shown="4",
        panel=panel,
        bound=at_least(1),
    )


def sketch_dimensions(panel: str | None = None) -> Any:
    """How large a sketch is."""
    return option(
        None,
        "Numbers of a sketch: the more, the nearer its products are to the gradients'.",
        metavar="N",
        shown="8192",
        panel=panel,
        bound=at_least(1),
    )


def sketch_modules(panel: str | None = None) -> Any:
    """Which weights' gradients are sketched."""
    return option(
        None,
        "Sketch only the gradients of trained weights whose name fits this pattern, as in '*mlp*'.",
        metavar="PATTERN",
        shown="all trained weights",
        panel=panel,
    )


def top() -> Any:
    """How much of a ranking to show."""
    bound = at_least(1, "give 1 or more")
    return option(None, "How many to show.", metavar="N", shown="10, files all", panel=RESULT, bound=bound)


def harmful() -> Any:
    """From which end a ranking is shown."""
    flag = ("--harmful", "--reverse")
    return option(False, "Most harmful (lowest influence) first.", flag=flag, panel=RESULT)


def executor() -> Any:
    """What trains."""
    return option(
        "local",
        "What carries out the trainings: local is this machine (see gptfl plugins).",
        complete="executor",
        panel=PRECISE,
    )


def executor_set() -> Any:
    """The settings of what trains."""
    return option(
        (),
        "Settings of the executor, such as workers=2,threads=4 (docs/clusters.md); may be given several times. "
        "It changes where runs are carried out, not what is recorded.",
        metavar="NAME=VALUE",
        panel=PRECISE,
        identity=False,
    )


# Fields of the same names would hide them.
_workspace, _dynamics, _as_json = workspace, dynamics, as_json


@dataclass(frozen=True, slots=True, kw_only=True)
class InputOptions:
    """The files that a command reads."""

    PANEL: ClassVar = FILES
    dynamics: File = _dynamics()
    features: File = option(None, "Features file to use.", shown="as --encoder")
    workspace: File = _workspace()


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectOptions:
    """What ``gptfl inspect`` shows."""

    file: File = option(None, "A recording, features, simulator or predictions file.", argument=True, shown=False)
    examples: bool = option(False, "List the ids and texts of a recording's examples to pick from.")
    command: bool = option(False, "Print the command line that made a recording, features or a simulator.")
    as_json: bool = _as_json("Print JSON instead of a table.", panel=None)
    data: File = option(
        None,
        "Instead of FILE, a file or folder of your own rows, as for gptfl collect: shows what is understood of them.",
        shown=False,
        panel=OWN,
    )
    model: str | None = option(
        None, "Show the rows as tokens of this model, too.", shown=False, panel=OWN, complete="model"
    )
    max_length: int = option(
        2048, "With --model: tokens of an example, as for gptfl collect.", panel=OWN, bound=at_least(1)
    )
    rows: RowOptions = RowOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class UnlockOptions:
    """What ``gptfl unlock`` mends."""

    file: str | Path = option(help="A recording, features, simulator or predictions file.", argument=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginsOptions:
    """How ``gptfl plugins`` lists."""

    as_json: bool = _as_json("Print JSON instead of a table.", panel=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """Where ``gptfl demo`` works, and on what scale."""

    workspace: File = option(None, "Where to put its files.", flag=("--workspace", "-w"), shown="./gptfl-demo")
    pool: int = option(200, "Training examples that runs draw from.", bound=at_least(1))
    test: int = option(48, "Test examples that are measured.", bound=at_least(1))
    runs: int = option(6, "How many runs; more later keep the first.", bound=at_least(1))
