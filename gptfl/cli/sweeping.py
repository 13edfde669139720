"""What ``gptfl sweep``, ``gptfl learning-curve`` and ``gptfl compare --sweep`` share."""

from collections.abc import Callable, Sequence
from typing import Any

from gptfl.cli import console
from gptfl.cli.tables import show_table
from gptfl.errors import UsageError
from gptfl.options.evaluation import CompareOptions, PointOptions, SweepOptions
from gptfl.plugins.settings import parse_value


def check_runs_only(options: SweepOptions, over_runs: bool) -> None:
    """Raise ``UsageError`` where options of ``--sweep runs`` are given without it."""
    for flag, given in (("--held-out", options.held_out is not None), ("--draws", options.draws != 1)):
        if given and not over_runs:
            raise UsageError(f"{flag} is of --sweep runs alone", "leave it out, or give --sweep runs=2,3,5,10")


def run_sweep(options: CompareOptions, given: dict[str, Any]) -> None:
    """Carry out a sweep over settings or over the number of runs, and show it.

    ``given`` are the arguments that ``compare`` would get. Raises ``UsageError`` for options that no sweep has.
    """
    from gptfl.api.learning_curve import RUNS

    alone = {
        "--latex": options.table.as_latex,
        "--cost": given.pop("cost"),
        "--calibrate": given.pop("calibrate"),
        "--unseen": given.pop("unseen") is not None,
        "--observe": given.pop("observe") is not None,
        "--against-estimator": given.pop("against_estimator") is not None,
    }
    others = [flag for flag, is_given in alone.items() if is_given]
    if others:
        raise UsageError(f"{others[0]} does not go with --sweep", "leave out one of them")
    del given["unseen_share"]
    axes = axes_of(options.sweep.sweep)
    check_runs_only(options.sweep, RUNS in axes)
    if RUNS not in axes:
        estimator = _swept(given.pop("estimators"))
        over_settings(axes, options.table.as_json, options.table.as_csv, estimator, **given)
        return
    if len(axes) > 1:
        others = [axis for axis in axes if axis != RUNS]
        raise UsageError(
            f"--sweep {RUNS} goes with no other axis, and {', '.join(others)} is given", "sweep them one by one"
        )
    if given.pop("folds") is not None:
        raise UsageError(
            f"--folds does not go with --sweep {RUNS}: the same runs are held out at every point",
            "give --held-out N, or leave it out for the recording's test runs",
        )
    over_runs(
        axes[RUNS],
        options.table.as_json,
        options.table.as_csv,
        held_out=options.sweep.held_out,
        draws=options.sweep.draws,
        **given,
    )


def over_runs(counts: Sequence[Any], as_json: bool, as_csv: bool, **options: Any) -> None:
    """Carry out a learning curve, and show it."""
    from gptfl.api.learning_curve import learning_curve
    from gptfl.report.learning_curve import notes_of, runs_csv, runs_json, runs_table

    with console.progress_bar() as progress:
        found, error = console.outcome(learning_curve, counts, progress=progress, **options)
    if as_json or as_csv:
        for text in notes_of(found):
            console.note(text)
    _show(found, runs_json if as_json else runs_csv if as_csv else None, runs_table)
    console.settle(found.unkept, error)


def over_settings(axes: dict[str, list[Any]], as_json: bool, as_csv: bool, estimator: str, **options: Any) -> None:
    """Carry out a sweep over settings, and show it."""
    from gptfl.api.sweep import sweep
    from gptfl.report.sweep import sweep_csv, sweep_json, sweep_table

    with console.progress_bar() as progress:
        found, error = console.outcome(sweep, axes, estimator=estimator, progress=progress, **options)
    for text in found.notes:
        console.note(text)
    _show(found, sweep_json if as_json else sweep_csv if as_csv else None, sweep_table)
    console.settle(found.unkept, error)


def _swept(estimators: Sequence[str] | None) -> str:
    """The one estimator that ``compare --sweep`` varies. Raises ``UsageError`` for several, or one with settings."""
    from gptfl.api.sweep import SWEPT

    if estimators is None:
        return SWEPT
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


def axes_of(given: Sequence[str], flag: str = "--sweep") -> dict[str, list[Any]]:
    """Read ``axis=value,value`` pairs; a value is read as ``--set`` reads it."""
    axes: dict[str, list[Any]] = {}
    for pair in given:
        axis, sign, values = pair.partition("=")
        axis = axis.strip().replace("-", "_")
        if not sign or not axis.isidentifier() or not all(value.strip() for value in values.split(",")):
            raise UsageError(f"{flag} {pair!r} is not AXIS=V1,V2,...", "write for example order=1,2,3")
        if axis in axes:
            raise UsageError(f"{flag} {axis} is given twice", "give all its values at once")
        axes[axis] = [parse_value(value.strip()) for value in values.split(",")]
    return axes


def by_estimator(pairs: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Read ``estimator.name=value`` pairs; an estimator's name has no dot, a setting's neither."""
    grouped: dict[str, dict[str, Any]] = {}
    for pair in pairs:
        estimator, dot, rest = pair.partition(".")
        if not dot or not estimator or "=" in estimator:
            raise UsageError(f"--set {pair!r} is not ESTIMATOR.NAME=VALUE", "write for example gptfluence.order=2")
        grouped.setdefault(estimator, {}).update(console.parse_settings([rest]))
    return grouped
