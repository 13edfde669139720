"""``gptfl compare`` from the command line."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Outcome
from tests.cli.test_errors import refuses

Command = Callable[..., Outcome]


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--estimator", "mean-run:"), 2, "--estimator 'mean-run:' names no setting: write NAME:SETTING=VALUE"),
        (("--estimator", "gptfluence:order"), 2, "'order' is not SETTING=VALUE"),
        (("--estimator", "gptfluence:order=1,order=2"), 2, "gives order twice"),
        (("--estimator", "gptfluence:ordr=1"), 4, "has no setting 'ordr': did you mean 'order'?"),
        (("--estimator", "gptfluence:order=0"), 2, "order is 0"),
        (("--estimator", "mean-run", "--calibrate"), 2, "none of the estimators compared can be calibrated"),
    ],
)
def test_wrong_estimators_to_compare_are_one_line(
    gptfl: Command, finished_study: Path, options: tuple[str, ...], code: int, words: str
) -> None:
    refuses(gptfl("compare", "-w", str(finished_study), *options), code, words)


def test_compare_shows_calibration_and_what_was_observed(gptfl: Callable, sure_study: Path) -> None:
    call = ("compare", "--estimator", "sure", "--metric", "loss", "--workspace", str(sure_study))
    shown = gptfl(*call, "--observe", "1", "--folds", "2")
    assert shown.code == 0, shown.err
    assert "Predictive intervals" in shown.out
    assert "mean-run ‡" in shown.out
    assert shown.out.splitlines()[-1].startswith("next: gptfl simulate --subset ids.txt")
    refused = gptfl(*call, "--observe", "40")
    assert refused.code == 2
    assert (
        "--observe 40: no held-out run has more than 4 recorded scores after its first: give at most 3" in refused.err
    )
    refused = gptfl(*call, "--observe", "1", "--sweep", "every=1,2")
    assert refused.code == 2
    assert "--observe does not go with --sweep" in refused.err
    refused = gptfl(*call, "--against-estimator", "nobody")
    assert refused.code == 2
    assert "--against-estimator 'nobody' is not compared" in refused.err
