"""``gptfl featurize``."""

from pathlib import Path

from gptfl.cli import console
from gptfl.cli.adapter import with_options
from gptfl.options.simulation import FeaturizeOptions


@with_options(FeaturizeOptions)
def command(options: FeaturizeOptions) -> None:
    """Embed the pool and the test examples of a recording; what is embedded already is reused.

    Example: `gptfl featurize --encoder causal-lm --set model=pythia-70m --set token=last`
    """
    from gptfl.features.featurize import featurize_with

    console.warn_of_problems()
    with console.progress_bar() as progress:
        result = featurize_with(options, progress=progress)
    for text in result.notes:
        console.note(text)
    wide: dict[int, list[str]] = {}
    for name, dims in result.dims.items():
        wide.setdefault(dims, []).append(name)
    sets = "; ".join(f"{', '.join(names)} ({dims} numbers an example)" for dims, names in wide.items())
    console.say(f"{result.path}: {result.encoder}, {sets}; {result.embedded} embedded, {result.reused} reused")
    new = None if options.new is None else console.quoted(Path(options.new))
    console.say("next: gptfl fit" if new is None else f"next: gptfl simulate --new-train {new}")


def next_command(sketched: bool) -> str:
    """What to run on a recording that has no features yet, ``sketched`` or not."""
    from gptfl.errors import ResourceError
    from gptfl.features.featurize import default_encoder

    try:
        default_encoder(sketched)
    except ResourceError:
        return "gptfl featurize --encoder tfidf-svd (the weights of the default, minilm, are not on this machine)"
    return "gptfl featurize"
