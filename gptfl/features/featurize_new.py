"""Gives rows that a recording lacks vectors like those of its features, in a features file of their own."""

from pathlib import Path

from gptfl.core import Features, Progress, examples_fingerprint, user_path
from gptfl.core.texts import natural
from gptfl.errors import DataError, UsageError
from gptfl.features.embedding import row_key
from gptfl.features.extend import new_vectors
from gptfl.features.lookup import find_features
from gptfl.features.result import FeaturizeResult
from gptfl.options.simulation import FeaturizeOptions
from gptfl.recording.new_examples import read_new_examples
from gptfl.recording.recording import choose_metric, open_recording
from gptfl.store.features import write_features
from gptfl.store.kinds import FEATURES
from gptfl.store.outputs import check_target
from gptfl.store.workspace import safe_name


def featurize_new(options: FeaturizeOptions, progress: Progress) -> FeaturizeResult:
    """Embed the rows of ``options.new`` by the encoder of the recording's features, and with the same settings.

    Rows that a features file of the workspace holds already aren't embedded again; commands that are given these rows later
    find them there.

    Raises ``UsageError`` for options that say nothing of new rows, ``DataError`` where the recording has no features or
    rows or vectors aren't to be had.
    """
    assert options.new is not None  # what this is called for
    for flag, given in (
        ("--set", options.settings),
        ("--data", options.data),
        ("--recipe", options.recipe),
        ("--chat-template", options.chat_template),
    ):
        if given:
            raise UsageError(
                f"{flag} and --new were given together", "leave one out: new rows are embedded as the recording's"
            )
    recording = open_recording(options.dynamics, options.workspace)
    features, notes = find_features(recording, None, options.encoder)
    if features is None:
        raise DataError(
            f"{recording.stem} has no features, which say how new rows are embedded", "run gptfl featurize first"
        )
    metric, _ = choose_metric(recording.dynamics)
    new = read_new_examples(options.new, None, recording.dynamics, metric, recording.registry, "--new")
    space, stem = recording.workspace, f"{recording.stem}.new-{safe_name(Path(options.new).stem)}"
    target = user_path(options.output) if options.output is not None else space.features_path(stem, features.encoder)
    check_target(target, FEATURES)
    with space.lock("gptfl featurize"):
        made = new_vectors(features, new.pool, (), recording, progress, options.model, target)
        examples = examples_fingerprint(new.pool, ())
        write_features(
            target,
            Features(features.encoder, features.identity, examples, made.sets),
            [row_key(one) for one in new.pool],
            [],
        )
        more = [] if made.embedding is None else [*made.embedding.notes, *made.embedding.clear()]
    dims = {name: made.sets[name].train.shape[1] for name in sorted(made.sets, key=natural)}
    embedded = len(new.pool) if made.embedding is None else made.embedding.embedded_training
    said = (*recording.notes, *notes, *more)
    return FeaturizeResult(target, features.encoder, dims, embedded, len(new.pool) - embedded, said)
