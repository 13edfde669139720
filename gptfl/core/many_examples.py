"""Examples that are too many to be made one and all: each is made when it is asked for.

What an ``Example`` is doesn't matter here.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, overload

import numpy as np
from jaxtyping import Int


class ManyExamples(Sequence[Any]):
    """Examples of which ids, digests and weights are there at once, and the rest when one is asked for."""

    def __init__(
        self,
        ids: Sequence[str],
        digests: Sequence[str],
        weights: Int[np.ndarray, " example"] | None,
        make: Callable[[int], Any],
        plain: bool = False,
    ) -> None:
        """Of so many ids; ``make`` gives the example at a place, ``weights`` are None where all count alike.

        ``plain`` says that none has a label or a task, nor was flipped.
        """
        self.ids, self.digests, self.weights, self.plain, self._make = ids, digests, weights, plain, make
        self._told: dict[str, Any] = {}

    def once(self, name: str, tell: Callable[["ManyExamples"], Any]) -> Any:
        """What is told of all of them, which takes making each: told once, for they don't change.

        Args:
            name: what it is called.
            tell: called the first time.
        """
        if name not in self._told:
            self._told[name] = tell(self)
        return self._told[name]

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, place: int) -> Any: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Any]: ...

    def __getitem__(self, place: int | slice) -> Any:
        """The example at a place, or some as a tuple. Raises ``DataError`` for one that is damaged."""
        places = range(len(self))[place]
        return self._make(places) if isinstance(places, int) else tuple(map(self._make, places))

    def __iter__(self) -> Iterator[Any]:
        return map(self._make, range(len(self)))


def as_tuple(examples: ManyExamples) -> tuple[Any, ...]:
    """The same, for the type checker a tuple: it is taken in the place of one wherever none is added to it."""
    return examples  # type: ignore[return-value]


def examples_at(examples: Sequence[Any], places: Int[np.ndarray, " kept"]) -> tuple[Any, ...]:
    """The examples at ascending places; the same ones where these are all."""
    if len(places) == len(examples):
        return as_tuple(examples) if isinstance(examples, ManyExamples) else tuple(examples)
    return tuple(examples[place] for place in places.tolist())


def ids_of(examples: Sequence[Any]) -> Sequence[str]:
    """The ids of examples, in order."""
    return examples.ids if isinstance(examples, ManyExamples) else [example.id for example in examples]
