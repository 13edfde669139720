"""The settings of the gradient fit, apart from it, since that one imports torch."""

from dataclasses import asdict, dataclass
from typing import Any

from gptfl.plugins import number, whole


@dataclass(frozen=True, slots=True)
class Descent:
    """How the gradient fit goes, by default as in the paper.

    ``epochs`` is an upper bound; ``batch_size`` is how many recorded intervals a step of Adam takes.
    """

    epochs: int = 300
    learning_rate: float = 1e-3
    weight_decay: float = 1e-5
    batch_size: int = 128

    @classmethod
    def of(cls, who: str, **given: object) -> "Descent":
        """The defaults but for what is given (not None). Raises ``UsageError`` for what makes no sense."""
        taken: dict[str, Any] = {**asdict(cls()), **{name: value for name, value in given.items() if value is not None}}
        return cls(
            epochs=whole(who, "epochs", taken["epochs"], 0),
            learning_rate=number(who, "learning_rate", taken["learning_rate"], positive=True),
            weight_decay=number(who, "weight_decay", taken["weight_decay"], 0),
            batch_size=whole(who, "batch_size", taken["batch_size"], 1),
        )
