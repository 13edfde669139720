"""How large a fit is: its parameters are of pairs of examples, and its equations of pairs of training examples."""

from gptfl.plugins import FitData, ResourceError, free_memory

WORTH_TELLING = 2**28
"""A fit that takes fewer bytes doesn't speak of it."""
NUMBER = 8
COUNTED = 3
"""So many times what each interval saw of each example is in memory: as it is, put together, and chosen from."""
OF_ADAM = 4
"""Of each parameter Adam holds its value, its gradient and two means, of half a number's size each."""
KEPT = 3
"""A gradient fit holds its best parameters, those of the epoch, and their change to a recording's scale."""


def memory_needed(data: FitData, strengths: int, groups: int, unknowns: int, gradient: bool) -> int:
    """The bytes that a fit takes, about.

    Args:
        data: of how many examples and runs.
        strengths: how many weights of the ridge are tried.
        groups: of runs that are told apart.
        unknowns: of each pair, alpha and beta or one of them.
        gradient: whether it is fitted by gradients.
    """
    pool, test = len(data.pool), len(data.test)
    intervals = sum(max(len(run.steps) - 1, 0) for run in (*data.fit_runs, *data.validation_runs))
    counts = COUNTED * intervals * pool
    if gradient:
        return NUMBER * (counts + unknowns * pool * test * (OF_ADAM // 2 + KEPT))
    return NUMBER * (counts + 2 * strengths * pool * test + (groups + 2) * (unknowns * pool) ** 2)


def told_size(name: str, data: FitData, needed: int, remedy: str) -> tuple[str, ...]:
    """A line on how much memory a fit takes, where that is much.

    Args:
        name: of the estimator.
        data: what it is fitted to.
        needed: bytes.
        remedy: what to do where they aren't there.

    Raises ``ResourceError`` where more is needed than is free.
    """
    pool, test = len(data.pool), len(data.test)
    line = (
        f"{name} has parameters for each of {pool} x {test} pairs of a training and a test example, and takes up to "
        f"{needed / 1e9:.2g} GB of memory"
    )
    free = free_memory()
    if free is not None and needed > free:
        raise ResourceError(f"{line}, where {free / 1e9:.2g} GB are free", remedy)
    return (line,) if needed >= WORTH_TELLING else ()
