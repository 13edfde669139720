"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from gptfl.cli.numbers import at_least, seed_check, share
from gptfl.errors import GptflError

FILES, PRECISE, RESULT = "Files", "Fine points", "Output"


def complete(kind: str):  # type: ignore[no-untyped-def]
    """Shell completion over the registered names of one kind."""

    def names(incomplete: str) -> list[str]:
        from gptfl.plugins.registry import get_registry

        try:
            return [name for name in get_registry().names(kind) if name.startswith(incomplete)]
        except GptflError:
            return []

    return names


def complete_model(incomplete: str) -> list[str]:
    """Shell completion over the models with short names."""
    from gptfl.training.names import ALIASES, SMOLLM2_Q4, TINY

    return [name for name in (*ALIASES, SMOLLM2_Q4, TINY) if name.startswith(incomplete)]


Workspace = Annotated[
    Path | None,
    typer.Option(
        "--workspace",
        "-w",
        envvar="GPTFL_WORKSPACE",
        help="Folder that holds the files of a study.",
        show_default="./gptfl-work",
        rich_help_panel=FILES,
    ),
]
Dynamics = Annotated[
    Path | None,
    typer.Option("--dynamics", help="Recording to use.", show_default="the one made last", rich_help_panel=FILES),
]
Seed = Annotated[int, typer.Option(callback=seed_check, help="Seed of everything random.", rich_help_panel=PRECISE)]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="A setting, as listed in docs/simulator.md and docs/baselines.md; may be given several times.",
        rich_help_panel=PRECISE,
    ),
]
Metric = Annotated[
    str | None,
    typer.Option(help="Recorded metric.", show_default="the only one, else loss", autocompletion=complete("metric")),
]
Every = Annotated[
    int,
    typer.Option(
        callback=at_least(1),
        help="Learn from every K-th recorded score only, and predict at those steps.",
        metavar="K",
        rich_help_panel=PRECISE,
    ),
]
KeepDiverged = Annotated[
    bool,
    typer.Option(
        "--keep-diverged",
        help="Also take runs that diverged, which are left out otherwise (and named).",
        rich_help_panel=PRECISE,
    ),
]
Unseen = Annotated[
    str | None,
    typer.Option(
        metavar="train|test|both",
        help="Set some training or test examples (or both) aside and learn nothing from them.",
        show_default="all are learned from",
        rich_help_panel=PRECISE,
    ),
]
UnseenShare = Annotated[
    float | None,
    typer.Option(
        callback=share(),
        metavar="SHARE",
        help="Share of the training or test examples that --unseen sets aside.",
        show_default="0.2 of the pool, 0.25 of the test examples",
        rich_help_panel=PRECISE,
    ),
]
Encoder = Annotated[
    str | None,
    typer.Option(
        help="Take the features of this encoder.",
        show_default="those that the estimator prefers, else those made last",
        autocompletion=complete("encoder"),
    ),
]
Features = Annotated[
    Path | None,
    typer.Option(help="Features file to use.", show_default="as --encoder", rich_help_panel=FILES),
]
