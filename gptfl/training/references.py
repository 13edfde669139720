"""What a generated answer is held against."""

from gptfl.errors import DataError
from gptfl.records import Example


def references_of(example: Example) -> tuple[str, ...]:
    """The texts in ``fields["references"]`` where there are any, else the target; surrounding white space is no part.

    Raises ``DataError`` where the field is something other than a list of texts that say something.
    """
    given = example.fields.get("references")
    if given is None:
        return (example.target.strip(),)
    texts = [text.strip() for text in given if isinstance(text, str)] if isinstance(given, list | tuple) else []
    if not texts or not all(texts) or len(texts) < len(given):
        raise DataError(
            f"test example {example.id!r}: field 'references' is {given!r:.60}, not a list of texts",
            "give at least one, or leave the field out to take the target",
        )
    return tuple(texts)
