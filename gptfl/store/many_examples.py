"""Reads examples of which there are so many that each is parsed when it is asked for, and what is needed of all at once."""

from collections.abc import Callable
from typing import Any

import h5py
import numpy as np

from gptfl.core import Example
from gptfl.core.many_examples import ManyExamples
from gptfl.errors import DataError
from gptfl.store import hdf5
from gptfl.store.memory import path_of

MOST = 10_000_000
"""A recording has at most so many on a side."""
_BLOCK = 2**20


def read_many(group: h5py.Group, name: str, where: str, make: Callable[[Any, str], Example]) -> ManyExamples:
    """The examples at a place of an open recording.

    Args:
        group: where they are.
        name: what they are called there.
        where: the same for messages.
        make: an example from its value, and where that stands; it may raise ``DataError``.

    Raises ``DataError`` where ids or digests are missing or no texts, and where an id is there twice.
    """
    import pyarrow  # type: ignore[import-untyped]  # takes long to load, and few recordings need it
    from pyarrow import json

    text, begins = hdf5.get_line_bytes(group, name)
    if len(begins) - 1 > MOST:
        raise DataError(f"{where} has more than {MOST:,} examples", "record fewer")
    schema = pyarrow.schema([("id", pyarrow.string()), ("digest", pyarrow.string()), ("weight", pyarrow.int64())])
    longest = int(np.diff(begins).max(initial=0))
    try:
        table = json.read_json(
            pyarrow.BufferReader(text),
            read_options=json.ReadOptions(use_threads=False, block_size=max(_BLOCK, 2 * longest)),
            parse_options=json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
        )
    except pyarrow.ArrowInvalid as error:
        raise DataError(
            f"{where} holds what is no example ({str(error).splitlines()[0]})", "make the file again"
        ) from error
    if len(table) != len(begins) - 1 or table["id"].null_count or table["digest"].null_count:
        raise DataError(f"{where} holds what is no example", "make the file again")
    ids, digests = (table[column].to_pylist() for column in ("id", "digest"))
    if len(set(ids)) < len(ids):
        seen: set[str] = set()
        twice = next(one for one in ids if one in seen or seen.add(one))  # type: ignore[func-returns-value]
        raise DataError(f"{where} has the id {twice!r} twice", "record again with unique ids")
    weights = None if table["weight"].null_count else table["weight"].to_numpy().astype(np.int64)
    path, place = path_of(group), group.name
    whole = text.tobytes()
    # Inside a text the second quote would be escaped.
    plain = whole.count(b'"label": null') == len(ids) and b'"task"' not in whole and b'"flipped"' not in whole

    def one(at: int) -> Example:
        line = whole[begins[at] : begins[at + 1] - 1]
        return make(hdf5.parse_line(place, name, path, line), f"{where} line {at + 1}")

    return ManyExamples(ids, digests, weights, one, plain)
