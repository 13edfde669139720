"""``gptfl featurize``."""

from pathlib import Path
from typing import Annotated

import typer

from gptfl.cli import console
from gptfl.cli.options import FILES, Dynamics, Settings, Workspace, complete
from gptfl.cli.plugins import warn_of_problems


def command(
    encoder: Annotated[
        str | None,
        typer.Option(
            help="What turns examples into vectors (see gptfl plugins).",
            show_default="gradients where the recording holds sketches, else minilm",
            autocompletion=complete("encoder"),
        ),
    ] = None,
    settings: Settings = None,
    dynamics: Dynamics = None,
    workspace: Workspace = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Where the texts are, for a recording made with --no-texts.",
            show_default=False,
            rich_help_panel=FILES,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Features file to write.", show_default="in the workspace", rich_help_panel=FILES),
    ] = None,
) -> None:
    """Embed the pool and the test examples of a recording; what is embedded already is reused.

    Example: `gptfl featurize --encoder causal-lm --set model=pythia-70m --set token=last`
    """
    from gptfl.features.featurize import featurize

    warn_of_problems()
    with console.progress_bar() as progress:
        result = featurize(
            encoder,
            dynamics=dynamics,
            workspace=workspace,
            settings=console.parse_settings(settings),
            output=output,
            data=data,
            progress=progress,
        )
    for text in result.notes:
        console.note(text)
    wide: dict[int, list[str]] = {}
    for name, dims in result.dims.items():
        wide.setdefault(dims, []).append(name)
    sets = "; ".join(f"{', '.join(names)} ({dims} numbers an example)" for dims, names in wide.items())
    console.say(f"{result.path}: {result.encoder}, {sets}; {result.embedded} embedded, {result.reused} reused")
    console.say("next: gptfl fit")


def next_command(sketched: bool) -> str:
    """What to run on a recording that has no features yet, ``sketched`` or not."""
    from gptfl.errors import ResourceError
    from gptfl.features.featurize import default_encoder

    try:
        default_encoder(sketched)
    except ResourceError:
        return "gptfl featurize --encoder tfidf-svd (the weights of the default, minilm, are not on this machine)"
    return "gptfl featurize"
