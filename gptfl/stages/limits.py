"""What of ``collect``'s options can be refused by itself: counts, names, sizes."""

from collections.abc import Mapping

from gptfl.errors import UsageError
from gptfl.store.safety import MAX_BYTES
from gptfl.store.workspace import safe_name


def check_counts(counts: Mapping[str, int | None]) -> None:
    """Raise ``UsageError`` for a number below 1; None is not given."""
    for flag, value in counts.items():
        if value is not None and value < 1:
            raise UsageError(f"{flag} is {value}", "give at least 1")


def check_name(name: str | None) -> None:
    """Raise ``UsageError`` for what can't begin the name of a file."""
    if name is not None and name != safe_name(name):
        raise UsageError(
            f"--name {name!r} can't begin the names of files",
            f"take at most 80 letters, digits, dots, underscores and hyphens, such as {safe_name(name)!r}",
        )


def check_recording_size(
    runs: int, repeats: int, steps: int, batch_size: int, every: int, test: int, metrics: int
) -> None:
    """Refuse what no file can hold, before anything of that size is made."""
    measured = steps // every + 2
    size = (runs + max(0, repeats)) * (steps * (batch_size + 1) * 8 + measured * (test * metrics * 4 + 8))
    if size > MAX_BYTES:
        raise UsageError(
            f"--runs {runs}{f' and --repeats {repeats}' if repeats else ''} of {steps} steps, each of --batch-size "
            f"{batch_size}, measured {measured} times on --test {test} examples, make a recording of "
            f"{size / 2**30:.3g} GiB, and gptfl reads up to {MAX_BYTES / 2**30:g} GiB",
            "lower --runs, --steps (or --epochs), --batch-size or --test, or raise --record-every",
        )
