"""Reads the texts that a recording in another layout lacks: JSON lines of ids and texts."""

from dataclasses import dataclass
from pathlib import Path

from gptfl.core import Example
from gptfl.core.turns import Turn, transcript, turns_from_json
from gptfl.errors import DataError
from gptfl.store.examples import MAX_CLASSES, MAX_EXAMPLES
from gptfl.store.jsonlines import Line, read_json_lines, shown

TRAIN_TEXTS, TEST_TEXTS = "train_texts.json", "test_texts.json"
TEXT_FORM = '{"id": 0, "input": "prompt and target together"} and, if you like, "target"'


@dataclass(frozen=True, slots=True)
class Texts:
    """The examples of a file; ``has_classes`` is whether a line has choices, if only none to choose from."""

    examples: tuple[Example, ...]
    has_classes: bool


def read_texts(path: Path) -> Texts:
    """The examples of a file of texts. Where ``target`` is given, it must end the input, and is split from it.

    ``choices`` with their ``label``, ``fields``, and the ``turns`` of a conversation, which gptfl adds when it exports, are
    taken back; whatever else a line holds is passed over. Raises ``DataError``.
    """
    examples: list[Example] = []
    seen: dict[str, int] = {}
    has_classes = False
    for line in read_json_lines(path, TEXT_FORM):
        example = _example(line)
        if example.id in seen:
            raise line.wrong(
                f"the id {shown(example.id)} was there before (line {seen[example.id]})", "make ids unique"
            )
        seen[example.id] = line.number
        examples.append(example)
        has_classes |= line.values.get("choices") is not None
        if len(examples) > MAX_EXAMPLES:
            raise line.wrong(f"there are more than {MAX_EXAMPLES} texts", "keep those of the runs")
    if not examples:
        raise DataError(f"{path} holds no text", f"write one a line: {TEXT_FORM}")
    return Texts(tuple(examples), has_classes)


def _example(line: Line) -> Example:
    whole, target = line.values.get("input"), line.values.get("target")
    if not isinstance(whole, str) or not whole.strip():
        raise line.wrong(f'"input" is {line.what("input")}', f"expected {TEXT_FORM}")
    if target is not None and not isinstance(target, str):
        raise line.wrong(f'"target" is {shown(target)}, not a text', f"expected {TEXT_FORM}")
    cut = 0 if target is None else len(whole)
    if target:
        # White space around either may have been cut; the input itself is never changed.
        body = whole if whole.endswith(target) else whole.rstrip()
        ending = target if body.endswith(target) else target.strip()
        if not body.endswith(ending):
            raise line.wrong(
                f"the input does not end with its target {shown(target)}", "put both into the input, or drop the target"
            )
        cut = len(body) - len(ending)
    choices, label = _class(line)
    fields = line.values.get("fields")
    turns = _turns(line, whole)
    prompt, ending = transcript(turns) if turns else (whole[:cut], whole[cut:])
    return Example(
        line.id(line.values.get("id"), TEXT_FORM),
        prompt,
        ending,
        choices,
        label,
        fields if isinstance(fields, dict) else {},
        turns=turns,
    )


def _turns(line: Line, whole: str) -> tuple[Turn, ...]:
    """The messages of a conversation, of which the input is the transcript; none where it is no conversation."""
    value = line.values.get("turns")
    if value is None:
        return ()
    turns = turns_from_json(value)
    if not turns:
        raise line.wrong(f'"turns" is {shown(value)}, no conversation', "export it again, or leave it out")
    if "".join(transcript(turns)) != whole:
        raise line.wrong("the input is not the transcript of its turns", "export it again, or leave the turns out")
    return turns


def _class(line: Line) -> tuple[tuple[str, ...], int | None]:
    """Choices and label. Without choices, what others call a label may be anything, and is passed over."""
    choices, label = line.values.get("choices"), line.values.get("label")
    if choices is None:
        return (), None
    if not isinstance(choices, list) or not all(isinstance(choice, str) for choice in choices):
        raise line.wrong(f'"choices" is {shown(choices)}, not a list of texts', "mend it, or leave it out")
    if label is not None and (type(label) is not int or not 0 <= label < (len(choices) or MAX_CLASSES)):
        raise line.wrong(f'"label" is {shown(label)} of {len(choices)} choices', "number them from 0")
    return tuple(choices), label
