"""What ``gptfl sweep``, ``gptfl learning-curve`` and ``gptfl compare --sweep`` share."""

from collections.abc import Callable, Sequence
from typing import Any

from gptfl.cli import console
from gptfl.cli.tables import show_table
from gptfl.errors import UsageError
from gptfl.options.base import make, shared
from gptfl.options.evaluation import CompareOptions, GridOptions, LearningCurveOptions, PointOptions, SweepOptions
from gptfl.plugins.settings import read_axes


def check_runs_only(options: SweepOptions, over_runs: bool) -> None:
    """Raise ``UsageError`` where options of ``--sweep runs`` are given without it."""
    for flag, given in (("--held-out", options.held_out is not None), ("--draws", options.draws != 1)):
        if given and not over_runs:
            raise UsageError(f"{flag} is of --sweep runs alone", "leave it out, or give --sweep runs=2,3,5,10")


def run_sweep(options: CompareOptions) -> None:
    """Carry out a sweep over settings or over the number of runs, and show it.

    Raises ``UsageError`` for options that no sweep has.
    """
    from gptfl.api.learning_curve import RUNS

    alone = {
        "--latex": options.table.as_latex,
        "--cost": options.cost,
        "--calibrate": options.calibrate,
        "--unseen": options.learning.unseen is not None,
        "--observe": options.observe is not None,
        "--against-estimator": options.against_estimator is not None,
    }
    others = [flag for flag, is_given in alone.items() if is_given]
    if others:
        raise UsageError(f"{others[0]} does not go with --sweep", "leave out one of them")
    axes = read_axes(options.sweep.sweep, "--sweep")
    check_runs_only(options.sweep, RUNS in axes)
    table, named = options.table, options.estimators
    if RUNS not in axes:
        given = shared(options, GridOptions) | {"axes": axes, "estimator": _swept(named)}
        over_settings(make(GridOptions, **given), table.as_json, table.as_csv)
        return
    if len(axes) > 1:
        others = [axis for axis in axes if axis != RUNS]
        raise UsageError(
            f"--sweep {RUNS} goes with no other axis, and {', '.join(others)} is given", "sweep them one by one"
        )
    if options.folds is not None:
        raise UsageError(
            f"--folds does not go with --sweep {RUNS}: the same runs are held out at every point",
            "give --held-out N, or leave it out for the recording's test runs",
        )
    sweep = options.sweep
    given = shared(options, LearningCurveOptions) | {"held_out": sweep.held_out, "draws": sweep.draws}
    over_runs(make(LearningCurveOptions, **given, counts=axes[RUNS]), table.as_json, table.as_csv)


def over_runs(options: LearningCurveOptions, as_json: bool, as_csv: bool) -> None:
    """Carry out a learning curve, and show it."""
    from gptfl.api.learning_curve import learning_curve_with
    from gptfl.report.learning_curve import notes_of, runs_csv, runs_json, runs_table

    with console.progress_bar() as progress:
        found, error = console.outcome(learning_curve_with, options, progress=progress)
    if as_json or as_csv:
        for text in notes_of(found):
            console.note(text)
    _show(found, runs_json if as_json else runs_csv if as_csv else None, runs_table)
    console.show_unkept(found.unkept, error)


def over_settings(options: GridOptions, as_json: bool, as_csv: bool) -> None:
    """Carry out a sweep over settings, and show it."""
    from gptfl.api.sweep import sweep_with
    from gptfl.report.sweep import sweep_csv, sweep_json, sweep_table

    with console.progress_bar() as progress:
        found, error = console.outcome(sweep_with, options, progress=progress)
    for text in found.notes:
        console.note(text)
    _show(found, sweep_json if as_json else sweep_csv if as_csv else None, sweep_table)
    console.show_unkept(found.unkept, error)


def _swept(estimators: Sequence[str] | None) -> str | None:
    """The one estimator that ``compare --sweep`` varies. Raises ``UsageError`` for several, or one with settings."""
    if estimators is None:
        return None
    if len(estimators) > 1 or set(estimators[0]) & set(":@"):
        raise UsageError(
            f"--sweep varies one estimator, and --estimator names {', '.join(map(repr, estimators))}",
            "name one, without settings or encoder; --set and --encoder hold still",
        )
    return estimators[0]


def check_one_form(options: PointOptions) -> None:
    """Raise ``UsageError`` where two forms of output are asked for."""
    if options.as_json and options.as_csv:
        raise UsageError("--json and --csv were given together", "choose one")


def _show(found: Any, as_text: Callable[[Any], str] | None, as_table: Callable[[Any], Any]) -> None:
    if as_text is not None:
        console.say(as_text(found).rstrip())
        return
    show_table(as_table(found))
    console.say_paths(picture=found.figure)
