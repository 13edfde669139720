"""Brings a matrix of scores to the examples of a recording."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from gptfl.plugins import DataError, Example
from gptfl_scores.readers import ScoreMatrix


def matched(
    file: str,
    matrix: ScoreMatrix,
    named: tuple[tuple[str, ...], tuple[str, ...]] | None,
    rows: str | None,
    pool: Sequence[Example],
    test: Sequence[Example],
) -> Float[np.ndarray, "pool test"]:
    """The scores of each training example on each test example, in the recording's order.

    Ids decide where there are any, the file's or those ``named`` beside it; else the matrix must be as large as pool by test, or
    test by pool. Raises ``DataError`` where it is neither, or lacks an example, and where its shape fits both ways and
    ``rows`` doesn't tell.
    """
    train_rows = matrix.train_rows if rows is None else rows == "train"
    if named is not None:
        shape = tuple(len(side) for side in named)
        train_rows = _turned(file, matrix.values.shape, (shape[0], shape[1]), train_rows, "ids name")
        values = matrix.values if train_rows else matrix.values.T
        lines, columns = _places(file, named[0], pool, "training"), _places(file, named[1], test, "test")
        return _ordered(values, lines, columns)
    train_rows = _turned(
        file,
        matrix.values.shape,
        (len(pool), len(test)),
        train_rows,
        "recording has",
        bool(matrix.rows),
        bool(matrix.columns),
    )
    values = matrix.values if train_rows else matrix.values.T
    train_ids, test_ids = (matrix.rows, matrix.columns) if train_rows else (matrix.columns, matrix.rows)
    lines = np.arange(len(pool)) if train_ids is None else _places(file, train_ids, pool, "training")
    columns = np.arange(len(test)) if test_ids is None else _places(file, test_ids, test, "test")
    return _ordered(values, lines, columns)


def _ordered(
    values: Float[np.ndarray, "row column"], lines: Int[np.ndarray, " pool"], columns: Int[np.ndarray, " test"]
) -> Float[np.ndarray, "pool test"]:
    """The scores at these places; where they are as they should be already, no copy of them."""
    if np.array_equal(lines, np.arange(len(values))) and np.array_equal(columns, np.arange(values.shape[1])):
        return np.asarray(values)
    return np.asarray(values[np.ix_(lines, columns)])


def _turned(
    file: str,
    shape: tuple[int, ...],
    expected: tuple[int, int],
    train_rows: bool | None,
    who: str,
    rows_named: bool = False,
    columns_named: bool = False,
) -> bool:
    """Whether rows are training examples; sides with ids of their own may be of any length."""

    def fits(sides: tuple[int, int]) -> bool:
        return (rows_named or shape[0] == sides[0]) and (columns_named or shape[1] == sides[1])

    ways = [way for way in (True, False) if train_rows in (None, way) and fits(expected if way else expected[::-1])]
    if not ways:
        raise DataError(
            f"{file} holds {shape[0]} by {shape[1]} scores, and the {who} {expected[0]} training and {expected[1]} test examples",
            "score the recording's examples, or name those scored (ids=FILE)",
        )
    if len(ways) == 2:
        raise DataError(
            f"{file} is as high as wide, so that its shape doesn't tell what its rows are",
            "add rows=train or rows=test",
        )
    return ways[0]


def _places(file: str, names: Sequence[str], expected: Sequence[Example], side: str) -> Int[np.ndarray, " wanted"]:
    known = {name: place for place, name in enumerate(names)}
    if len(known) < len(names):
        twice = next(name for place, name in enumerate(names) if known[name] != place)
        raise DataError(f"{file} has {side} example {twice!r} twice", "score each once")
    missing = [example.id for example in expected if example.id not in known]
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise DataError(f"{file} has no scores of {side} example {missing[0]!r}{more}", "score all that are recorded")
    return np.array([known[example.id] for example in expected], dtype=np.int64)
