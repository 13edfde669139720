"""The examples of somebody's own training: ids, texts and tokens, from rows in the shapes that trainers take."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gptfl.core import WORDLESS, Example, fingerprint
from gptfl.core.texts import ID_RULE, id_problem
from gptfl.errors import DataError
from gptfl.store.jsonlines import shown

IGNORED = -100
"""The label of a token without a loss."""
TARGETS = ("target", "completion", "chosen")
"""The keys of what follows a prompt."""
SHAPES = "give prompt and target (or completion), text, messages, or input_ids"
TOKEN_KEYS = ("input_ids", "attention_mask", "labels", "completion_mask", "assistant_masks", "token_type_ids")
_TEXTS = {"prompt", "target", "completion", "text", "messages", "chosen", "rejected", *TOKEN_KEYS}

Collate = Callable[[list[dict[str, Any]]], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class LabelledTokens:
    """The tokens of an example, and the label of each; labels of ``IGNORED`` have no loss."""

    ids: Sequence[int]
    labels: Sequence[int]


def column(data: Any, name: str) -> list[Any] | None:
    """The values of a data set's column, by row; None where no row has it. Raises ``DataError`` where some lack it."""
    names = getattr(data, "column_names", None)
    if isinstance(names, list):
        return list(data[name]) if name in names else None
    values = []
    for place in range(len(data)):
        row = data[place]
        if not isinstance(row, Mapping) or name not in row:
            if place == 0:
                return None
            raise DataError(f"row {place} of the data set has no {name!r}", "give every row an id")
        values.append(row[name])
    return values


def id_of(value: Any, what: str) -> str:
    """An id as gptfl keeps it. Raises ``DataError`` for what is none."""
    item = getattr(value, "item", None)
    value = item() if callable(item) and getattr(value, "ndim", 1) == 0 else value
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise DataError(f"{what} has the id {shown(value)}", ID_RULE)
    problem = id_problem(str(value))
    if problem:
        raise DataError(f"{what} has the id {shown(value)}, which {problem}", ID_RULE)
    return str(value)


def examples_of(
    rows: Iterable[Any], what: str, tokenizer: Any = None, id_column: str = "id", own_ids: bool = True
) -> tuple[Example, ...]:
    """Rows as examples.

    Args:
        rows: examples, or mappings of texts, messages or tokens.
        what: what a message calls one.
        tokenizer: writes the text of a row that holds tokens only.
        id_column: the key of a row's id.
        own_ids: whether a row without an id gets a hash of its content; else every row needs one.

    Raises ``DataError``, naming the row, for an id that is none or there twice, and for a row without a text.
    """
    found: list[Example] = []
    seen: dict[str, int] = {}
    for number, row in enumerate(rows):
        if isinstance(row, Example):
            id_of(row.id, f"{what} {number}")
            example = row
        else:
            example = _example(row, f"{what} {number}", tokenizer, id_column, own_ids)
        if example.id in seen:
            raise DataError(
                f"{what} {number} has the id {shown(example.id)}, as row {seen[example.id]} has", "make ids unique"
            )
        seen[example.id] = number
        found.append(example)
    if not found:
        raise DataError(f"there is no {what}", "give at least one")
    return tuple(found)


def _is_empty(value: Any) -> bool:
    return isinstance(value, str) and not value


def _example(row: Any, what: str, tokenizer: Any, id_column: str, own_ids: bool) -> Example:
    if not isinstance(row, Mapping):
        raise DataError(f"{what} is a {type(row).__name__}, no example", SHAPES)
    prompt, target = _texts(row, what, tokenizer)
    digest = "" if prompt or target else fingerprint(*(_numbers(row.get(key)) for key in ("input_ids", "labels")))
    if row.get(id_column) is None or _is_empty(row[id_column]):
        if not own_ids:
            raise DataError(f"{what} has no {id_column!r}", "give every row an id, or name its column with id_column")
        name = digest or fingerprint(prompt, target)
    else:
        name = id_of(row[id_column], what)
    left_out = {*_TEXTS, *WORDLESS, id_column, "task"}
    fields = {
        str(key): value
        for key, value in row.items()
        if key not in left_out and (value is None or isinstance(value, str | bool | int))
    }
    return Example(name, prompt, target, fields=fields, digest=digest)


def _texts(row: Mapping[str, Any], what: str, tokenizer: Any) -> tuple[str, str]:
    """Prompt and target of a row; both empty where only its tokens are known and nothing decodes them."""
    for key in TARGETS:
        if row.get(key) is not None:
            return _text(row.get("prompt") or ""), _text(row[key])
    if row.get("text") is not None:
        return "", _text(row["text"])
    if isinstance(row.get("messages"), Sequence) and len(row["messages"]):
        return _text(row["messages"][:-1]), _text(row["messages"][-1:])
    if row.get("input_ids") is None:
        raise DataError(f"{what} has no text (its keys: {', '.join(map(str, row))})", SHAPES)
    if tokenizer is None:
        return "", ""
    ids = _numbers(row["input_ids"])
    labels = _labels(row, ids) or ids
    first = next((place for place, label in enumerate(labels) if label != IGNORED), len(ids))
    return tokenizer.decode(ids[:first]), tokenizer.decode([one for one in labels[first:] if one != IGNORED])


