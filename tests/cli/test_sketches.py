"""``gptfl collect --sketches`` and what comes after it, on the command line."""

from collections.abc import Callable
from pathlib import Path

from tests.cli.conftest import Outcome

Command = Callable[..., Outcome]


def test_from_sketches_to_a_fit(gptfl: Command, neox: Path, tmp_path: Path) -> None:
    def done(*arguments: str) -> str:
        outcome = gptfl(*arguments, "--workspace", str(tmp_path))
        assert outcome.code == 0, outcome.err
        return " ".join(f"{outcome.out} {outcome.err}".split())

    options = ("--model", str(neox), "--task", "errands", "--runs", "5", "--pool", "12", "--test", "4", "--steps", "4")
    recorded = ("collect", *options, "--subset-size", "6", "--batch-size", "3")
    sketches = ("--sketches", "--sketch-points", "2", "--sketch-dimensions", "32", "--sketch-modules", "*mlp*")
    planned = done(*recorded, *sketches, "--dry-run")
    assert "one reference run besides; 12 + 4 gradients in 32 dimensions at steps 0, 4: about" in planned
    told = done(*recorded, *sketches)
    assert "gradient sketches at steps 0, 4 of a reference run added" in told
    assert "next: gptfl featurize --encoder gradients" in told
    shown = done("featurize", "--encoder", "gradients", "--set", "divided=both", "--set", "dimensions=16")
    for name in ("raw-0", "raw-4", "split-4"):
        assert f"{name} (16 numbers an example)" in shown
    done("featurize", "--encoder", "gradients")
    assert "gradients" in done("fit", "--estimator", "exposure-gp")


def test_options_without_sketches_are_refused(gptfl: Command, neox: Path, tmp_path: Path) -> None:
    options = ("--model", str(neox), "--task", "errands", "--workspace", str(tmp_path))
    refused = gptfl("collect", *options, "--sketch-points", "2")
    assert refused.code == 2
    assert "--sketch-points 2 without --sketches says nothing: add --sketches, or leave it out" in " ".join(
        refused.err.split()
    )
    missing = gptfl("collect", *options, "--sketches", "--sketch-dimensions", "none")
    assert missing.code == 2
