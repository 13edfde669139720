"""``gptfl compare``."""

from gptfl.cli import console
from gptfl.cli.adapter import with_options
from gptfl.cli.page import page_target, write_result_page
from gptfl.cli.picture import pictured
from gptfl.cli.sweeping import check_runs_only, run_sweep
from gptfl.cli.tables import show_table
from gptfl.errors import UsageError
from gptfl.options.evaluation import CompareOptions


@with_options(CompareOptions)
def command(options: CompareOptions) -> None:
    """Hold every estimator's simulation against the held-out runs, in one table.

    Example: `gptfl compare --folds 4 --set gptfluence.order=2 --csv`
    """
    from gptfl.api.compare import compare_with
    from gptfl.report.calibration import calibration_table
    from gptfl.report.comparison import cost_table, rich_table, to_csv, to_json, to_latex
    from gptfl.report.footnotes import footnotes
    from gptfl.report.removals import removal_table

    table = options.table
    if table.as_json + table.as_csv + table.as_latex > 1:
        raise UsageError("--json, --csv and --latex were given together", "choose one")
    options, page = pictured(options), page_target(options)
    console.warn_of_problems()
    if options.sweep.sweep:
        if page is not None:
            raise UsageError(
                f"--html {options.html} is of one comparison, and --sweep makes several", "leave out one of both"
            )
        run_sweep(options)
        return
    check_runs_only(options.sweep, False)
    with console.progress_bar() as progress:
        result, error = console.outcome(compare_with, options, progress=progress)
    for is_chosen, render in ((table.as_json, to_json), (table.as_csv, to_csv), (table.as_latex, to_latex)):
        if is_chosen:
            for text in footnotes(result):
                console.note(text)
            console.say(render(result).rstrip())
            write_result_page(result, options, "compare", page, True)
            console.show_unkept(result.unkept, error)
            return
    show_table(rich_table(result))
    for extra in (removal_table(result), calibration_table(result), cost_table(result)):
        if extra is not None:
            show_table(extra)
    console.say_paths(picture=result.figure)
    write_result_page(result, options, "compare", page, False)
    console.say("next: gptfl simulate --subset ids.txt, or gptfl select --size N (after gptfl fit)")
    console.show_unkept(result.unkept, error)
