"""Text generated many rows at a time, against the model's own greedy generation of one row after the other."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gptfl.records import Example
from gptfl.training import generation
from gptfl.training.encoding import Tokenizer
from gptfl.training.generation import Decoding, Generator, Prompts, nucleus
from gptfl.training.models import load_pretrained
from gptfl.training.names import resolve_model
from gptfl.training.network import Network

WORDS = ("the sun is red ?", "who sees it", "the moon was blue and the sea is", "is it", "a land", "shine on the sea and")
TEST = tuple(
    Example(f"t{i}", " ".join((WORDS * 2)[i : i + 1 + i % 4]), " yes the sun shines on the land") for i in range(9)
)


def make(folder: Path, decoding: Decoding, test: tuple[Example, ...] = TEST, **more: Any) -> Generator:
    torch.set_num_threads(1)
    loaded = load_pretrained(resolve_model(str(folder)), torch.device("cpu"))
    network = Network(loaded, more.pop("train_layers", None), more.pop("precision", "fp32"))
    tokenizer = Tokenizer(loaded.tokenizer, more.pop("max_length", 128))
    return Generator(network, Prompts(tokenizer, test, decoding, False), more.pop("budget", 4096))


def one_by_one(generator: Generator, test: tuple[Example, ...], tokens: int) -> list[list[int]]:
    """What ``transformers`` generates greedily, prompt after prompt, without the end-of-text token."""
    model, tokenizer = generator.network.model, generator.prompts.tokenizer
    answers = []
    for example in test:
        ids = torch.tensor([tokenizer.encode(example.prompt)])
        with torch.no_grad():
            out = model.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False
            )
        answer = out[0, ids.shape[1] :].tolist()
        answers.append(answer[: answer.index(0)] if 0 in answer else answer)
    return answers


def all_rows(generator: Generator) -> list[list[int]]:
    answers: dict[int, list[int]] = {}
    for members in generator.batches:
        answers |= zip(members, generator.continuations(members), strict=True)
    return [answers[index] for index in range(len(answers))]


@pytest.mark.parametrize("train_layers", [None, 2])
def test_many_rows_at_a_time_equal_the_models_own_generation(any_model: Path, train_layers: int | None) -> None:
    free = tuple(Example(e.id, e.prompt, e.target, fields={"references": ["two\nlines"]}) for e in TEST)
    generator = make(any_model, Decoding(tokens=20), free, train_layers=train_layers)
    expected = one_by_one(generator, free, 20)
    assert len(generator.batches) == 1
    assert all_rows(generator) == expected
    assert len({len(prompt) for prompt in generator.prompts.ids}) > 3
    assert len({len(answer) for answer in expected}) > 1, "no row finished before the others"
