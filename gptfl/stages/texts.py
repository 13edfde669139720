"""The texts of a recording's examples, loaded again where the recording keeps none."""

from collections.abc import Sequence
from pathlib import Path

from gptfl.errors import DataError, UsageError
from gptfl.records import Dynamics, Example, user_path
from gptfl.registry import get_registry
from gptfl.stages.mixture import Source


def with_texts(
    dynamics: Dynamics, data: str | Path | None, path: Path
) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Pool and test examples with their texts.

    Where the recording keeps no texts, its task is loaded again with its settings, from ``data`` if
    given. Raises ``DataError`` if that gives other examples than those recorded, ``UsageError`` for
    ``data`` where the recording keeps its texts.
    """
    if all(example.text for example in (*dynamics.pool, *dynamics.test)):
        if data is not None:
            raise UsageError(f"--data {data} is not needed: {path} keeps its texts", "leave out --data")
        return dynamics.pool, dynamics.test
    settings = dynamics.settings
    missing = [name for name in ("task", "pool", "test", "seed") if name not in settings]
    if missing:
        raise DataError(
            f"{path} keeps no texts and does not say where they came from (no {missing[0]!r})",
            "make a recording that keeps its texts",
        )
    source = settings.get("data") if data is None else data
    examples = Source.of_settings(get_registry(), settings, None if source is None else user_path(source))
    loaded = examples.load(settings["pool"], settings["test"], settings["seed"])
    where = settings["task"] if source is None else source
    _same(dynamics.pool, loaded.pool, f"pool example of {path} and of {where}")
    _same(dynamics.test, loaded.test, f"test example of {path} and of {where}")
    return loaded.pool, loaded.test


def _same(recorded: Sequence[Example], loaded: Sequence[Example], what: str) -> None:
    for old, new in zip(recorded, loaded, strict=False):
        if (old.id, old.digest) != (new.id, new.digest):
            raise DataError(
                f"{what} differ: recorded {old.id!r} ({old.digest}), loaded {new.id!r} ({new.digest})",
                "pass --data with the very files that were recorded",
            )
    if len(recorded) != len(loaded):
        raise DataError(
            f"{what} are not as many: recorded {len(recorded)}, loaded {len(loaded)}",
            "pass --data with the very files that were recorded",
        )
