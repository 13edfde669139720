"""The groups that examples fall into: their classes, and the fields of the rows that few values share."""

from collections.abc import Sequence

from gptfl.core import Classes, Example, classes_of, in_order
from gptfl.core.texts import shown_line

MOST_VALUES = 24
"""A field of more values than this makes no groups."""


def groups_of_examples(examples: Sequence[Example]) -> dict[str, tuple[list[str], list[int]]]:
    """By name, the values of a group and for each example the number of its own, -1 where it has none."""
    found: dict[str, tuple[list[str], list[int]]] = {}
    own = classes_of(examples)
    if own:
        classes = Classes(examples)
        ordered = in_order(own)
        found["class"] = [classes.name(one) for one in ordered], [ordered.index(one) for one in own]
    names = dict.fromkeys(name for example in examples for name in example.fields)
    for name in names:
        values = [_value(example.fields.get(name)) for example in examples]
        known = list(dict.fromkeys(value for value in values if value is not None))
        if 2 <= len(known) <= min(MOST_VALUES, len(examples) // 2) and name not in found:
            found[name] = known, [-1 if value is None else known.index(value) for value in values]
    return found


def _value(value: object) -> str | None:
    """A field's value as a group's name; None for what is no single short value."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str | int) and value != "" and len(str(value)) <= 80:
        return shown_line(str(value))
    return None
