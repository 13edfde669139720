"""Times the roll-out of many curricula at once, and a plain loop over the same.

Run by hand: OMP_NUM_THREADS=2 python benchmarks/simulate.py
"""

import argparse
import resource
import statistics
import time

import numpy as np
import torch

from gptfl.estimators.gptfluence.projection import Form, fresh, project
from gptfl.estimators.gptfluence.recurrence import MAX_BYTES, rollout
from gptfl.estimators.gptfluence.update_rule import UpdateRule


def problem(arguments: argparse.Namespace) -> dict[str, object]:
    """Random vectors through fresh projections (two-layer MLPs), and random curricula."""
    random = np.random.default_rng(0)
    form = Form(2, "mlp", False, arguments.dimensions, arguments.dimensions)
    parameters = fresh(form, UpdateRule(arguments.batch_size), torch.Generator().manual_seed(0))
    vectors = {
        side: torch.from_numpy(random.normal(size=(n, arguments.dimensions)).astype(np.float32))
        for side, n in (("train", arguments.pool), ("test", arguments.test))
    }
    with torch.inference_mode():
        train, test = (project(vectors[side], parameters, side) for side in ("train", "test"))
    shape = (arguments.curricula, arguments.steps, arguments.batch_size)
    return {
        "train": train,
        "test": test,
        "batches": random.integers(0, arguments.pool, size=shape),
        "steps": np.arange(arguments.steps + 1),
        "first": random.uniform(1, 4, size=(arguments.curricula, arguments.test)).astype(np.float32),
        "law": UpdateRule(arguments.batch_size),
    }


def plain_loop(train, test, batches, steps, first, law):
    """One curriculum, one test example and one step at a time, each factor a sum of inner products."""
    result = np.empty((len(batches), len(steps), test.shape[1]), dtype=np.float32)
    with torch.inference_mode():
        for run in range(len(batches)):
            for z in range(test.shape[1]):
                value = float(first[run, z])
                result[run, 0, z] = value
                for t in range(len(steps) - 1):
                    alpha, beta = (train[:, batches[run, t]].sum(dim=1) * test[:, z]).sum(dim=1).tolist()
                    value = alpha * value + beta
                    result[run, t + 1, z] = value
    return result


def timed(function, repeats: int) -> tuple[float, object]:
    """Median seconds of several calls, and the last result."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = function()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), result


def peak() -> int:
    """The most memory this process has held so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Print times, memory and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (
        ("curricula", 1000),
        ("steps", 96),
        ("test", 300),
        ("dimensions", 384),
        ("pool", 200),
        ("batch-size", 4),
        ("repeats", 7),
        ("threads", 2),
        ("slice", 300),
        ("max-mib", MAX_BYTES >> 20),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    inputs = problem(arguments)
    rollout(**{**inputs, "batches": inputs["batches"][:9], "first": inputs["first"][:9]})  # libraries warm up
    before = peak()
    values = rollout(**inputs, max_bytes=arguments.max_mib << 20)
    held = peak() - before
    seconds = timed(lambda: rollout(**inputs, max_bytes=arguments.max_mib << 20), arguments.repeats)[0]
    print(
        f"{arguments.curricula} curricula x {arguments.steps} steps x {arguments.test} test examples, "
        f"{arguments.dimensions}-d, pool {arguments.pool}, {arguments.threads} threads"
    )
    print(f"roll-out          {seconds:9.3f} s (median of {arguments.repeats})   target 1 s")
    print(
        f"memory at peak    {held / 2**20:9.0f} MiB above the inputs, of which the result is {values.nbytes / 2**20:.0f} "
        f"and a chunk may take {arguments.max_mib}"
    )
    runs = max(1, arguments.slice // arguments.test)
    tests = min(arguments.slice, arguments.test)
    part = {
        **inputs,
        "test": inputs["test"][:, :tests],
        "batches": inputs["batches"][:runs],
        "first": inputs["first"][:runs, :tests],
    }
    torch.set_num_threads(1)  # each product of the loop is far too small for two
    loop, plain = timed(lambda: plain_loop(**part), 3)
    np.testing.assert_allclose(plain, values[:runs, :, :tests], rtol=1e-3, atol=1e-3)
    whole = loop * arguments.curricula * arguments.test / (runs * tests)
    print(
        f"plain loop        {whole:9.0f} s, scaled up from {loop:.2f} s for {runs} x {tests} trajectories (same numbers)"
    )
    print(f"ratio             {whole / seconds:9.0f}")


if __name__ == "__main__":
    main()
