"""The groups that runs of the design of groups differ by: a field of the rows, or clusters of their texts."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Int

from gptfl.core import Example
from gptfl.core.curriculum import Stream, generator
from gptfl.core.examples import CLUSTER
from gptfl.errors import DataError, UsageError
from gptfl.recording.row_groups import Grouping, group_rows
from gptfl.store.recordings import read_dynamics

CLUSTERS = "clusters:"
"""What ``--by`` begins with where it asks for clusters; their number follows."""
DIMS = 64
"""Numbers of the vectors that are clustered."""
STARTS = 10
"""So many times k-means begins, and the best outcome is taken."""
LARGE = 10_000
"""Of more rows, k-means looks at some at a time."""


def clusters_of(by: str | None) -> int | None:
    """How many clusters ``--by`` asks for; None where it names a field. Raises ``UsageError`` for fewer than two."""
    if by is None or not by.startswith(CLUSTERS):
        return None
    text = by.removeprefix(CLUSTERS)
    count = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if count < 2:
        raise UsageError(
            f"--by {by} asks for {text or 'no number of'} clusters", "give 2 or more, as in --by clusters:8"
        )
    return count


def check_by(by: str, pool: int) -> str:
    """What ``--by`` asks for, itself. Raises ``UsageError`` for more clusters than there are rows, or fewer than two."""
    count = clusters_of(by)
    if count is not None and count > pool:
        raise UsageError(f"--by {by} asks for more clusters than --pool {pool}", "ask for fewer")
    return by


def with_clusters(
    pool: Sequence[Example], by: str | None, seed: int, recorded: Path | None = None
) -> tuple[Example, ...]:
    """The pool with each example's cluster as a field, where ``by`` asks for clusters; else as it is.

    Args:
        pool: the training examples.
        by: what groups them.
        seed: of the recording.
        recorded: where the recording is, if it has been begun: its clusters are kept, for another processor may round
            to others.

    Raises ``DataError`` where an example has such a field of its own, and as ``cluster_rows``.
    """
    count = clusters_of(by)
    if by is None or count is None:
        return tuple(pool)
    for example in pool:
        if CLUSTER in example.fields:
            raise DataError(
                f"--by {by}: pool example {example.id!r} has a field {CLUSTER!r} of its own",
                f"give --by {CLUSTER} to group by that, or rename the field",
            )
    numbers = None if recorded is None else _kept(recorded, pool, by)
    if numbers is None:
        numbers = cluster_rows(pool, count, seed, by).tolist()
    return tuple(
        replace(example, fields={**example.fields, CLUSTER: number})
        for example, number in zip(pool, numbers, strict=True)
    )


def cluster_rows(pool: Sequence[Example], count: int, seed: int, by: str = "") -> Int[np.ndarray, " pool"]:
    """The cluster of each row by k-means on its TF-IDF vector, numbered in the order in which they come in the pool.

    Args:
        pool: the rows.
        count: how many clusters.
        seed: of the recording.
        by: what asked for them, for messages.

    Rows of fewer different texts than ``count`` make fewer clusters. Raises ``DataError`` where no row has a word.
    """
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    from gptfl.encoders.tfidf import TfidfSvd

    try:
        vectors = TfidfSvd(DIMS).encode(pool, ())["text"].train
    except DataError as error:
        raise DataError(
            f"--by {by or CLUSTERS}: no word is in any row of the pool", "group them by a field: --by FIELD"
        ) from error
    drawn = int(generator(seed, Stream.CLUSTERS).integers(2**31))
    method = KMeans if len(pool) <= LARGE else MiniBatchKMeans
    with warnings.catch_warnings(), threadpool_limits(1):  # sums of several threads come in any order
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = method(n_clusters=count, n_init=STARTS, random_state=drawn).fit_predict(np.asarray(vectors))
    _, first, numbers = np.unique(found, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[numbers]


def _kept(path: Path, pool: Sequence[Example], by: str) -> list[int] | None:
    """The clusters that a recording of these very examples keeps; None where there is no such."""
    if not path.is_file():
        return None
    recorded = read_dynamics(path)
    if recorded.settings.by != by or list(map(_known_by, recorded.pool)) != list(map(_known_by, pool)):
        return None
    numbers = [number for example in recorded.pool if type(number := example.fields.get(CLUSTER)) is int]
    return numbers if len(numbers) == len(pool) else None


def _known_by(example: Example) -> tuple[str, str]:
    return example.id, example.digest


def grouped(pool: Sequence[Example], by: str) -> Grouping:
    """The groups of a pool, whose clusters are known where ``by`` asks for some. Raises ``DataError`` as ``group_rows``."""
    return group_rows(pool, by if clusters_of(by) is None else CLUSTER)


def group_numbers(pool: Sequence[Example], by: str, subset: int) -> Int[np.ndarray, " pool"]:
    """The number of each example's group. Raises ``DataError`` for a single one, and for more than a run has rows."""
    found = grouped(pool, by)
    count = len(found.names)
    if count < 2:
        raise DataError(
            f"--by {by}: all rows of the pool are of one group, {found.names[0]!r}", "use another field, or clusters:8"
        )
    if count > subset:
        raise DataError(f"--subset-size {subset} has no room for the {count} groups by {by}", f"give at least {count}")
    return found.of
