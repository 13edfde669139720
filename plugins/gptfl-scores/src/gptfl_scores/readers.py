"""Reads score matrices as other tools write them: none of these formats can run code, and sizes are looked at first."""

import hashlib
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from gptfl.core.blocked_rows import row_blocks
from gptfl.plugins import DataError, check_memory, free_memory, gigabytes

MAX_BYTES = 2 * 2**30
"""No matrix is larger, unpacked."""
COPIES = 3
"""So many times a matrix is in memory at most: as it was read, as 64-bit floats, and in the recording's order."""
SIDECAR_BYTES = 64 * 2**20
"""No file of ids, or that describes a matrix, is larger."""
PAIRWISE = "pairwise_scores.safetensors"
"""What kronfluence calls the file in the folder of its scores."""
ALL_MODULES = "all_modules"
"""What kronfluence calls the sum over modules."""


@dataclass(frozen=True, slots=True)
class ScoreMatrix:
    """Scores of rows by columns; ``rows`` and ``columns`` are ids where the file names them.

    ``train_rows`` says whether rows are training examples: None where the file doesn't tell.
    """

    values: Float[np.ndarray, "row column"]
    rows: tuple[str, ...] | None = None
    columns: tuple[str, ...] | None = None
    train_rows: bool | None = None


def digest_of(path: Path) -> str:
    """A hash of all that is read of a file or folder. Raises ``DataError`` where it can't be read."""
    found = hashlib.sha256()
    try:
        for part in _parts(path):
            with part.open("rb") as stream:
                while block := stream.read(2**20):
                    found.update(block)
    except OSError as error:
        raise _unreadable(path, error) from error
    return found.hexdigest()[:16]


def read_matrix(path: Path) -> ScoreMatrix:
    """The scores of a file, or of the folder that bergson or kronfluence wrote.

    ``.npy`` holds a matrix; ``.npz`` ``scores`` and, if it likes, ``train_ids`` and ``test_ids``, or the embeddings
    ``train`` and ``test``, whose cosines are the scores; ``.parquet`` the columns ``train_id``, ``test_id`` and
    ``score``; ``.safetensors`` a matrix, or one of each module, which are added up. Raises ``DataError`` for anything
    else, and for a matrix that isn't of finite numbers.
    """
    try:
        if path.is_dir():
            return _checked(path, _read_folder(path))
        reader = READERS.get(path.suffix.lower())
        if reader is None:
            raise DataError(
                f"{path} is no file of scores that is known",
                f"give {', '.join(READERS)} or a folder of bergson or kronfluence",
            )
        _check_size(path, path.stat().st_size)
        return _checked(path, reader(path))
    except OSError as error:
        raise _unreadable(path, error) from error


