"""A recording is read once a command, whichever it is, and each of its runs is fingerprinted once at most."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from gptfl.core import runs as core_runs
from gptfl.store import files, recordings

SMALL = (
    *("--pool", "12", "--test", "4", "--subset-size", "6", "--batch-size", "3", "--steps", "4", "--lr", "1e-2"),
    *("--sketches", "--sketch-points", "2", "--sketch-dimensions", "8", "--flip-labels", "0.25"),
)
COMMANDS = (
    *(
        "collect RUNS 7",
        "collect RUNS 9",
        "featurize --encoder gradients",
        "featurize --encoder tfidf-svd --set dims=2",
    ),
    *("fit --estimator exposure-gp --encoder gradients", "fit --estimator class-share", "simulate"),
    *("simulate --subset A", "simulate --subset A --subset B", "simulate --drop A --against B --estimator exposure-gp"),
    *("compare --folds 3 --estimator class-share --estimator exposure-gp@gradients", "compare --unseen test"),
    *("compare --truth OTHER --estimator class-share", "compare --sweep every=1,2 --estimator class-share"),
    *("compare --sweep runs=2,4 --estimator class-share", "rank", "rank --on self --estimator exposure-gp"),
    *("rank --estimator exposure-gp --estimator class-share --how replace --orders 1", "verify --subset A"),
    *("select --size 4 --estimator exposure-gp", "verify --subset A --estimator exposure-gp --dry-run"),
    "select-study --size 4 --random 2 --repeats 2 --rival class-share --estimator exposure-gp",
    "removal-study --sizes 2 --random 1 --orders 1 --estimator exposure-gp --estimator class-share",
    *("relabel-study --shares 0.5 --repeats 1 --steps 2 --estimator exposure-gp", "inspect RECORDING"),
    *("inspect RECORDING --json", "inspect RECORDING --command", "inspect FEATURES --command"),
    *("export csv", "export gptdynamics", "import gptdynamics"),
)
"""One after the other in one workspace: each command that takes a recording, or writes one."""
SEVERAL = {"compare --truth OTHER --estimator class-share": 2}
"""Commands that take more than one recording, and how many."""
REFITTED = {"select-study": 3}
"""Commands that fit to recordings of fewer test examples, each of which has a fingerprint of its own."""
NONE = ("collect RUNS 7", "import gptdynamics")
"""Commands that may read none: what they write wasn't there."""


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each recording was read, by its file's name: what reads one reads its pool."""
    counted: Counter[str] = Counter()
    plain = recordings.get_examples

    def get_examples(group: object, side: str, count: int) -> object:
        counted[Path(files.hdf5.path_of(group)).name] += side == "pool"
        return plain(group, side, count)

    monkeypatch.setattr(recordings, "get_examples", get_examples)
    return counted


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """How often the run of each index was fingerprinted."""
    counted: Counter[int] = Counter()
    plain = core_runs.run_fingerprint

    def run_fingerprint(run: core_runs.Run) -> str:
        counted[run.index] += 1
        return plain(run)

    monkeypatch.setattr(core_runs, "run_fingerprint", run_fingerprint)
    return counted


def words_of(command: str, model: Path, space: Path) -> list[str]:
    """A command line, with paths in the places of words in capitals."""
    name, *rest = command.split()
    if name == "collect":
        return [name, "--model", str(model), "--task", "errands", "--runs", rest[1], *SMALL, "-w", str(space)]
    (recording,) = (path for path in space.glob("errands*.dynamics.h5"))
    if name == "export":
        return [name, "--format", rest[0], "--dynamics", str(recording), "--to", str(space / f"out-{rest[0]}")]
    if name == "import":
        return [name, "gptdynamics", str(space / "out-gptdynamics"), "--name", "back", "-w", str(space)]
    paths = {
        "A": space / "a.txt",
        "B": space / "b.txt",
        "OTHER": space / "other" / recording.name,
        "RECORDING": recording,
    }
    if name == "inspect":
        paths["FEATURES"] = next(space.glob("*.gradients.features.h5"))
        return [name, *(str(paths.get(word, word)) for word in rest)]
    return [name, *(str(paths.get(word, word)) for word in rest), "-w", str(space)]


def test_every_command_reads_a_recording_once(
    gptfl: Callable, neox: Path, tmp_path: Path, reads: Counter[str], hashed: Counter[int]
) -> None:
    for command in COMMANDS:
        words = words_of(command, neox, tmp_path)
        reads.clear()
        hashed.clear()
        done = gptfl(*words)
        assert done.code == 0, (command, done.err)
        most = SEVERAL.get(command, 1)
        assert reads.total() <= most, (command, reads)
        assert command in NONE or reads.total() == most, (command, reads)
        assert max(hashed.values(), default=0) <= REFITTED.get(words[0], 1), (command, hashed)
        if command == "collect RUNS 7":
            ids = [row.id for row in pool_of(next(tmp_path.glob("*.dynamics.h5")))]
            for name, some in (("a", ids[:6]), ("b", ids[3:9])):
                (tmp_path / f"{name}.txt").write_text("\n".join(some))
            gptfl(*words[:-1], str(tmp_path / "other"))


def pool_of(path: Path) -> list:
    """The pool of a recording."""
    return list(recordings.read_dynamics(path).pool)
