"""Which examples the rows of a Trainer's training set are."""

from collections.abc import Sequence
from typing import Any

from gptfl.errors import DataError, UsageError
from gptfl.recorder.rows import column, id_of
from gptfl.recorder.trl_rows import ids_of_packed, packs


def ids_of_rows(
    trainer: Any, given: Sequence[Any] | None, id_column: str, pool: Sequence[Any] | None
) -> list[tuple[str, ...]]:
    """The ids of each row of the training set, in its order: one, or several where it is packed.

    Args:
        trainer: transformers' or TRL's.
        given: those that the user says, a packed row's in a list; None to find them.
        id_column: the column that has them where none are given.
        pool: the examples by whose tokens those in TRL's packed rows are found.

    Raises ``DataError`` where they can't be found, and ``UsageError`` for rows of several examples without a pool.
    """
    data = trainer.train_dataset
    if not hasattr(data, "__len__"):
        raise DataError("the training data is a stream, whose rows can't be told apart", "give one with a length")
    if given is None:
        given = column(data, id_column)
    if given is None and packs(trainer):
        return ids_of_packed(trainer, pool, id_column)
    if given is None:
        raise DataError(
            f"the training set has no column {id_column!r}",
            "add one, name another with id_column=, or give ids= in the order of its rows",
        )
    if len(given) != len(data):
        raise DataError(f"ids= has {len(given)} ids and the training set {len(data)} rows", "give one id a row")
    found = []
    for place, one in enumerate(given):
        what = f"row {place} of the training set"
        several = list(one) if isinstance(one, list | tuple) else [one]
        if not several:
            raise DataError(f"{what} has no id", "give it the ids of the examples that it holds")
        if len(several) > 1 and pool is None:
            raise UsageError(f"{what} holds {len(several)} examples", "give pool=: the examples that rows are made of")
        found.append(tuple(id_of(name, what) for name in several))
    return found
