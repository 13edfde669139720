"""What is measured of test examples: the loss of a model, or whatever somebody's own functions give."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from gptfl.core import Example, MetricInfo
from gptfl.errors import DataError, UsageError
from gptfl.metrics import Accuracy, Bleu, Loss, RougeL
from gptfl.recorder.rows import Collate, answer_tokens, is_preference, token_rows
from gptfl.store.workspace import safe_name

Measured = Float[np.ndarray, " test"]
Measure = Callable[[], Any]
"""Gives one number for each test example, in their order."""
MARGIN = "margin"
"""By how much more likely the answer to be preferred is than the other: the difference of their log-probabilities."""
KNOWN: Mapping[str, MetricInfo] = {metric.info.name: metric.info for metric in (Loss, Accuracy, Bleu, RougeL)}


def measures_of(
    given: Measure | Mapping[str, Measure] | None,
    model: Any,
    tokenizer: Any,
    rows: Sequence[Any],
    test: Sequence[Example],
    batch_size: int,
    collate: Collate | None = None,
    around: Callable[[], Any] | None = None,
) -> dict[str, Measure]:
    """The functions to call, by the names of their metrics; the model's loss where none is given.

    Of preferences, that is the loss of the answer to be preferred, and the ``MARGIN`` beside it.

    Args:
        given: a function, or functions by metric, each giving a number for every test example; None for the loss.
        model: that is trained.
        tokenizer: reads rows of text.
        rows: of the test set.
        test: the same as examples.
        batch_size: rows of a forward pass.
        collate: makes the labels that a row lacks, as the trainer does.
        around: a context for each forward pass, such as the trainer's autocast.

    Raises ``UsageError`` where there is nothing to measure.
    """
    if given is not None:
        named = dict(given) if isinstance(given, Mapping) else {"loss": given}
        for name, one in named.items():
            if not callable(one):
                raise UsageError(f"measure {name!r} is a {type(one).__name__}", "give a function without arguments")
            if not isinstance(name, str) or name != safe_name(name):
                raise UsageError(f"a metric can't be called {name!r}", "take letters, digits, underscores and hyphens")
        if named:
            return named
    if model is None:
        raise UsageError("there is nothing to measure", "give model= (and tokenizer=), or measure=")
    from gptfl.recorder.losses import LossMeter

    pad = getattr(tokenizer, "pad_token_id", None) or 0
    tokens = token_rows(rows, test, tokenizer, collate)
    more = [] if around is None else [around]
    meter = LossMeter(tokens, batch_size, pad, *more)
    if not all(map(is_preference, rows)):
        return {"loss": lambda: meter(model)}
    other = LossMeter([answer_tokens(row, "rejected") for row in rows], batch_size, pad, *more)
    pair = _Preferences(lambda: meter(model) * -meter.labels, lambda: other(model) * -other.labels, meter.labels)
    return {"loss": pair.loss, MARGIN: pair.margin}


class _Preferences:
    """Both metrics of preferences from one measurement of either answer; the loss comes first."""

    def __init__(self, chosen: Measure, rejected: Measure, labels: Float[np.ndarray, " test"]) -> None:
        self.chosen, self.rejected, self.labels = chosen, rejected, labels
        self._likely: Any = None

    def loss(self) -> Measured:
        """The mean loss over the labels of the answer to be preferred."""
        self._likely = self.chosen()
        return np.asarray(-self._likely / self.labels)

    def margin(self) -> Measured:
        """The difference of the answers' log-probabilities, in nats."""
        likely, self._likely = self.chosen() if self._likely is None else self._likely, None
        return np.asarray(likely - self.rejected())


def infos_of(measures: Iterable[str], higher_is_better: Iterable[str]) -> dict[str, MetricInfo]:
    """What must be known of the metrics. Raises ``UsageError`` for a name in ``higher_is_better`` that is none of them."""
    names, better = list(measures), {higher_is_better} if isinstance(higher_is_better, str) else set(higher_is_better)
    lost = better - set(names)
    if lost:
        raise UsageError(f"higher_is_better names {min(lost)!r}, which isn't measured", f"measured: {', '.join(names)}")
    return {name: KNOWN[name] if name in KNOWN else MetricInfo(name, name in better) for name in names}


def numbers_of(given: Any, name: str, tests: int) -> Measured:
    """What a measure gave, one number a test example. Raises ``DataError`` for anything else."""
    tensor = getattr(given, "detach", None)
    try:
        values = np.asarray(given if tensor is None else tensor().cpu().float(), dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(
            f"the measure {name!r} gave a {type(given).__name__}, no numbers", "give one for each test example"
        ) from None
    if values.shape != (tests,):
        raise DataError(
            f"the measure {name!r} gave numbers of shape {values.shape}", f"give {tests}, one for each test example"
        )
    return values.astype(np.float32)
