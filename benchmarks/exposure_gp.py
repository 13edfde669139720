"""Times exposure-gp, fitted and asked, on a recording larger than most, and measures the memory that it takes.

The recording is synthetic: every training example moves every test example by the product of their gradients, and
the features are those gradients, raw and preconditioned, at several points of a reference run. Fit and prediction
run in a process of their own, whose peak memory is read at its end, less what it held before the fit. Seconds are of
processor time, since other work on the machine would count otherwise.

Run by hand: OMP_NUM_THREADS=1 python benchmarks/exposure_gp.py
"""

import argparse
import multiprocessing
import resource
import sys
import time
from multiprocessing.connection import Connection

import numpy as np

from gptfl.core import Curriculum, Example, Features, FeatureSet, FitData, MetricInfo, Query, Run
from gptfl.core.curriculum import draw_subset, fill_batches, linear_decay, run_seed
from gptfl.estimators.exposure_gp.estimator import ExposureGp
from gptfl.estimators.exposures import exposures

LOSS = MetricInfo("loss", higher_is_better=False, low=0.0)
MIB = 2**20


def gradients(arguments: argparse.Namespace, random: np.random.Generator) -> Features:
    """Gradients that change slowly along the reference run; the optimiser divides each number by its own root."""
    sides = [random.normal(size=(count, arguments.dimensions)) for count in (arguments.pool, arguments.test)]
    roots = 0.5 + random.random(arguments.dimensions)
    sets = {}
    for point in np.linspace(0, arguments.steps, arguments.points).round().astype(int):
        train, test = (
            (side + 0.3 * random.normal(size=side.shape)).astype(np.float32) / arguments.dimensions**0.5
            for side in sides
        )
        sets[f"raw-{point}"] = FeatureSet(train, test, "gradient")
        if point:
            sets[f"preconditioned-{point}"] = FeatureSet((train / roots).astype(np.float32), test, "gradient")
    return Features("gradients", {}, "synthetic", sets)


def recording(arguments: argparse.Namespace) -> tuple[FitData, Query]:
    """Runs to fit with the features, and a question about as many others."""
    random = np.random.default_rng(0)
    features = gradients(arguments, random)
    last = features.sets[f"raw-{arguments.steps}"]
    influence = last.train @ last.test.T
    steps = np.arange(arguments.steps + 1)
    first, noise = random.uniform(2, 4, size=arguments.test), 0.005
    rates = linear_decay(1.0, arguments.steps)
    runs = []
    for index in range(2 * arguments.runs):
        seed = run_seed(0, index)
        batches = fill_batches(
            draw_subset(arguments.pool, arguments.pool // 4, seed), arguments.batch_size, arguments.steps, seed
        )
        seen = exposures(batches[None], rates[None], steps, arguments.pool)[0] / rates.sum()
        curve = first * (0.5 + 0.5 * np.exp(-3 * steps / arguments.steps))[:, None]
        values = np.maximum(curve - seen @ influence, 0.01)
        values[1:] *= np.exp(noise * random.normal(size=values[1:].shape))
        runs.append(Run(index, seed, "fit", Curriculum(batches, rates), steps, {"loss": values}))
    examples = [
        tuple(Example(f"{side}-{n}", f"{side} {n}", "yes") for n in range(count))
        for side, count in (("pool", arguments.pool), ("test", arguments.test))
    ]
    queried = runs[arguments.runs :][: arguments.queried]
    query = Query(
        np.stack([run.curriculum.batches for run in queried]),
        np.stack([run.curriculum.learning_rates for run in queried]),
        steps,
        np.stack([run.metrics["loss"][0] for run in queried]),
    )
    return FitData(examples[0], examples[1], LOSS, tuple(runs[: arguments.runs]), features=features), query


def peak() -> float:
    """The most memory that this process has held so far, in MiB."""
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held / MIB if sys.platform == "darwin" else held / 1024


def measure(arguments: argparse.Namespace, answer: Connection) -> None:
    """Fit, ask, and send back seconds and memory."""
    data, query = recording(arguments)
    estimator = ExposureGp(link=arguments.link)
    before, start = peak(), time.process_time()
    estimator.fit(data)
    fitted, memory = time.process_time(), peak() - before
    values = estimator.predict(query).values
    predicting = time.process_time()
    estimator.predict(query)
    again = time.process_time()
    answer.send(
        (fitted - start, predicting - fitted, again - predicting, memory, peak() - before, before, values.nbytes / MIB)
    )


def main() -> None:
    """Print the measurements."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (
        ("runs", 100),
        ("queried", 20),
        ("steps", 300),
        ("test", 1000),
        ("pool", 1000),
        ("dimensions", 512),
        ("points", 4),
        ("batch-size", 8),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--link", default="auto", help="the scale on which effects add up (auto tries three)")
    arguments = parser.parse_args()
    ours, theirs = multiprocessing.get_context("spawn").Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(target=measure, args=(arguments, theirs))
    process.start()
    theirs.close()
    fit, first, again, fitting, whole, before, result = ours.recv()
    process.join()
    print(
        f"{arguments.runs} runs x {arguments.steps} steps x {arguments.test} test examples, pool of {arguments.pool}, "
        f"{arguments.points} points of {arguments.dimensions}-d gradients, {arguments.queried} curricula asked about"
    )
    print(f"processor time: fit {fit:.1f} s, first prediction {first:.1f} s, further ones {again:.1f} s")
    print(
        f"peak memory beyond the {before:,.0f} MiB with recording and features: {fitting:,.0f} MiB in the fit, "
        f"{whole:,.0f} MiB in all (one array of the size of the prediction: {result:,.0f} MiB)"
    )


if __name__ == "__main__":
    main()
