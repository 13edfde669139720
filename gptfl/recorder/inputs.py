"""What a recorder is given and what it prints: step sizes, groups, lines."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Int

from gptfl.errors import DataError, UsageError
from gptfl.recorder.rows import id_of


def say(line: str) -> None:
    """Print a line, as a note of gptfl's among those of the training, above its progress bars."""
    from tqdm import tqdm

    tqdm.write(f"gptfl: {line}")


def rate_of(lr: Any) -> float:
    """A step size as a number. Raises ``UsageError`` for what is none."""
    item = getattr(lr, "item", None)
    value = item() if callable(item) else lr
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise UsageError(f"lr is {value!r}, no step size", "give the optimiser's learning rate, a number from 0")
    return float(value)


def group_places(
    groups: Mapping[str, Iterable[Any]], places: Mapping[str, int]
) -> dict[str, Int[np.ndarray, " member"]]:
    """The places of the test examples of each named group. Raises ``DataError`` for an id that none has."""
    found = {}
    for name, ids in groups.items():
        if not isinstance(name, str) or not name:
            raise UsageError(f"a group is called {name!r}", "give each group a name")
        names = [id_of(one, f"group {name!r}") for one in ([ids] if isinstance(ids, str) else ids)]
        lost = [one for one in names if one not in places]
        if lost or not names:
            what = f"names {lost[0]!r}, which is no test example" if lost else "is empty"
            raise DataError(f"group {name!r} {what}", "give it ids of test examples")
        found[name] = np.array([places[one] for one in names], dtype=np.int64)
    return found
