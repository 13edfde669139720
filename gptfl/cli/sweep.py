"""``gptfl sweep``."""

from gptfl.cli import console
from gptfl.cli.adapter import with_options
from gptfl.cli.picture import pictured
from gptfl.cli.sweeping import check_one_form, over_settings
from gptfl.errors import UsageError
from gptfl.options.evaluation import GridOptions


@with_options(GridOptions)
def command(options: GridOptions) -> None:
    """Compare an estimator with itself over a grid of settings, as the paper's ablations do.

    Example: `gptfl sweep order=1,2,3 every=1,2 --folds 4`
    """
    check_one_form(options)
    if not options.axes:
        raise UsageError("nothing says what to vary", "write for example gptfl sweep order=1,2,3")
    options = pictured(options)
    console.warn_of_problems()
    over_settings(options, options.as_json, options.as_csv)
