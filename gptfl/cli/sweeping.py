"""``gptfl compare --sweep``."""

from collections.abc import Callable, Sequence
from typing import Any

from gptfl.cli import console
from gptfl.cli.tables import show_table
from gptfl.errors import UsageError
from gptfl.plugins.settings import parse_value


def check_runs_only(held_out: int | None, draws: int, over_runs: bool) -> None:
    """Raise ``UsageError`` where options of ``--sweep runs`` are given without it."""
    for flag, given in (("--held-out", held_out is not None), ("--draws", draws != 1)):
        if given and not over_runs:
            raise UsageError(f"{flag} is of --sweep runs alone", "leave it out, or give --sweep runs=2,3,5,10")


def run_sweep(
    given: list[str],
    estimators: list[str] | None,
    as_json: bool,
    as_csv: bool,
    held_out: int | None,
    draws: int,
    folds: int | None,
    **options: Any,
) -> None:
    """Carry out a sweep over settings or over the number of runs, and show it."""
    from gptfl.api.learning_curve import RUNS

    axes = _axes(given)
    check_runs_only(held_out, draws, RUNS in axes)
    if RUNS not in axes:
        _over_settings(axes, estimators, as_json, as_csv, folds=folds, **options)
        return
    if len(axes) > 1:
        others = ", ".join(axis for axis in axes if axis != RUNS)
        raise UsageError(f"--sweep {RUNS} goes with no other axis, and {others} is given", "sweep them one by one")
    if folds is not None:
        raise UsageError(
            f"--folds does not go with --sweep {RUNS}: the same runs are held out at every point",
            "give --held-out N, or leave it out for the recording's test runs",
        )
    _over_runs(axes[RUNS], estimators, as_json, as_csv, held_out=held_out, draws=draws, **options)


def _over_runs(
    counts: Sequence[Any], estimators: list[str] | None, as_json: bool, as_csv: bool, **options: Any
) -> None:
    from gptfl.api.learning_curve import sweep_runs
    from gptfl.report.learning_curve import notes_of, runs_csv, runs_json, runs_table

    with console.progress_bar() as progress:
        found, error = console.outcome(sweep_runs, counts, estimators=estimators, progress=progress, **options)
    if as_json or as_csv:
        for text in notes_of(found):
            console.note(text)
    _show(found, runs_json if as_json else runs_csv if as_csv else None, runs_table)
    console.settle(found.unkept, error)


def _over_settings(
    axes: dict[str, list[Any]], estimators: list[str] | None, as_json: bool, as_csv: bool, **options: Any
) -> None:
    from gptfl.api.sweep import SWEPT, sweep
    from gptfl.report.sweep import sweep_csv, sweep_json, sweep_table

    if estimators is not None and (len(estimators) > 1 or set(estimators[0]) & set(":@")):
        raise UsageError(
            f"--sweep varies one estimator, and --estimator names {', '.join(map(repr, estimators))}",
            "name one, without settings or encoder; --set and --encoder hold still",
        )
    with console.progress_bar() as progress:
        found, error = console.outcome(
            sweep, axes, estimator=estimators[0] if estimators else SWEPT, progress=progress, **options
        )
    for text in found.notes:
        console.note(text)
    _show(found, sweep_json if as_json else sweep_csv if as_csv else None, sweep_table)
    console.settle(found.unkept, error)


def _show(found: Any, as_text: Callable[[Any], str] | None, as_table: Callable[[Any], Any]) -> None:
    if as_text is not None:
        console.say(as_text(found).rstrip())
        return
    show_table(as_table(found))
    console.say_paths(picture=found.figure)


def _axes(given: list[str]) -> dict[str, list[Any]]:
    """Read ``axis=value,value`` pairs; a value is read as ``--set`` reads it."""
    axes: dict[str, list[Any]] = {}
    for pair in given:
        axis, sign, values = pair.partition("=")
        axis = axis.strip().replace("-", "_")
        if not sign or not axis.isidentifier() or not all(value.strip() for value in values.split(",")):
            raise UsageError(f"--sweep {pair!r} is not AXIS=V1,V2,...", "write for example order=1,2,3")
        if axis in axes:
            raise UsageError(f"--sweep {axis} is given twice", "give all its values at once")
        axes[axis] = [parse_value(value.strip()) for value in values.split(",")]
    return axes
