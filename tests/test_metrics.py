"""Metrics of generated text against values worked out by hand."""

import math
from typing import Any

import numpy as np
import pytest

from gptfl.core import Example
from gptfl.core.examples import references_of
from gptfl.errors import DataError
from gptfl.metrics import Bleu, RougeL
from gptfl.plugins.interfaces import Metric, Observation
from gptfl.testing import check_metric

MAT = "the cat sat on the mat"


def measure(metric: Metric, text: str, *references: str) -> float:
    """The metric of one generated text."""
    example = Example("e", "Say it:", " " + references[0], fields={"references": list(references)})
    metric.check([example])
    (value,) = metric.measure(Observation((example,), np.zeros(1), np.ones(1, dtype=np.int64), generated=(text,)))
    return float(value)


@pytest.mark.parametrize(
    ("text", "references", "expected"),
    [
        (MAT, [MAT], 1.0),
        (f" {MAT}\n", [MAT], 1.0),
        # 5 of 6 words (one "the" too many), 3 of 5 pairs, 2 of 4 triples, 1 of 3 fours
        (MAT, ["the cat sat on a mat"], (5 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** (1 / 4)),
        # too short: all n-grams that there are match, and the brevity penalty is exp(1 - 6/3)
        ("the cat sat", [MAT], math.exp(-1)),
        # 4 of 4, 2 of 3, none of 2, none of 1: the last two are smoothed to 1/(2 · 2) and 1/(4 · 1)
        ("a b c d", ["a b x y", "c d z"], (1 * 2 / 3 * 1 / 4 * 1 / 4) ** (1 / 4)),
        ("Größe zählt", ["Größe zählt nicht"], math.exp(1 - 3 / 2)),
        ("Größe", ["größe"], 0.0),
        ("Здесь растут дубы.", ["Здесь растут дубы."], 1.0),
        ("", [MAT], 0.0),
        ("quite another", [MAT], 0.0),
    ],
)
def test_bleu_by_hand(text: str, references: list[str], expected: float) -> None:
    assert measure(Bleu(), text, *references) == pytest.approx(100 * expected, abs=1e-9)


@pytest.mark.parametrize(
    ("text", "references", "expected"),
    [
        (MAT, [MAT], 1.0),
        ("The CAT, sat: on the mat!", [MAT], 1.0),
        # the longest common subsequence is "a c": precision 2/2, recall 2/3
        ("a c", ["a b c"], 0.8),
        ("a c", ["x y", "a b c", "c"], 0.8),
        ("a c", ["c a"], 0.5),
        # á parts m from laga: 3 of 4 words on both sides
        ("Málaga ist fern", ["Málaga ist nah"], 3 / 4),
        ("cats", ["cat"], 0.0),
        ("", [MAT], 0.0),
    ],
)
def test_rouge_l_by_hand(text: str, references: list[str], expected: float) -> None:
    assert measure(RougeL(), text, *references) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("metric", [Bleu, RougeL])
def test_the_metrics_keep_the_promises_of_their_interface(metric: Any) -> None:
    writing = [Example(f"e{i}", "Say it:", f" the {word} sat on the mat") for i, word in enumerate(["cat", "dog"])]
    sorting = [Example("c", "Is it?", " yes", (" yes", " no"), 0)]
    check_metric(metric, examples=writing, unfit=sorting)


@pytest.mark.parametrize("name", ["bleu", "rougeL"])
def test_classes_are_no_texts_to_write(name: str) -> None:
    metric = Bleu() if name == "bleu" else RougeL()
    problem = f"--metric {name}: test example 'c' has choices to tell apart, not a text to write: use --metric accuracy"
    with pytest.raises(DataError, match=problem):
        metric.check([Example("e", "Say:", " it"), Example("c", "Is it?", " yes", (" yes", " no"), 0)])


def test_references_are_the_field_or_else_the_target() -> None:
    assert references_of(Example("e", "Say it:", " the target ")) == ("the target",)
    assert references_of(Example("e", "Say it:", " x", fields={"references": [" a ", "b\nc"]})) == ("a", "b\nc")


@pytest.mark.parametrize("given", [[], "text", ["a", 3], ["a", " "], 7])
def test_a_field_that_holds_no_references_is_refused(given: Any) -> None:
    with pytest.raises(DataError, match=r"test example 'e': field 'references' is .*, not a list of texts: give"):
        Bleu().check([Example("e", "Say it:", " x", fields={"references": given})])


def test_a_script_that_rouge_does_not_know_is_refused() -> None:
    with pytest.raises(DataError, match="--metric rougeL: the references of test example 'e' hold no letter from a"):
        RougeL().check([Example("e", "Say it:", " Здесь растут дубы.")])
