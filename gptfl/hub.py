"""One file from the Hugging Face Hub or its cache, and one line of explanation where it can't be had."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gptfl.errors import DataError, ResourceError

PROBE_SECONDS = 4.0


def fetch_file(repo: str, filename: str, *, revision: str, repo_type: str, where: str, instead: str) -> Path:
    """The local path of a Hub file: from the cache if it is there, else downloaded into it.

    Without network it takes a few seconds at most.

    Args:
        repo: owner and name.
        filename: inside it.
        revision: branch, tag or commit.
        repo_type: ``model`` or ``dataset``.
        where: opens the error's problem (the flag and its value).
        instead: ends its remedy.

    Raises ``ResourceError`` where the Hub can't be reached, refuses or breaks off, ``DataError``
    where it has no such repository, revision or file.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    with contextlib.suppress(LocalEntryNotFoundError):
        cached = hf_hub_download(repo, filename, repo_type=repo_type, revision=revision, local_files_only=True)
        return Path(cached)
    require_hub(f"{where}: {repo} is not in the cache", instead)
    with explained(f"{where}: {repo}/{filename} at {revision}", instead), no_bars():
        downloaded = hf_hub_download(
            repo, filename, repo_type=repo_type, revision=revision, etag_timeout=2 * PROBE_SECONDS
        )
    return Path(downloaded)


def require_hub(problem: str, instead: str) -> None:
    """Raise ``ResourceError`` unless the Hub answers: one short try, where its own client tries for long."""
    from huggingface_hub import constants
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]
    from huggingface_hub.utils import get_session  # type: ignore[attr-defined]

    if constants.HF_HUB_OFFLINE:
        raise ResourceError(
            f"{problem}, and HF_HUB_OFFLINE is set", f"unset it, set HF_HOME to a filled cache, or {instead}"
        )
    try:
        get_session().head(constants.ENDPOINT, timeout=PROBE_SECONDS)
    except (OSError, HTTPError) as error:
        raise ResourceError(
            f"{problem} and {constants.ENDPOINT} can't be reached ({first_line(error)})",
            f"check the network, set HF_HOME to a filled cache, or {instead}",
        ) from error


@contextlib.contextmanager
def explained(problem: str, instead: str) -> Iterator[None]:
    """Turn whatever the Hub's client raises into one line."""
    from huggingface_hub.errors import (  # type: ignore[attr-defined]
        EntryNotFoundError,
        GatedRepoError,
        HTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        yield
    except GatedRepoError as error:
        raise ResourceError(f"{problem} is gated", f"accept its terms and run hf auth login, or {instead}") from error
    except LocalEntryNotFoundError as error:
        raise ResourceError(
            f"{problem} can't be had ({first_line(error)})", f"check the network, or {instead}"
        ) from error
    except (RepositoryNotFoundError, RevisionNotFoundError, EntryNotFoundError) as error:
        raise DataError(f"{problem} is not on the Hub, or is private", instead) from error
    except (OSError, HTTPError) as error:
        raise ResourceError(f"{problem} can't be had ({first_line(error)})", f"try again, or {instead}") from error


def first_line(error: BaseException) -> str:
    """The first line of an error's message, short, or its type where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else type(error).__name__


@contextlib.contextmanager
def no_bars() -> Iterator[None]:
    from huggingface_hub import utils

    bars: Any = utils
    if bars.are_progress_bars_disabled():
        yield
        return
    bars.disable_progress_bars()
    try:
        yield
    finally:
        bars.enable_progress_bars()
