"""Any JSON lines with a prompt and a target."""

from gptfl.core import Example
from gptfl.tasks.base import DataTask
from gptfl.tasks.rows import TaskRow, shown

KNOWN = frozenset({"id", "prompt", "target", "choices", "label"})


class JsonLines(DataTask):
    """Prompts and targets exactly as the lines give them; whatever else a line holds is kept in ``fields``.

    A prompt may be empty: the target is then a plain text, all of it to be learned.

    ``choices`` (a list of texts, the target among them) gives the examples classes, for accuracy
    and class-share. ``label`` is the target's place in it and may be left out.
    """

    name = "jsonl"
    expected = "prompt, target (texts) and, if you like, id, choices (a list of texts) and label"

    def example(self, row: TaskRow, id: str) -> Example:
        """The example that a row holds."""
        prompt, target = row.any_text("prompt"), row.raw_text("target")
        choices, label = _classes(row, target)
        fields = {name: value for name, value in row.values.items() if name not in KNOWN}
        return Example(id, prompt, target, choices, label, fields)


def _classes(row: TaskRow, target: str) -> tuple[tuple[str, ...], int | None]:
    if row.values.get("choices") is None:
        if row.values.get("label") is not None:
            raise row.wrong("field 'label' needs the field 'choices'")
        return (), None
    choices = row.texts("choices")
    if len(choices) < 2 or len(set(choices)) < len(choices):
        raise row.wrong(f"field 'choices' is {shown(list(choices))}, not two or more different texts")
    if row.values.get("label") is not None:
        label = row.label("label", len(choices))
        if choices[label] != target:
            raise row.wrong(f"choice {label} is {shown(choices[label])}, but the target is {shown(target)}")
        return choices, label
    if target not in choices:
        raise row.wrong(f"the target {shown(target)} is not among the choices")
    return choices, choices.index(target)
