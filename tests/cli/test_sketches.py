"""``gptfl collect --sketches`` and what comes after it, on the command line."""

from collections.abc import Callable
from pathlib import Path

from gptfl.store.recordings import read_dynamics
from tests.cli.conftest import Outcome

Command = Callable[..., Outcome]


def test_from_sketches_to_a_fit(gptfl: Command, neox: Path, tmp_path: Path) -> None:
    def done(*arguments: str) -> str:
        outcome = gptfl(*arguments, "--workspace", str(tmp_path))
        assert outcome.code == 0, outcome.err
        return " ".join(f"{outcome.err} {outcome.out}".split())

    options = ("--model", str(neox), "--task", "errands", "--runs", "5", "--pool", "12", "--test", "4", "--steps", "4")
    recorded = ("collect", *options, "--subset-size", "6", "--batch-size", "3")
    sketches = ("--sketches", "--sketch-points", "2", "--sketch-dimensions", "32", "--sketch-modules", "*mlp*")
    planned = done(*recorded, *sketches, "--dry-run")
    assert "one reference run besides; 12 + 4 gradients in 32 dimensions at steps 0, 4: about" in planned
    printed = done(*recorded, *sketches)
    assert "gradient sketches at steps 0, 4 of a reference run added" in printed
    assert printed.endswith("next: gptfl featurize")
    # Without --sketches again, the recording still holds them.
    assert done(*recorded).endswith("next: gptfl featurize")
    shown = done("featurize", "--set", "dimensions=16")
    assert "gradients, raw-0, raw-4, split-4 (16 numbers an example)" in shown
    assert "takes gradients, since the recording holds gradient sketches; --encoder minilm" in shown
    assert "preconditioned-4" in done("featurize", "--encoder", "gradients", "--set", "divided=pool")
    assert shown.endswith("next: gptfl fit")
    assert "exposure-gp of the loss, fitted to 4 runs on features by gradients" in done("fit")


def test_few_runs_lead_from_one_short_command_to_the_next(gptfl: Command, neox: Path, tmp_path: Path) -> None:
    def done(*arguments: str) -> str:
        outcome = gptfl(*arguments, "--workspace", str(tmp_path))
        assert outcome.code == 0, outcome.err
        return " ".join(outcome.out.split())

    small = ("--pool", "12", "--test", "4", "--steps", "4", "--subset-size", "6", "--batch-size", "3")
    few = ("--few-runs", "--sketch-points", "2", "--sketch-dimensions", "16")
    done("collect", "--model", str(neox), "--task", "errands", *small, *few)
    done("featurize")
    done("fit")
    ids = tmp_path / "ids.txt"
    dynamics = read_dynamics(tmp_path / "errands-small-neox.dynamics.h5")
    ids.write_text("\n".join(example.id for example in dynamics.pool[:6]))
    assert "exposure-gp" in done("simulate", "--subset", str(ids), "--orders", "2")
    assert "rank" in done("rank", "--on", "mean", "--how", "closed-form")
    table = done("compare", "--folds", "3", "--estimator", "exposure-gp")
    assert "Predictive intervals" in table


def test_options_without_sketches_are_refused(gptfl: Command, neox: Path, tmp_path: Path) -> None:
    options = ("--model", str(neox), "--task", "errands", "--workspace", str(tmp_path))
    refused = gptfl("collect", *options, "--sketch-points", "2")
    assert refused.code == 2
    assert "--sketch-points 2 without --sketches says nothing: add --sketches, or leave it out" in " ".join(
        refused.err.split()
    )
    missing = gptfl("collect", *options, "--sketches", "--sketch-dimensions", "none")
    assert missing.code == 2