def read_ids(path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The ids of training and test examples in the order of a matrix: JSON of two lists, ``train`` and ``test``.

    Raises ``DataError`` where the file holds anything else.
    """
    found = _read_json(path)
    lists = [found.get(side) if isinstance(found, dict) else None for side in ("train", "test")]
    if not all(isinstance(one, list) and all(isinstance(name, str) for name in one) for one in lists):
        raise DataError(f"{path} is no file of ids", 'give JSON such as {"train": ["a", "b"], "test": ["q"]}')
    train, test = lists
    return tuple(train or ()), tuple(test or ())


def _parts(path: Path) -> list[Path]:
    """The files that are read of a path."""
    if not path.is_dir():
        return [path]
    named = [path / PAIRWISE, path / "info.json", path / "scores.bin", path / "candidates.npy"]
    return [part for part in named if part.exists()]


def _read_npy(path: Path) -> ScoreMatrix:
    return ScoreMatrix(_loaded(path, lambda: np.load(path, mmap_mode="r", allow_pickle=False)))


def _read_npz(path: Path) -> ScoreMatrix:
    arrays = _loaded(path, lambda: _unpacked(path))
    if "scores" in arrays:
        train, test = (_ids(path, arrays.get(name)) for name in ("train_ids", "test_ids"))
        return ScoreMatrix(arrays["scores"], train, test, True if train or test else None)
    if {"train", "test"} <= arrays.keys():
        sides = [_unit(path, name, arrays[name]) for name in ("train", "test")]
        if sides[0].shape[1] != sides[1].shape[1]:
            raise DataError(f"{path}: 'train' and 'test' have vectors of different lengths", "embed both alike")
        train, test = (_ids(path, arrays.get(name)) for name in ("train_ids", "test_ids"))
        return ScoreMatrix(sides[0] @ sides[1].T, train, test, True)
    raise DataError(
        f"{path} holds neither 'scores' nor embeddings 'train' and 'test'",
        f"it has {', '.join(sorted(arrays)) or 'nothing'}",
    )


def _unpacked(path: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        _check_size(path, sum(member.file_size for member in archive.infolist()))
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _read_safetensors(path: Path) -> ScoreMatrix:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        arrays: Mapping[str, np.ndarray] = load_file(path)
    except (SafetensorError, KeyError, TypeError) as error:
        raise DataError(f"{path} can't be read as safetensors ({error})", "write it again, in float32") from error
    if not arrays:
        raise DataError(f"{path} holds no scores", "write it again")
    if ALL_MODULES in arrays:
        return ScoreMatrix(arrays[ALL_MODULES], train_rows=False)
    shapes = {array.shape for array in arrays.values()}
    if len(shapes) > 1:
        raise DataError(f"{path} holds matrices of several shapes", "keep one matrix, or one of each module")
    # kronfluence has a row for each query; a single matrix of another name doesn't say.
    total = np.sum([array.astype(np.float64) for array in arrays.values()], axis=0)
    return ScoreMatrix(total, train_rows=False if path.name == PAIRWISE else None)


def _read_parquet(path: Path) -> ScoreMatrix:
    import pyarrow.lib  # type: ignore[import-untyped]
    import pyarrow.parquet as parquet  # type: ignore[import-untyped]

    try:
        file = parquet.ParquetFile(path)
        names = ("train_id", "test_id", "score")
        missing = [name for name in names if name not in file.schema_arrow.names]
        if missing:
            raise DataError(
                f"{path} has no column {missing[0]!r}",
                f"give train_id, test_id and score; it has {file.schema_arrow.names}",
            )
        _check_size(path, file.metadata.num_rows * 24)
        table = file.read(columns=list(names))
        train, test = (_strings(table.column(name)) for name in names[:2])
        scores = table.column("score").to_numpy(zero_copy_only=False).astype(np.float64)
    except (pyarrow.lib.ArrowException, ValueError, TypeError) as error:
        raise DataError(f"{path} can't be read as Parquet ({error})", "write it again") from error
    rows, row = np.unique(train, return_inverse=True)
    columns, column = np.unique(test, return_inverse=True)
    _check_size(path, len(rows) * len(columns) * 8)
    values = np.full((len(rows), len(columns)), np.nan)
    values[row, column] = scores
    if len(scores) != values.size:
        raise DataError(
            f"{path} has {len(scores)} scores for {len(rows)} training and {len(columns)} test examples",
            "give each pair once",
        )
    return ScoreMatrix(values, tuple(map(str, rows)), tuple(map(str, columns)), True)


def _read_folder(path: Path) -> ScoreMatrix:
    """What bergson's ``score`` writes (info.json, scores.bin), or kronfluence's pairwise scores."""
    if (path / PAIRWISE).exists():
        _check_size(path, (path / PAIRWISE).stat().st_size)
        return _read_safetensors(path / PAIRWISE)
    if not (path / "info.json").exists() or not (path / "scores.bin").exists():
        raise DataError(f"{path} is no folder of scores", f"it has neither {PAIRWISE} nor info.json and scores.bin")
    info = _read_json(path / "info.json")
    count, questions = (info.get(name) if isinstance(info, dict) else None for name in ("num_rows", "num_scores"))
    if not isinstance(info, dict) or not isinstance(count, int) or not isinstance(questions, int) or count < 1:
        raise DataError(f"{path / 'info.json'} doesn't describe scores", "write them again (bergson score)")
    if info.get("attribute_tokens"):
        raise DataError(f"{path} holds scores of single tokens", "add them up for each row, or score whole rows")
    if (path / "candidates.npy").exists():
        raise DataError(f"{path} holds scores of some candidates only", "score all training rows")
    layout = _layout(path, info.get("dtype"), questions)
    size = (path / "scores.bin").stat().st_size
    _check_size(path, size)
    if size != count * layout.itemsize:
        raise DataError(f"{path / 'scores.bin'} has {size} bytes, not {count} rows of {layout.itemsize}", "score again")
    rows = np.fromfile(path / "scores.bin", dtype=layout)
    for question in range(questions):
        if not rows[f"written_{question}"].all():
            raise DataError(f"{path}: the scores of question {question} aren't complete", "let bergson finish")
    return ScoreMatrix(
        np.stack([rows[f"score_{question}"].astype(np.float64) for question in range(questions)], axis=1),
        train_rows=True,
    )


def _layout(path: Path, described: Any, questions: int) -> np.dtype[Any]:
    """The record of one training row: a score and whether it was written, for each question."""
    try:
        layout: np.dtype[Any] = np.dtype(described)
    except (TypeError, ValueError, SyntaxError) as error:
        remedy = "score again with --precision fp32" if "bfloat16" in str(described) else "score again"
        raise DataError(f"{path / 'info.json'} has a record that can't be read", remedy) from error
    expected = {f"{part}_{question}" for question in range(questions) for part in ("score", "written")}
    if layout.hasobject or layout.names is None or not expected <= set(layout.names):
        raise DataError(f"{path / 'info.json'} doesn't describe {questions} scores a row", "score again")
    return layout


READERS: Mapping[str, Callable[[Path], ScoreMatrix]] = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".parquet": _read_parquet,
    ".safetensors": _read_safetensors,
}


def _loaded(path: Path, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except (ValueError, EOFError, zipfile.BadZipFile, SyntaxError) as error:
        raise DataError(f"{path} can't be read ({error})", "write it again with numpy, without objects") from error


def _read_json(path: Path) -> Any:
    try:
        if path.stat().st_size > SIDECAR_BYTES:
            raise DataError(f"{path} is larger than {SIDECAR_BYTES >> 20} MiB", "give a smaller one")
        return json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise _unreadable(path, error) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is no JSON ({error})", "write it again") from error


def _checked(path: Path, matrix: ScoreMatrix) -> ScoreMatrix:
    values = matrix.values
    if values.ndim != 2 or values.size == 0 or values.dtype.kind not in "fiu":
        raise DataError(
            f"{path} holds an array of {values.dtype} {values.shape}", "give a matrix of numbers, training by test"
        )
    _check_size(path, values.size * 8)
    # What is mapped from its file is copied, what was read already is not.
    whole = np.asarray(np.array(values, np.float64) if isinstance(values, np.memmap) else values, np.float64)
    if not all(np.isfinite(rows).all() for _, rows in row_blocks(whole)):
        raise DataError(f"{path} holds scores that aren't finite", "look at how they were computed")
    for names, count, side in ((matrix.rows, values.shape[0], "rows"), (matrix.columns, values.shape[1], "columns")):
        if names is not None and len(names) != count:
            raise DataError(f"{path} names {len(names)} {side} and has {count}", "write it again")
    return ScoreMatrix(whole, matrix.rows, matrix.columns, matrix.train_rows)


def _unit(path: Path, name: str, vectors: np.ndarray) -> Float[np.ndarray, "example d"]:
    """The vectors at length 1; those of length 0 stay."""
    if vectors.ndim != 2 or vectors.dtype.kind not in "fiu":
        raise DataError(f"{path}: {name!r} is no matrix of numbers", "give a vector for each example")
    whole = vectors.astype(np.float64)
    length = np.linalg.norm(whole, axis=1, keepdims=True)
    return np.asarray(np.divide(whole, length, out=np.zeros_like(whole), where=length > 0))


def _ids(path: Path, names: np.ndarray | None) -> tuple[str, ...] | None:
    if names is None:
        return None
    if names.ndim != 1 or names.dtype.kind not in "Ui":
        raise DataError(f"{path} has ids of type {names.dtype}", "write them as text: np.array([...], dtype=str)")
    return tuple(map(str, names.tolist()))


def _strings(column: Any) -> Sequence[str]:
    return [str(name) for name in column.to_pylist()]


def _check_size(path: Path, size: int) -> None:
    if size > MAX_BYTES:
        raise DataError(
            f"{path} holds {size / 2**30:.3g} GiB, and at most {MAX_BYTES >> 30} are read", "score fewer examples"
        )
    takes = f"{path} holds {gigabytes(size)}, which take up to {gigabytes(COPIES * size)} of memory"
    check_memory(takes, COPIES * size, free_memory(), "score fewer examples")


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(
        f"{path} can't be read ({error.strerror or error})", "give the file of scores, or a folder that holds them"
    )