def _text(value: Any) -> str:
    """A text, or the contents of messages."""
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence):
        return "\n".join(str(one.get("content") if isinstance(one, Mapping) else one) for one in value)
    return str(value)


def _numbers(values: Any) -> list[int]:
    if values is None:
        return []
    return [int(one) for one in (values.tolist() if hasattr(values, "tolist") else values)]


def _labels(row: Mapping[str, Any], ids: Sequence[int]) -> list[int] | None:
    """The labels that a row holds, or that its mask says; None where it holds neither."""
    if row.get("labels") is not None:
        return _numbers(row["labels"])
    for key in ("completion_mask", "assistant_masks"):
        if row.get(key) is not None:
            return [one if kept else IGNORED for one, kept in zip(ids, _numbers(row[key]), strict=True)]
    return None


def token_rows(
    rows: Iterable[Any],
    examples: Sequence[Example],
    tokenizer: Any,
    collate: Collate | None = None,
    what: str = "test",
) -> tuple[LabelledTokens, ...]:
    """The tokens of examples and which of them count.

    A row that holds neither tokens nor labels is tokenised, prompt and target together; its labels are the tokens after
    those that it shares with the prompt alone.

    Args:
        rows: of the data set.
        examples: the same as examples.
        tokenizer: reads rows of text.
        collate: makes the labels that a row of tokens lacks, as the trainer does.
        what: what a message calls their kind.

    Raises ``DataError`` for an example without labels.
    """
    found = []
    for row, example in zip(rows, examples, strict=True):
        known = row if isinstance(row, Mapping) and (row.get("input_ids") is not None or is_preference(row)) else None
        if known is None and (example.turns or _is_chat(row)):
            raise DataError(
                f"{what} example {example.id!r} is a conversation, and its tokens depend on the trainer's template",
                "give input_ids and labels, as the trainer makes them",
            )
        made = _tokenised(example, tokenizer, what) if known is None else _of_tokens(known, collate)
        if made is None or not any(label != IGNORED for label in made.labels[1:]):
            raise DataError(
                f"{what} example {example.id!r} has no labels, so it has no loss",
                f"give it a target, or labels of which some are not {IGNORED}",
            )
        if len(made.ids) != len(made.labels):
            raise DataError(
                f"{what} example {example.id!r} has {len(made.ids)} tokens and {len(made.labels)} labels",
                "give one label a token",
            )
        found.append(made)
    return tuple(found)


def is_preference(row: Any) -> bool:
    """Whether a row holds the tokens of a prompt and of two answers, one of which is to be preferred (TRL's DPO)."""
    return isinstance(row, Mapping) and all(
        row.get(key) is not None for key in ("prompt_ids", "chosen_ids", "rejected_ids")
    )


def answer_tokens(row: Mapping[str, Any], answer: str) -> LabelledTokens:
    """The tokens of a preference row's prompt and of its ``chosen`` or ``rejected`` answer, which alone has labels."""
    prompt, ids = _numbers(row["prompt_ids"]), _numbers(row[f"{answer}_ids"])
    return LabelledTokens(prompt + ids, [IGNORED] * len(prompt) + ids)


def _is_chat(row: Any) -> bool:
    """Whether a row's text is of messages."""
    texts = [] if not isinstance(row, Mapping) else [row.get(key) for key in ("prompt", *TARGETS)]
    return isinstance(row, Mapping) and (
        row.get("messages") is not None or any(isinstance(text, list | tuple) for text in texts)
    )


def _of_tokens(row: Mapping[str, Any], collate: Collate | None) -> LabelledTokens | None:
    if row.get("input_ids") is None:
        return answer_tokens(row, "chosen")
    ids = _numbers(row["input_ids"])
    labels = _labels(row, ids)
    if labels is not None or collate is None:
        return None if labels is None else LabelledTokens(ids, labels)
    batch = collate([{key: row[key] for key in TOKEN_KEYS if row.get(key) is not None}])
    if batch.get("labels") is None:
        return None
    return LabelledTokens(_numbers(batch["input_ids"][0]), _numbers(batch["labels"][0]))


def _tokenised(example: Example, tokenizer: Any, what: str) -> LabelledTokens | None:
    if tokenizer is None:
        raise DataError(
            f"{what} example {example.id!r} is a text, and there is no tokenizer",
            "give tokenizer=, or rows with input_ids and labels",
        )
    if not example.target:
        return None
    whole, prompt = (list(tokenizer(text)["input_ids"]) for text in (example.text, example.prompt))
    shared = 0
    while shared < min(len(whole), len(prompt)) and whole[shared] == prompt[shared]:
        shared += 1
    # What begins a text by itself, a token of the tokenizer's own, is no part of the target.
    return LabelledTokens(whole, [IGNORED] * shared + whole[shared:])
