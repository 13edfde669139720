"""Which models the user of this machine has named: a file, which anyone may have made, can't have others loaded."""

import contextlib
from pathlib import Path

from gptfl.errors import DataError
from gptfl.training.names import ModelSource, resolve_model, short_name

LIST = "named-models.txt"
"""In the cache folder: where the models lie that were loaded by name, one a line."""
MAX_BYTES = 2**24


def remember(source: ModelSource) -> None:
    """Note that the user named this model."""
    if short_name(source.name) is not None or source.location in _named():
        return
    # What can't be noted has to be named again, which is asked for then.
    with contextlib.suppress(OSError):
        path = _path()
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as stream:
            stream.write(f"{source.location}\n")


def model_in_file(name: object, location: object, where: str, option: str) -> str:
    """The model that a file names, if it may be loaded: one with a short name, or that was loaded here by name before.

    Args:
        name: as the file has it.
        location: where the file says that a folder lies.
        where: the file, for messages.
        option: that names a model, for messages.

    Raises ``DataError`` for any other.
    """
    if not isinstance(name, str):
        raise DataError(f"{where} does not say which model it was made with", f"name one: {option}pythia-70m")
    if short_name(name) is not None:
        return name
    here = location if isinstance(location, str) and _is_folder(location) else name
    try:
        source = resolve_model(here)
    except DataError as error:
        raise DataError(f"{where}: {error.problem}", f"name the model where it lies now: {option}...") from error
    if source.location not in _named():
        raise DataError(
            f"{where} names the model {here}, which you have not used here yet, and a file alone doesn't have it loaded",
            f"if you want that: {option}{here}",
        )
    return here


def _is_folder(location: str) -> bool:
    try:
        return Path(location).is_absolute() and Path(location).is_dir()
    except (OSError, ValueError):
        return False


def _named() -> frozenset[str]:
    try:
        path = _path()
        if path.stat().st_size > MAX_BYTES:
            return frozenset()
        return frozenset(path.read_text(encoding="utf-8", errors="replace").splitlines())
    except OSError:
        return frozenset()


def _path() -> Path:
    from gptfl.training.models import cache_folder

    return cache_folder() / LIST
