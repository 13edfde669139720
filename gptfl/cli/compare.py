"""``gptfl compare``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from gptfl.cli import console
from gptfl.cli.numbers import at_least
from gptfl.cli.options import (
    FILES,
    PRECISE,
    RESULT,
    Dynamics,
    Encoder,
    Every,
    Features,
    KeepDiverged,
    Metric,
    Seed,
    Unseen,
    UnseenShare,
    Workspace,
    complete,
)
from gptfl.cli.plugins import warn_of_problems
from gptfl.cli.sweeping import check_runs_only, run_sweep
from gptfl.cli.tables import show_table
from gptfl.errors import UsageError


def command(
    estimator: Annotated[
        list[str] | None,
        typer.Option(
            help="Estimator to compare, beside the naive ones; may be given several times, "
            "also the same with other settings or the features of another encoder.",
            metavar="NAME[@ENCODER][:SETTING=VALUE,...]",
            show_default="all that find what they need",
            autocompletion=complete("estimator"),
        ),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            callback=at_least(2),
            help="Refit K times so that every run is held out once.",
            metavar="K",
            show_default="stored roles",
        ),
    ] = None,
    metric: Metric = None,
    encoder: Encoder = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="ESTIMATOR.NAME=VALUE",
            help="A setting of one estimator; may be given several times.",
            rich_help_panel=PRECISE,
        ),
    ] = None,
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate",
            help="Multiply what gradient estimators such as tracin-cp foretell by a number fitted to the runs to fit.",
        ),
    ] = False,
    every: Every = 1,
    keep_diverged: KeepDiverged = False,
    sweep: Annotated[
        list[str] | None,
        typer.Option(
            metavar="AXIS=V1,V2,...",
            help="Compare values of one setting of the --estimator (default gptfluence), of 'every' or of 'encoder', "
            "as in order=1,2,3; given several times, every combination. 'runs' stands alone: estimators (default "
            "exposure-gp and gptfluence) fitted to the first 2, 3, 5 ... runs predict the same held-out runs.",
        ),
    ] = None,
    held_out: Annotated[
        int | None,
        typer.Option(
            callback=at_least(1, "give at least 1, or leave it out for the recording's test runs"),
            help="With --sweep runs: hold out the last N runs.",
            metavar="N",
            show_default="the test runs",
            rich_help_panel=PRECISE,
        ),
    ] = None,
    draws: Annotated[
        int,
        typer.Option(
            callback=at_least(1),
            help="With --sweep runs: fit to up to K disjoint groups of runs at each point, and average.",
            metavar="K",
            rich_help_panel=PRECISE,
        ),
    ] = 1,
    cost: Annotated[
        bool,
        typer.Option(
            "--cost", help="Also measure the seconds and floating-point operations that one simulated trajectory takes."
        ),
    ] = False,
    unseen: Unseen = None,
    unseen_share: UnseenShare = None,
    observe: Annotated[
        int | None,
        typer.Option(
            callback=at_least(1, "give how many recorded scores to tell, or leave it out"),
            help="Tell the estimators the first K recorded scores of each held-out run after its start; score the rest.",
            metavar="K",
            show_default="none",
            rich_help_panel=PRECISE,
        ),
    ] = None,
    against_estimator: Annotated[
        str | None,
        typer.Option(
            help="Row whose squared error the others are held against.",
            metavar="NAME",
            show_default="the row with the least",
            rich_help_panel=PRECISE,
        ),
    ] = None,
    seed: Seed = 42,
    dynamics: Dynamics = None,
    features: Features = None,
    workspace: Workspace = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.", rich_help_panel=RESULT)] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.", rich_help_panel=RESULT)] = False,
    as_latex: Annotated[bool, typer.Option("--latex", help="Print a LaTeX table.", rich_help_panel=RESULT)] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Also write the table to this .json, .csv or .tex file.", show_default=False, rich_help_panel=FILES
        ),
    ] = None,
    figure: Annotated[
        Path | None,
        typer.Option(help="Picture to write.", show_default="in the workspace", rich_help_panel=FILES),
    ] = None,
) -> None:
    """Hold every estimator's simulation against the held-out runs, in one table.

    Example: `gptfl compare --folds 4 --set gptfluence.order=2 --csv`
    """
    from gptfl.api.compare import compare
    from gptfl.report.calibration import calibration_table
    from gptfl.report.comparison import cost_table, rich_table, to_csv, to_json, to_latex
    from gptfl.report.footnotes import footnotes

    if as_json + as_csv + as_latex > 1:
        raise UsageError("--json, --csv and --latex were given together", "choose one")
    warn_of_problems()
    if sweep:
        given = {"--latex": as_latex, "--cost": cost, "--calibrate": calibrate, "--unseen": unseen is not None}
        given |= {"--observe": observe is not None, "--against-estimator": against_estimator is not None}
        others = [flag for flag, is_given in given.items() if is_given]
        if others:
            raise UsageError(f"{others[0]} does not go with --sweep", "leave out one of them")
        run_sweep(
            sweep,
            estimator,
            as_json,
            as_csv,
            held_out,
            draws,
            dynamics=dynamics,
            features=features,
            workspace=workspace,
            encoder=encoder,
            metric=metric,
            folds=folds,
            every=every,
            keep_diverged=keep_diverged,
            settings=_by_estimator(settings),
            seed=seed,
            output=output,
            figure=True if figure is None else figure,
        )
        return
    check_runs_only(held_out, draws, False)
    with console.progress_bar() as progress:
        result, error = console.outcome(
            compare,
            dynamics=dynamics,
            features=features,
            workspace=workspace,
            estimators=estimator,
            encoder=encoder,
            metric=metric,
            folds=folds,
            every=every,
            keep_diverged=keep_diverged,
            settings=_by_estimator(settings),
            calibrate=calibrate,
            cost=cost,
            unseen=unseen,
            unseen_share=unseen_share,
            observe=observe,
            against_estimator=against_estimator,
            seed=seed,
            output=output,
            figure=True if figure is None else figure,
            progress=progress,
        )
    for wanted, render in ((as_json, to_json), (as_csv, to_csv), (as_latex, to_latex)):
        if wanted:
            for text in footnotes(result):
                console.note(text)
            console.say(render(result).rstrip())
            console.settle(result.unkept, error)
            return
    show_table(rich_table(result))
    for extra in (calibration_table(result), cost_table(result)):
        if extra is not None:
            show_table(extra)
    console.say_paths(picture=result.figure)
    console.say("next: gptfl simulate --subset ids.txt, or gptfl select --size N (after gptfl fit)")
    console.settle(result.unkept, error)


def _by_estimator(pairs: list[str] | None) -> dict[str, dict[str, Any]]:
    """Read ``estimator.name=value`` pairs; an estimator's name has no dot, a setting's neither."""
    grouped: dict[str, dict[str, Any]] = {}
    for pair in pairs or []:
        estimator, dot, rest = pair.partition(".")
        if not dot or not estimator or "=" in estimator:
            raise UsageError(f"--set {pair!r} is not ESTIMATOR.NAME=VALUE", "write for example gptfluence.order=2")
        grouped.setdefault(estimator, {}).update(console.parse_settings([rest]))
    return grouped
