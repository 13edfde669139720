"""Times ranking a large synthetic pool in closed form (seconds of processor time), and the memory that it takes.

Run by hand: OMP_NUM_THREADS=1 python benchmarks/rank.py
"""

import argparse
import importlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import gptfl
from gptfl.core import Curriculum, Dynamics, Example, Features, FeatureSet, MetricInfo, Prediction, Run, role_of
from gptfl.core.curriculum import draw_subset, fill_batches, linear_decay, recorded_steps, run_seed
from gptfl.plugins import EstimatorTags
from gptfl.plugins.hooks import hookimpl
from gptfl.plugins.registry import build, using
from gptfl.store.features import write_features
from gptfl.store.recordings import write_dynamics

STEPS, BATCH, SUBSET, RATE = 48, 4, 32, 1e-3


class Linear:
    """Linear in the mean feature vector of a batch, known exactly; keeps no vector of any training example."""

    name = "linear"
    tags = EstimatorTags(requires={"features"})

    def settings(self):
        return {}

    def fit(self, data):
        self.slopes_ = np.asarray(data.features.sets["vectors"].test, np.float32).T
        return self

    def predict(self, query):
        return Prediction(np.repeat(query.first[:, None], len(query.steps), axis=1))

    def influence_of(self, places, vectors, weights):
        influence = RATE * (vectors["vectors"].astype(np.float32) @ (self.slopes_ @ weights.T.astype(np.float32)))
        return influence, np.full(influence.shape, RATE)

    def state(self):
        return {"slopes": self.slopes_}

    def restore(self, state):
        self.slopes_ = state["slopes"]
        return self


@hookimpl
def gptfl_estimators():
    return {"linear": Linear}


def register() -> None:
    """Add the estimator of this file to those that gptfl finds."""
    using(build([sys.modules[__name__]])).__enter__()


def record(folder: Path, arguments: argparse.Namespace) -> dict[str, float]:
    """A pool of which the runs see a few hundred examples, whose vectors move the test examples."""
    random = np.random.default_rng(0)
    pool = tuple(Example(f"pool-{i}", f"Question {i}?", " yes") for i in range(arguments.pool))
    test = tuple(Example(f"test-{i}", f"Test {i}?", " yes") for i in range(arguments.test))
    shape = (arguments.pool, arguments.dimensions)
    vectors = random.standard_normal(shape, dtype=np.float32).astype(np.float16)
    tests = random.standard_normal((arguments.test, arguments.dimensions)).astype(np.float16)
    steps = recorded_steps(STEPS, 4)
    rates = linear_decay(RATE, STEPS)
    runs = []
    for index in range(arguments.runs):
        seed = run_seed(0, index)
        batches = fill_batches(draw_subset(arguments.pool, SUBSET, seed), BATCH, STEPS, seed)
        moved = (vectors[batches].astype(np.float64).mean(axis=1) * rates[:, None]) @ tests.astype(np.float64).T
        values = 3.0 - np.concatenate([np.zeros((1, arguments.test)), np.cumsum(moved, axis=0)])[steps]
        runs.append(Run(index, seed, role_of(index), Curriculum(batches, rates), steps, {"loss": values}))
    metric = MetricInfo("loss", higher_is_better=False, low=0.0)
    dynamics = Dynamics(pool, test, {"loss": metric}, tuple(runs), {"task": "synthetic"})
    write_dynamics(folder / "large.dynamics.h5", dynamics)
    sets = {"vectors": FeatureSet(vectors, tests)}
    write_features(folder / "large.synthetic.features.h5", Features("synthetic", {}, dynamics.examples, sets))
    return {"peak": peak()}


def peak() -> float:
    """The most memory that this process has held so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def fit(folder: Path, arguments: argparse.Namespace) -> dict[str, float]:
    """Fit the estimator to the recording."""
    register()
    begin = time.process_time()
    gptfl.fit(arguments.estimator[0], workspace=folder)
    return {"seconds": time.process_time() - begin, "peak": peak()}


def rank(folder: Path, arguments: argparse.Namespace) -> dict[str, float]:
    """Rank the pool, and write the best hundred."""
    register()
    from gptfl.simulation.simulator import open_fitted

    importlib.import_module("gptfl.api.rank")
    loaded = peak()
    estimator = arguments.estimator[0]
    source = open_fitted(None, None, folder, estimator, None)
    opened = peak()
    del source
    begin = time.process_time()
    result = gptfl.rank(workspace=folder, estimators=[estimator], top=100, output=folder / "top.csv")
    seconds = time.process_time() - begin
    assert result.rankings[0].how == "closed-form"
    return {"seconds": seconds, "peak": peak(), "loaded": loaded, "opened": opened}


def child(what: str, folder: Path, sizes: list[str], estimator: str) -> dict[str, float]:
    """What a process of its own measures; a new process begins with the peak of the one that starts it."""
    command = [sys.executable, __file__, *sizes, "--estimator", estimator, "--child", what, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Print times and memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = (("pool", 100_000), ("dimensions", 512), ("test", 50), ("runs", 12))
    for name, default in names:
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--estimator", nargs="+", default=["linear", "exposure-gp"])
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        what, folder = arguments.child
        print(json.dumps({"record": record, "fit": fit, "rank": rank}[what](Path(folder), arguments)))
        return
    sizes = [word for name, _ in names for word in (f"--{name}", str(getattr(arguments, name)))]
    whole = arguments.pool * arguments.dimensions * 2 / 2**20
    print(f"pool {arguments.pool}, {arguments.dimensions}-d float16 ({whole:.0f} MiB), {arguments.test} test examples")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        child("record", folder, sizes, "linear")
        for estimator in arguments.estimator:
            fitted, ranked = (child(what, folder, sizes, estimator) for what in ("fit", "rank"))
            print(
                f"{estimator:12} fit {fitted['seconds']:6.1f} s, {fitted['peak']:5.0f} MiB; rank {ranked['seconds']:6.1f} s, "
                f"{ranked['peak']:5.0f} MiB at the peak, of which gptfl {ranked['loaded']:.0f} and recording and simulator "
                f"{ranked['opened'] - ranked['loaded']:.0f}"
            )


if __name__ == "__main__":
    main()
