"""What a recorder is given and what it prints: step sizes, groups, lines."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from gptfl.errors import DataError, UsageError, harmless
from gptfl.options.base import nearest
from gptfl.options.types import shown
from gptfl.recorder.forecast import Forecast
from gptfl.recorder.rows import id_of
from gptfl.recorder.sketch_spec import SketchOptions

Stop = Callable[[Forecast], bool] | float


class WatchOptions(SketchOptions, total=False):
    """How a run is watched while it trains: what is forecast, sketched and told."""

    groups: Mapping[str, Iterable[Any]] | None
    forecast: bool
    simulator: str | Path | None
    stop_when: Stop | None
    say: Callable[[str], None]
    model_name: str | None


class LoopOptions(WatchOptions, total=False):
    """The same of a loop that gptfl knows nothing of, and how it trains, which sketches follow."""

    optimiser: Any
    loss_mean: str | None


def check_names(given: Mapping[str, Any], function: Callable[..., Any], who: str, options: Any = WatchOptions) -> None:
    """Refuse a name that is no option of how a run is watched.

    Args:
        given: options by name.
        function: whose parameters are named, too.
        who: what messages call it.
        options: the typed dictionary of the options that there are.

    Raises ``TypeError``, which names the nearest.
    """
    for name in given:
        if name not in options.__annotations__:
            known = [*inspect.signature(function).parameters, *options.__annotations__]
            raise TypeError(f"{who} has no option {name!r}: {nearest(name, known)}")


def check_count(value: Any, name: str, of: str = "") -> None:
    """Raise ``UsageError`` for what is no whole number from 1 on, ``of`` such things."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UsageError(f"{name}={value!r}", f"give a whole number{of}, at least 1")


def check_texts(**given: Any) -> None:
    """Raise ``UsageError`` for what is no text, naming the argument."""
    for name, value in given.items():
        check_text(value, name)


def stop_of(more: WatchOptions) -> Stop | None:
    """When to stop. Raises ``UsageError`` for what is neither a function nor a number."""
    stop = more.get("stop_when")
    if not (stop is None or callable(stop) or is_number(stop)):
        raise UsageError(f"stop_when={stop!r}", "give a function of the forecast, or a number")
    return stop


def name_of(model: Any) -> str:
    """What a model calls itself, if it does."""
    found = getattr(getattr(model, "config", None), "_name_or_path", "")
    return found if found and found != "None" else "own"  # as transformers has it of a model from no path


def say(line: str) -> None:
    """Print a line, as a note of gptfl's among those of the training, above its progress bars."""
    # What transformers draws its bars with.
    from tqdm import tqdm  # type: ignore[import-untyped]

    tqdm.write(harmless(f"gptfl: {line}", kept="\t\n"))


def ids_of_batch(ids: Any) -> Iterable[Any]:
    """The ids of a batch, of which a number is one. Raises ``DataError`` for a text and for what has none."""
    if isinstance(ids, str | bytes):
        # The whole could be meant, and so could its letters.
        raise DataError(f"the ids of a batch are the text {ids!r}", "give a list of ids, [id] for a single one")
    if isinstance(ids, int) or getattr(ids, "ndim", 1) == 0:
        return [ids]
    if not isinstance(ids, Iterable):
        raise DataError(f"the ids of a batch are {ids!r}", "give the ids of the examples in it")
    return ids


def rate_of(lr: Any) -> float:
    """A step size as a number. Raises ``UsageError`` for what is none."""
    item = getattr(lr, "item", None)
    value = item() if callable(item) else lr
    if not is_number(value) or not 0 <= value < float("inf"):
        raise UsageError(f"lr is {value!r}, no step size", "give the optimiser's learning rate, a number from 0")
    return float(value)


def is_number(value: Any) -> bool:
    """Whether a value is a number, which a switch isn't."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def listed(given: Any, name: str) -> list[Any]:
    """Several values as a list. Raises ``UsageError``, naming the argument, for what can't be gone through, and for a text."""
    if isinstance(given, str | bytes | Mapping) or (
        not isinstance(given, Iterable) and not hasattr(given, "__getitem__")
    ):
        raise UsageError(f"{name} is {shown(given)}", "give a sequence")
    return list(given)


def names_of(given: Any, name: str) -> list[str]:
    """One text, or several. Raises ``UsageError``, naming the argument, for anything else."""
    found = [given] if isinstance(given, str) else listed(given, name)
    for one in found:
        check_text(one, f"a part of {name}")
    return found


def check_text(given: Any, name: str) -> None:
    """Raise ``UsageError``, naming the argument, for what is no text."""
    if not isinstance(given, str):
        raise UsageError(f"{name} is {shown(given)}", "give a text")


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
