"""``gptfl fit`` from the command line."""

from collections.abc import Callable
from pathlib import Path

from gptfl.store.simulators import read_simulator
from tests.cli.test_errors import refuses


def test_each_metric_has_a_simulator_and_a_line_of_its_own(gptfl: Callable, study: Path) -> None:
    for path in study.glob("*.simulator.h5"):
        path.unlink()
    fitted = gptfl(
        "fit",
        "--estimator",
        "mean-run",
        "--metric",
        "loss",
        "--metric",
        "accuracy",
        "--metric",
        "loss",
        "-w",
        str(study),
    )
    assert fitted.code == 0, fitted.err
    first, second, last = fitted.out.splitlines()
    assert "mean-run of the loss, fitted to " in first
    assert "mean-run of the accuracy, fitted to " in second
    assert last == "next: gptfl simulate --subset ids.txt, or gptfl compare"
    written = [Path(line.partition(": ")[0]) for line in (first, second)]
    assert [read_simulator(path).metric.name for path in written] == ["loss", "accuracy"]
    assert set(study.glob("*.simulator.h5")) == set(written)


def test_the_line_says_which_runs_and_features_it_learned_from(gptfl: Callable, study: Path) -> None:
    fitted = gptfl("fit", "--estimator", "gptfluence", "--set", "epochs=2", "-w", str(study))
    assert fitted.code == 0, fitted.err
    assert "gptfluence of the loss, fitted to 7 runs and 1 to validate on features by tfidf-svd in " in fitted.out


def test_one_file_for_two_metrics_is_refused(gptfl: Callable, study: Path, tmp_path: Path) -> None:
    words = ("--output", str(tmp_path / "a.simulator.h5"), "--metric", "loss", "--metric", "accuracy", "-w", str(study))
    refuses(gptfl("fit", *words), 2, "a.simulator.h5 names one file for 2 metrics: leave it out, or fit one metric")
    assert not (tmp_path / "a.simulator.h5").exists()
