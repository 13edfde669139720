"""How the runs of a recording are divided into those that teach and those that test, as its design wants it."""

from collections.abc import Sequence

from gptfl.errors import DataError
from gptfl.records import Dynamics, Run
from gptfl.stages.planning import together_in
from gptfl.stages.splits import MORE_RUNS, Split, check_fit_runs, fold_splits, most_folds, stored_split
from gptfl.stages.unseen import SetAside


def folds_for(dynamics: Dynamics, aside: SetAside | None, folds: int | None) -> tuple[int | None, tuple[str, ...]]:
    """The number of folds to take, and what to tell of it.

    Where the recording reserves examples (``collect --reserve-pool``) and these are what is set aside, the runs that
    draw from them are held out and all others teach: folds have nothing to add.
    """
    reserve = dynamics.settings.get("reserve_pool", 0)
    if not reserve:
        return folds, ()
    if aside is not None and aside.pool and aside.share is None:
        told = f"held out: the runs that draw from the {len(aside.pool)} reserved examples, which no run to fit has"
        return None, (told if folds is None else f"{told}; --folds {folds} changes nothing",)
    if folds is None:
        return None, (
            f"the runs held out have examples of a reserve of {reserve} that no run to fit has: "
            "--folds 4 takes every run in turn, --unseen train leaves out who can't answer about these",
        )
    return folds, ()


def divided(dynamics: Dynamics, runs: Sequence[Run], folds: int | None) -> list[Split]:
    """The divisions of these runs of a recording: by their stored roles, or into so many folds.

    Runs that belong together, such as a leave-out pair, are in the same fold. Raises ``DataError`` where no run tests
    or too few teach, and ``UsageError`` for a number of folds that can't be.
    """
    together = together_in(dynamics.settings)
    splits = [stored_split(runs)] if folds is None else fold_splits(runs, folds, together)
    if not splits or not any(split.test for split in splits):
        offer = most_folds(runs, together)
        remedy = MORE_RUNS if offer is None else f"{MORE_RUNS} or give --folds {offer}"
        raise DataError("no usable run is held out for testing", remedy)
    for split in splits:
        check_fit_runs(split)
    return splits
