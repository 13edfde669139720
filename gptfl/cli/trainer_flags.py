"""Trainers' names on a command line: ``--learning-rate`` is ``--lr``."""

from collections.abc import Collection, Mapping, Sequence

from gptfl.options.recipe import translate
from gptfl.options.recipe_keys import OTHERS, REFUSED, RENAMED

KEYS = {*RENAMED, *OTHERS, *REFUSED}
SWITCHES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "packing": {"true": ("--packing", "bfd"), "false": ()},
    "group_by_length": {"true": ("--group-by-length",), "false": ()},
}
"""Options that trainers have under the same name, as a switch that is true or false."""


def in_own_words(words: Sequence[str], own: Collection[str]) -> list[str]:
    """The words with gptfl's names in place of trainers', with hyphens or underscores; ``own`` are its flags.

    Raises ``UsageError`` for what gptfl can't follow, and where the batch of a step isn't said.
    """
    kept: list[str] = []
    given: dict[str, str | bool] = {}
    left = list(words)
    while left:
        word = left.pop(0)
        if word == "--":
            return [*kept, *_typed(given), word, *left]
        name, sign, value = word.partition("=")
        key = name[2:].replace("-", "_") if name.startswith("--") else ""
        flag = f"--{key.replace('_', '-')}"
        if flag in own and key in SWITCHES:
            said = value if sign else left.pop(0) if left and not left[0].startswith("-") else "true"
            kept += SWITCHES[key].get(said.lower(), (flag, said))
        elif flag in own:
            kept.append(flag + sign + value if "_" in name else word)
        elif key not in KEYS:
            kept.append(word)
        elif sign:
            given[key] = value
        elif left and not left[0].startswith("--"):
            given[key] = left.pop(0)
        else:
            given[key] = True
    return [*kept, *_typed(given)]


def _typed(given: dict[str, str | bool]) -> list[str]:
    if not given:
        return []
    read = {key: {"true": True, "false": False}.get(str(value).lower(), value) for key, value in given.items()}
    options = translate(read, "the command line")
    flags = {f"--{name.replace('_', '-')}": value for name, value in options.items()}
    return [word for flag, value in flags.items() for word in ((flag,) if value is True else (flag, str(value)))]
