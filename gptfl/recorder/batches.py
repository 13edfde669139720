"""Tells which rows of a data set a trainer's batches hold, without the model seeing it."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.utils.data import IterableDataset

from gptfl.errors import DataError

KEY = "gptfl_rows"
"""The key under which a batch brings the places of its rows from the workers to the trainer."""
_KEPT = "gptfl_collate_fn"


class NumberedRows:
    """A data set each of whose rows holds its place, for the collator to take away again."""

    def __init__(self, rows: Any) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: Any) -> Any:
        return self._numbered(place, self.rows[place])

    def __getitems__(self, places: list[int]) -> list[Any]:
        many = getattr(self.rows, "__getitems__", None)
        found = [self.rows[place] for place in places] if many is None else many(places)
        return [self._numbered(place, row) for place, row in zip(places, found, strict=True)]

    def __getattr__(self, name: str) -> Any:
        # What samplers and trainers ask of a data set is asked of the wrapped one.
        if name.startswith("__") or name == "rows":
            raise AttributeError(name)
        return getattr(self.rows, name)

    def _numbered(self, place: Any, row: Any) -> Any:
        if not isinstance(row, Mapping):
            raise DataError(f"row {place} of the training data is a {type(row).__name__}", "give rows that are dicts")
        return {**row, KEY: int(place)}


class NumberedBatches:
    """A collator that puts the places of its rows into the batch."""

    def __init__(self, collate: Callable[[list[Any]], Any], unseen: str | None) -> None:
        self.collate = collate
        self.left_out = {KEY, unseen}

    def __call__(self, rows: list[Any]) -> Any:
        places = [row[KEY] for row in rows]
        batch = self.collate([{key: value for key, value in row.items() if key not in self.left_out} for row in rows])
        if not hasattr(batch, "keys"):
            raise DataError(f"the data collator gave a {type(batch).__name__}", "use one that gives a dict")
        batch[KEY] = torch.tensor(places)
        return batch


def number_batches(loader: Any, unseen: str | None = None) -> None:
    """Make the batches of a data loader hold the places of their rows, also in its workers and when some are skipped.

    The collator doesn't get the column ``unseen``.
    Raises ``DataError`` for a stream of rows, which have no places.
    """
    base = getattr(loader, "base_dataloader", loader)
    if isinstance(base.dataset, NumberedRows):
        return
    if isinstance(base.dataset, IterableDataset) or not hasattr(base.dataset, "__len__"):
        raise DataError(
            "the training data is a stream, whose rows can't be told apart", "give a data set with a length"
        )
    # torch lets nobody exchange a loader's data set, for its sampler was made for it; this one has the same rows.
    object.__setattr__(base, "dataset", NumberedRows(base.dataset))
    base.collate_fn = NumberedBatches(base.collate_fn, unseen)


def taken_places(batches: list[Any]) -> list[list[int]]:
    """The places of the rows of each batch, which are taken out of it. Raises ``DataError`` for a batch without."""
    found = []
    for batch in batches:
        if not hasattr(batch, "keys") or KEY not in batch:
            raise DataError(
                "a batch doesn't say which rows it holds",
                "leave the Trainer's own get_train_dataloader, or record with gptfl.Recorder",
            )
        found.append([int(place) for place in batch.pop(KEY)])
    return found
