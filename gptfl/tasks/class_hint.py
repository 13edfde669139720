"""Notes that rows of plain text look like those of a classification set, whose class nobody learns."""

from collections.abc import Sequence

from gptfl.core import Example

CLASSES = ("label", "class", "category", "intent", "sentiment", "topic", "label_text", "label_name")
"""Fields that often are a text's class."""
LONGEST, MOST, AGAIN = 40, 50, 2
"""Characters of the longest class, how many there are at most, and in how many rows each is in the mean at least."""


def class_hint(examples: Sequence[Example], columns: Sequence[str]) -> tuple[str, ...]:
    """A line that says how to learn the class of texts that are learned by themselves; nothing where they have none.

    Args:
        examples: of rows of plain text.
        columns: the rows' other fields, and the one of the text first.
    """
    text, *others = columns
    for name in sorted((one for one in others if one.lower() in CLASSES), key=lambda one: CLASSES.index(one.lower())):
        values = [example.fields.get(name) for example in examples]
        found = {one for one in values if isinstance(one, str) and 0 < len(one) <= LONGEST}
        if all(one in found for one in values) and 2 <= len(found) <= min(MOST, len(values) // AGAIN):
            some = ", ".join(sorted(found)[:3]) + (", …" if len(found) > 3 else "")
            return (
                f"{name} has {len(found)} values ({some}) and isn't learned; where it is the text's class, "
                f"--fields prompt={text},target={name} learns it",
            )
    return ()
