"""The metrics gptfl brings: loss, accuracy, and BLEU and ROUGE-L of generated text."""

import re
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float

from gptfl.core import Example, MetricInfo
from gptfl.core.examples import references_of
from gptfl.errors import DataError
from gptfl.plugins.interfaces import Observation


class Loss:
    """Mean negative log-probability of the target's tokens, in nats."""

    info = MetricInfo("loss", higher_is_better=False, low=0.0)
    needs: frozenset[str] = frozenset()

    def check(self, examples: Sequence[Example]) -> None:
        """Every example has a target, so every example has a loss."""

    def measure(self, observation: Observation) -> Float[np.ndarray, " test"]:
        """Loss of each test example."""
        return np.asarray(-observation.target_log_prob / observation.target_tokens)


class Accuracy:
    """1 where the target is the likeliest of the task's choices by summed log-probability, else 0."""

    info = MetricInfo("accuracy", higher_is_better=True, low=0.0, high=1.0)
    needs: frozenset[str] = frozenset({"choices"})

    def check(self, examples: Sequence[Example]) -> None:
        """Raise ``DataError`` where an example has no choices, or its target is none of them."""
        for example in examples:
            if len(example.choices) < 2 or example.label is None:
                raise DataError(
                    f"--metric accuracy: test example {example.id!r} has no choices to tell apart",
                    "use a task with choices, or --metric loss",
                )

    def measure(self, observation: Observation) -> Float[np.ndarray, " test"]:
        """Whether each test example's own choice is the likeliest."""
        assert observation.choice_log_probs is not None
        pairs = zip(observation.examples, observation.choice_log_probs, strict=True)
        return np.array([float(np.argmax(scores) == example.label) for example, scores in pairs])


class Bleu:
    """Sentence-level BLEU of the generated text against all its references (sacrebleu).

    Tokenizer ``13a``, exponential smoothing, and effective order: a text shorter than four words is scored by the
    n-grams that it has. An empty text scores 0.
    """

    info = MetricInfo("bleu", higher_is_better=True, low=0.0, high=100.0)
    needs: frozenset[str] = frozenset({"generated"})

    def check(self, examples: Sequence[Example]) -> None:
        """Raise ``DataError`` where an example has choices, or references that are no texts."""
        _check_writing(self.info.name, examples)

    def measure(self, observation: Observation) -> Float[np.ndarray, " test"]:
        """BLEU of each test example's generated text, 0 to 100."""
        from sacrebleu.metrics.bleu import BLEU

        bleu = BLEU(tokenize="13a", smooth_method="exp", effective_order=True)
        scores = [bleu.sentence_score(text, list(references)).score for text, references in _written(observation)]
        return np.minimum(scores, self.info.high)  # its logarithms leave a perfect match a hair above


class RougeL:
    """ROUGE-L of the generated text: the F1 of the longest common subsequence of words (rouge-score).

    Of several references the one that gives the highest counts. Words are not stemmed. The library knows only the
    letters a to z and digits: other characters part words.
    """

    info = MetricInfo("rougeL", higher_is_better=True, low=0.0, high=1.0)
    needs: frozenset[str] = frozenset({"generated"})

    def check(self, examples: Sequence[Example]) -> None:
        """Raise ``DataError`` where an example has choices, or references in which there is nothing to match."""
        _check_writing(self.info.name, examples)
        for example in examples:
            if not any(re.search("[a-zA-Z0-9]", text) for text in references_of(example)):
                raise DataError(
                    f"--metric rougeL: the references of test example {example.id!r} hold no letter from a to z and no "
                    "digit, and rouge-score knows no other",
                    "use --metric bleu",
                )

    def measure(self, observation: Observation) -> Float[np.ndarray, " test"]:
        """ROUGE-L of each test example's generated text, 0 to 1."""
        from rouge_score.rouge_scorer import RougeScorer

        scorer = RougeScorer(["rougeL"], use_stemmer=False)
        scores = [scorer.score_multi(references, text)["rougeL"] for text, references in _written(observation)]
        return np.array([score.fmeasure for score in scores], dtype=np.float64)


def _check_writing(metric: str, examples: Sequence[Example]) -> None:
    for example in examples:
        if example.choices:
            raise DataError(
                f"--metric {metric}: test example {example.id!r} has choices to tell apart, not a text to write",
                "use --metric accuracy or loss, or a task of free text",
            )
        references_of(example)


def _written(observation: Observation) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each generated text, without white space around it, and its references."""
    assert observation.generated is not None
    for text, example in zip(observation.generated, observation.examples, strict=True):
        yield text.strip(), references_of(example)
