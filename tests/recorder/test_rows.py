"""Rows in the shapes that trainers take."""

from typing import Any

import pytest
import transformers as hf

from gptfl.core import Example
from gptfl.errors import DataError
from gptfl.recorder.rows import examples_of, token_rows


@pytest.mark.parametrize("id", [None, ""])
def test_an_empty_id_is_none(id: str | None) -> None:
    (example,) = examples_of([{"id": id, "text": "ab"}], "row")
    assert example.id == examples_of([{"text": "ab"}], "row")[0].id
    with pytest.raises(DataError, match="row 0 has no 'id': give every row an id"):
        examples_of([{"id": id, "text": "ab"}], "row", own_ids=False)


@pytest.mark.parametrize(
    ("row", "prompt", "target"),
    [
        ({"prompt": "a", "target": "b"}, "a", "b"),
        ({"prompt": "a", "completion": "b"}, "a", "b"),
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, "a", "b"),
        ({"text": "ab"}, "", "ab"),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}, "a", "b"),
    ],
)
def test_texts_of_each_shape(row: dict[str, Any], prompt: str, target: str) -> None:
    (example,) = examples_of([{**row, "id": 7, "topic": "x"}], "row")
    assert (example.id, example.prompt, example.target) == ("7", prompt, target)
    assert example.fields == {"topic": "x"}


def test_rows_of_tokens_are_decoded_and_known_by_them(tokenizer: Any) -> None:
    prompt_ids, answer = tokenizer("the sun")["input_ids"], tokenizer(" is red")["input_ids"]
    row = {"input_ids": prompt_ids + answer, "labels": [-100] * len(prompt_ids) + answer}
    (example,) = examples_of([row], "row", tokenizer)
    assert (example.prompt, example.target) == ("the sun", " is red")
    one, other = examples_of([row, {**row, "labels": row["input_ids"]}], "row")
    assert one.text == other.text == ""
    assert one.digest != other.digest


def test_labels_are_those_of_the_target_of_the_mask_or_of_the_collator(tokenizer: Any) -> None:
    example = Example("e", "the sun", " is red")
    (made,) = token_rows([example], [example], tokenizer)
    assert list(made.ids) == tokenizer("the sun is red")["input_ids"]
    assert tokenizer.decode([label for label in made.labels if label != -100]) == " is red"
    (masked,) = token_rows([{"input_ids": [1, 2, 3], "completion_mask": [0, 0, 1]}], [example], None)
    assert list(masked.labels) == [-100, -100, 3]
    collate = hf.DataCollatorForLanguageModeling(tokenizer, mlm=False)
    (given,) = token_rows([{"input_ids": [1, 2, 3], "attention_mask": [1, 1, 1]}], [example], None, collate)
    assert list(given.labels) == [1, 2, 3]


def test_a_conversation_without_tokens_is_no_test_example(tokenizer: Any) -> None:
    said = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    for row in ({"messages": said}, {"prompt": said[:1], "completion": said[1:]}):
        with pytest.raises(DataError, match="is a conversation, and its tokens depend on the trainer's template"):
            token_rows([row], examples_of([row], "row"), tokenizer)
