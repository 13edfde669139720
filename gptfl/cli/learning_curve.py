"""``gptfl learning-curve``."""

from gptfl.cli import console
from gptfl.cli.adapter import with_options
from gptfl.cli.picture import pictured
from gptfl.cli.sweeping import check_one_form, over_runs
from gptfl.core.texts import MOST_DIGITS
from gptfl.errors import UsageError
from gptfl.options.evaluation import LearningCurveOptions


@with_options(LearningCurveOptions)
def command(options: LearningCurveOptions) -> None:
    """Predict the same held-out runs after fits to few and to many others, to see how many recorded runs it takes.

    Example: `gptfl learning-curve 2 3 5 10 --estimator exposure-gp`
    """
    check_one_form(options)
    if not options.counts:
        raise UsageError("nothing says how many runs to fit to", "write for example gptfl learning-curve 2 3 5 10")
    for word in (word for words in options.counts for word in str(words).split(",")):
        if not word.strip().isdecimal() or len(word) > MOST_DIGITS:
            raise UsageError(f"{word[:60]!r} is no number of runs", "write for example gptfl learning-curve 2 3 5 10")
    options = pictured(options)
    console.warn_of_problems()
    over_runs(options, options.as_json, options.as_csv)
