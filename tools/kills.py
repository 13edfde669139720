"""Kills gptfl at seeded moments, lets it go on, and compares with what was never killed: python tools/kills.py --kills 40

``collect`` (with sketches), ``featurize``, ``fit`` and ``simulate`` of a tiny model are each killed by SIGKILL, some of
them again as they go on. Whatever has its final name must then be whole; what goes on must come to the same result, to
the bit; and nothing unfinished may lie about. Anything else is a fault, and the script then exits 1.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

MODEL, RECORDING, FEATURES = "model", "a.dynamics.h5", "a.features.h5"
SIMULATOR, PREDICTIONS = "a.simulator.h5", "a.predictions.h5"
SHORTEST = 0.05
"""Seconds that a stage is taken to last at least."""
AGAIN = 3
"""A stage is killed at most so often before it may end."""
Stage = Callable[[Path, Path], object]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a stage that was killed ``kills`` times, ``after`` so many seconds each."""

    stage: str
    kills: int
    after: tuple[float, ...]
    fault: str


def collect(work: Path, base: Path) -> object:
    """Record five runs and sketches."""
    import gptfl

    sizes = {"runs": 5, "pool": 10, "test": 4, "subset_size": 5, "batch_size": 2, "steps": 4}
    return gptfl.collect(
        str(base / MODEL), "errands", workspace=work, name="a", **sizes, lr=1e-2, sketches=True, sketch_dimensions=8
    )


def featurize(work: Path, base: Path) -> object:
    """Turn the sketches into features."""
    import gptfl

    return gptfl.featurize("gradients", dynamics=work / RECORDING, output=work / FEATURES)


def fit(work: Path, base: Path) -> object:
    """Fit the estimator of few runs."""
    import gptfl

    files = {"dynamics": work / RECORDING, "features": work / FEATURES}
    return gptfl.fit("exposure-gp", **files, metric="loss", output=work / SIMULATOR)


def simulate(work: Path, base: Path) -> object:
    """Predict the runs that were held out."""
    import gptfl

    files = {"dynamics": work / RECORDING, "features": work / FEATURES, "simulator": work / SIMULATOR}
    return gptfl.simulate(**files, output=work / PREDICTIONS, figure=work / "a.png")


STAGES: dict[str, tuple[Stage, str]] = {
    "collect": (collect, RECORDING),
    "featurize": (featurize, FEATURES),
    "fit": (fit, SIMULATOR),
    "simulate": (simulate, PREDICTIONS),
}
"""Each stage, and the file that it makes."""


def contents(path: Path) -> str:
    """A fingerprint of what a file holds, without the times it took. Raises ``GptflError`` where it isn't whole."""
    from gptfl.core import fingerprint
    from gptfl.store.features import read_features
    from gptfl.store.predictions import read_predictions
    from gptfl.store.recordings import read_dynamics
    from gptfl.store.simulators import read_simulator

    if path.name == RECORDING:
        return read_dynamics(path).fingerprint
    if path.name == FEATURES:
        return read_features(path).fingerprint
    if path.name == SIMULATOR:
        made = read_simulator(path)
        return fingerprint(made.key, *(part for name in sorted(made.state) for part in (name, made.state[name])))
    predictions = read_predictions(path)
    bounds = (bound for level in sorted(predictions.intervals) for bound in predictions.intervals[level])
    return fingerprint(
        list(predictions.labels),
        predictions.batches,
        predictions.steps,
        predictions.values,
        predictions.reference,
        *bounds,
    )


def prepare() -> None:
    """Load what the stages load, so that no child has to."""
    import matplotlib.pyplot  # noqa: F401
    import torch
    import transformers

    import gptfl.builtin  # noqa: F401

    transformers.utils.logging.set_verbosity_error()
    torch.set_num_threads(1)  # a child of a process with threads may hang
    for module in ("recording.collect", "features.featurize", "simulation.fit", "api.simulate"):
        __import__(f"gptfl.{module}")


