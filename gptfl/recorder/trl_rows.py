"""What TRL's trainers make of rows: the tokens of test examples, and which examples a packed row holds."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from gptfl.errors import DataError, UsageError
from gptfl.recorder.rows import id_of

UNPACKED = "train with packing=False to record"


def prepares(trainer: Any) -> bool:
    """Whether a trainer is TRL's for supervised fine-tuning, which makes tokens and labels of texts by itself."""
    return any(one.__name__ == "SFTTrainer" for one in type(trainer).__mro__) and hasattr(trainer, "_prepare_dataset")


def packs(trainer: Any, train: bool = True) -> bool:
    """Whether a trainer puts several examples into one row, in training or else in evaluation."""
    packing = bool(getattr(trainer.args, "packing", False))
    other = getattr(trainer.args, "eval_packing", None)
    return packing if train or other is None else bool(other)


def prepared(
    trainer: Any, rows: Sequence[Mapping[str, Any]], id_column: str, ids: Sequence[str], cut: bool = True
) -> dict[str, dict[str, Any]]:
    """The rows as an SFTTrainer trains on them, not packed, by id; rows that it leaves out are not there.

    They hold ``input_ids`` and ``labels``.

    Args:
        trainer: TRL's.
        rows: of its data set, before it prepared them.
        id_column: the key of a row's id.
        ids: of the rows, in order.
        cut: whether they end at the trainer's longest.

    Raises ``DataError`` where it can't make them.
    """
    import datasets

    args = copy.copy(trainer.args)
    if not cut:
        args.max_length = None
    shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        given = datasets.Dataset.from_list(
            [{**row, id_column: name} for row, name in zip(rows, ids, strict=True)],
        )
        made = trainer._prepare_dataset(
            given, trainer.processing_class, args, False, getattr(trainer, "_formatting_func", None), "gptfl"
        )
        found = {one[id_column]: {"input_ids": one["input_ids"], "labels": one["labels"]} for one in made}
    except (AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
        said = " ".join(str(error).split())
        raise DataError(
            f"{type(trainer).__name__} can't prepare these rows ({type(error).__name__}: {said})",
            "give rows in the shape of its training set, or with input_ids and labels",
        ) from error
    finally:
        if shown:
            datasets.enable_progress_bars()
    return found


def ids_of_packed(trainer: Any, rows: Sequence[Mapping[str, Any]] | None, id_column: str) -> list[tuple[str, ...]]:
    """The ids of the examples in each packed row of the training set, in their order.

    TRL drops every other column when it packs. ``rows``, the pool, are therefore prepared as the trainer does it, and
    what a packed row is made of is found among them by its tokens. Examples of the same tokens and labels are told apart by
    their order alone. Raises ``UsageError`` without the pool and where examples are cut into pieces.
    """
    if rows is None:
        raise UsageError("packing=True drops the column of ids", "give pool=: the rows with their ids, before packing")
    if getattr(trainer.args, "packing_strategy", "bfd") == "wrapped":
        raise UsageError(
            "packing_strategy='wrapped' cuts examples in pieces, and no row says whose they are",
            f"take packing_strategy='bfd', or {UNPACKED}",
        )
    for place, row in enumerate(rows):
        if not isinstance(row, Mapping) or row.get(id_column) is None:
            raise DataError(f"training example {place} has no {id_column!r}", "give every row of pool= an id")
    ids = [id_of(row[id_column], f"training example {place}") for place, row in enumerate(rows)]
    known: dict[tuple[tuple[int, ...], tuple[int, ...]], list[str]] = {}
    for name, one in prepared(trainer, rows, id_column, ids, cut=False).items():
        cut = slice(0, trainer.args.max_length)
        known.setdefault((tuple(one["input_ids"][cut]), tuple(one["labels"][cut])), []).append(name)
    taken = dict.fromkeys(known, 0)
    found = []
    for place, row in enumerate(trainer.train_dataset):
        if row.get("seq_lengths") is None:
            raise DataError(f"packed row {place} of the training set has no 'seq_lengths'", UNPACKED)
        begin, names = 0, []
        for length in row["seq_lengths"]:
            piece = slice(begin, begin + length)
            key = tuple(row["input_ids"][piece]), tuple(row["labels"][piece])
            if key not in known:
                raise DataError(
                    f"packed row {place} of the training set holds {length} tokens that are no example of the pool",
                    "give every example that a run may see as pool=, and max_length= as long as the longest",
                )
            names.append(known[key][taken[key] % len(known[key])])
            taken[key] += 1
            begin += length
        found.append(tuple(names))
    return found


def test_rows(trainer: Any, rows: Sequence[Any], id_column: str) -> list[Any]:
    """Test examples with the tokens that an SFTTrainer would evaluate them by; those that it leaves out as they are.

    Rows that hold tokens, and those of other trainers, stay as they are.
    """
    wordy = [place for place, row in enumerate(rows) if isinstance(row, Mapping) and row.get("input_ids") is None]
    if not wordy or not prepares(trainer):
        return list(rows)
    made = prepared(trainer, [rows[place] for place in wordy], id_column, [str(place) for place in wordy])
    found = list(rows)
    for place in wordy:
        found[place] = {**rows[place], **made.get(str(place), {})}
    return found