def started(stage: Stage, work: Path, base: Path, log: Path) -> int:
    """Begin a stage in a child of its own; its process id."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that children of threads may hang
        child = os.fork()
    if child:
        return child
    code = 1
    try:
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        stage(work, base)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def make_base(folder: Path, names: Sequence[str] = tuple(STAGES)) -> dict[str, float]:
    """What each of the named stages makes undisturbed; how many seconds that takes.

    Where ``collect`` is none of them, there are a recording and features of no model.
    """
    if "collect" in names:
        from fuzz_models import make_base as make_model

        prepare()
        make_model(folder / MODEL)
    else:
        from hostile_files import make_small_base

        make_small_base(folder)
    taken = {}
    for name in names:
        stage = STAGES[name][0]
        began = time.perf_counter()
        child = started(stage, folder, folder, folder / ".log")
        if os.waitpid(child, 0)[1]:
            raise SystemExit(f"{name} fails undisturbed: {(folder / '.log').read_text(encoding='utf-8')}")
        taken[name] = max(SHORTEST, time.perf_counter() - began)
    return taken


def fault_in(work: Path, log: Path) -> str:
    """What is wrong with a folder in which a stage was killed; empty where nothing is."""
    from gptfl.errors import GptflError

    for path in work.glob("a.*.h5"):
        try:
            contents(path)
        except GptflError as error:
            return f"not whole: {error}"
    log.unlink(missing_ok=True)
    return ""


def try_stage(name: str, base: Path, seconds: float, work: Path, random: Random) -> Outcome:
    """Kill a stage, some times, then let it end and compare with the undisturbed one."""
    stage, file = STAGES[name]
    work.mkdir()
    log = work.parent / f"{work.name}.log"
    for before in list(STAGES)[: list(STAGES).index(name)]:
        shutil.copy(base / STAGES[before][1], work)
    after: list[float] = []
    for _ in range(random.randint(1, AGAIN)):
        wait = seconds * random.random() ** 2  # early rather than after the end
        child = started(stage, work, base, log)
        time.sleep(wait)
        os.kill(child, signal.SIGKILL)
        if not os.WIFSIGNALED(os.waitpid(child, 0)[1]):
            break  # it had ended before
        after.append(wait)
        fault = fault_in(work, log)
        if fault:
            return Outcome(name, len(after), tuple(after), fault)
    if os.waitpid(started(stage, work, base, log), 0)[1]:
        fault = f"does not go on: {log.read_text(encoding='utf-8').strip().splitlines()[-1]}"
    elif contents(work / file) != contents(base / file):
        fault = "another result than undisturbed"
    else:
        left = [path.name for path in work.rglob("*") if path.name.endswith((".part", ".tmp"))]
        fault = f"left {', '.join(left)}" if left else ""
    return Outcome(name, len(after), tuple(after), fault)


def outcomes(base: Path, taken: dict[str, float], kills: int, seed: int, folder: Path) -> Iterator[Outcome]:
    """Stages in turn, until so many kills are done."""
    random, done, number = Random(seed), 0, 0
    while done < kills:
        name = list(STAGES)[number % len(STAGES)]
        outcome = try_stage(name, base, taken[name], folder / str(number), random)
        shutil.rmtree(folder / str(number))
        number += 1
        done += outcome.kills
        yield outcome


def main() -> int:
    """Kill, and print what became of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    with tempfile.TemporaryDirectory() as made:
        base = Path(made) / "base"
        base.mkdir()
        taken = make_base(base)
        tried = []
        for one in outcomes(base, taken, arguments.kills, arguments.seed, Path(made)):
            tried.append(one)
            print(f"{'FAULT ' + one.fault if one.fault else 'ok':8} {one.stage}, killed {one.kills} times", flush=True)
    faults = sum(bool(one.fault) for one in tried)
    by_stage = ", ".join(f"{name} {sum(one.kills for one in tried if one.stage == name)}" for name in STAGES)
    print(f"{sum(one.kills for one in tried)} kills ({by_stage}), {faults} faults")
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
