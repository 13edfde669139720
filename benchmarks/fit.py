"""Times the fit of gptfluence on a recording of the paper's size against a plain loop over its rows.

Both fit the same model (two-layer MLPs, one pair per factor) to the same synthetic recording with Adam; both
are judged by the free-running all-steps MSE on the validation runs, and the clock is stopped while it is
taken. The plain loop is the usual one: a DataLoader over (step, test example) rows in random order, batches
of 128, each row's training and test vectors projected anew. It gets the paper's schedule (warm-up over 200
batches, then linear decay) at the best of the learning rates given, and starts near persistence, which spares
it the first thousands of batches; gptfluence's closed-form start is part of its fit and of its time. The loop
runs until it reaches the MSE or the budget is spent, when its time is a lower bound. The table's MSEs are the plain loop's
best, what gptfluence has reached within a fiftieth of the budget, the average run's, and gptfluence's best.

Run by hand: OMP_NUM_THREADS=2 python benchmarks/fit.py --threads 2
"""

import argparse
import math
import time
from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from gptfl.core import Curriculum, Example, Features, FeatureSet, FitData, MetricInfo, Run
from gptfl.core.curriculum import draw_subset, fill_batches, run_seed
from gptfl.estimators.gptfluence.estimator import GPTfluence
from gptfl.estimators.gptfluence.numerics import flushed_denormals
from gptfl.estimators.gptfluence.projection import Form, fresh, project
from gptfl.estimators.gptfluence.training import FreeRunning
from gptfl.estimators.gptfluence.trajectory import Trajectory
from gptfl.estimators.gptfluence.update_rule import UpdateRule
from gptfl.estimators.gptfluence.vectors import standards

LOSS = MetricInfo("loss", higher_is_better=False)


def recording(arguments: argparse.Namespace) -> FitData:
    """Losses that decay towards a floor of their own, moved by each batch's likeness, with noise."""
    random = np.random.default_rng(0)
    count = {"train": arguments.pool, "test": arguments.test}
    vectors = {side: random.normal(size=(n, arguments.dimensions)) for side, n in count.items()}
    map_ = random.normal(size=(arguments.dimensions, 8)) / math.sqrt(arguments.dimensions)
    hidden = {side: np.tanh(rows @ map_) for side, rows in vectors.items()}
    influence = hidden["train"] @ hidden["test"].T / math.sqrt(8)
    pace = np.exp(0.4 * hidden["test"][:, 0]) * 0.03
    floor = 1.2 + 0.5 * hidden["test"][:, 1]
    start = random.uniform(2.5, 4.5, size=arguments.test)
    steps, runs = np.arange(arguments.steps + 1), []
    for index in range(arguments.runs + arguments.validation):
        seed = run_seed(0, index)
        members = draw_subset(arguments.pool, round(0.64 * arguments.pool), seed)
        batches = fill_batches(members, arguments.batch_size, arguments.steps, seed)
        values = [start]
        for batch in batches:
            pull = pace * (values[-1] - floor) * (1 + 0.15 * influence[batch].mean(axis=0))
            values.append(values[-1] - pull - 0.01 * influence[batch].sum(axis=0) / arguments.batch_size)
        noisy = np.array(values)
        noisy[1:] += 0.01 * random.normal(size=noisy[1:].shape)
        rates = np.full(arguments.steps, 5e-7)
        runs.append(Run(index, seed, "fit", Curriculum(batches, rates), steps, {"loss": noisy}))
    examples = {side: tuple(Example(f"{side}-{i}", "", "") for i in range(n)) for side, n in count.items()}
    sets = {"vectors": FeatureSet(vectors["train"].astype(np.float32), vectors["test"].astype(np.float32))}
    fit_runs, validation = tuple(runs[: arguments.runs]), tuple(runs[arguments.runs :])
    return FitData(examples["train"], examples["test"], LOSS, fit_runs, validation, Features("made", {}, "", sets))


class PlainRows(Dataset):
    """One item a (run, step, test example): the batch's vectors, the test example's, the score before and after."""

    def __init__(self, data: FitData, train: torch.Tensor, test: torch.Tensor, scale: float) -> None:
        self.train, self.test, self.scale, self.runs = train, test, scale, data.fit_runs
        self.values = [torch.from_numpy(run.metrics["loss"] / scale).float() for run in data.fit_runs]
        self.tests, self.steps = len(test), data.fit_runs[0].curriculum.steps

    def __len__(self) -> int:
        return len(self.runs) * self.steps * self.tests

    def __getitem__(self, item: int) -> tuple[torch.Tensor, ...]:
        run, rest = divmod(item, self.steps * self.tests)
        step, test = divmod(rest, self.tests)
        seen = self.train[self.runs[run].curriculum.batches[step]]
        return seen, self.test[test], self.values[run][step, test], self.values[run][step + 1, test]


def plain_fit(data: FitData, learning_rate: float, seconds: float, goal: float) -> Iterator[tuple[float, int, float]]:
    """Yield (seconds, rows, validation MSE) now and then until the MSE is reached or the time is up."""
    scale = float(np.sqrt(np.mean([np.square(run.metrics["loss"]).mean() for run in data.fit_runs])))
    vectors = data.features.sets["vectors"]
    train, test = (
        standard(side) for standard, side in zip(standards(vectors), (vectors.train, vectors.test), strict=True)
    )
    width, batch = train.shape[1], data.fit_runs[0].curriculum.batches.shape[1]
    form = Form(2, "mlp", False, width, width)
    parameters = {
        name: value.requires_grad_()
        for name, value in fresh(form, UpdateRule(batch), torch.Generator().manual_seed(0)).items()
    }
    runs = [Trajectory(run.curriculum.batches, run.steps, run.metrics["loss"] / scale) for run in data.validation_runs]
    validation = FreeRunning(runs, UpdateRule(batch), len(train))
    rows = PlainRows(data, train, test, scale)
    loader = DataLoader(rows, batch_size=128, shuffle=True, generator=torch.Generator().manual_seed(0))
    total = 300 * len(loader)
    optimiser = torch.optim.Adam(parameters.values(), lr=learning_rate, weight_decay=2e-5, fused=True)
    decay = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda n: min((n + 1) / 200, 1.0) * (1 - n / total))
    spent, done, due, mark = 0.0, 0, 0.0, time.perf_counter()
    while True:
        for seen, queried, before, after in loader:
            ours = project(seen.flatten(0, 1), parameters, "train").unflatten(1, seen.shape[:2]).sum(dim=2)
            alpha, beta = (ours * project(queried, parameters, "test")).sum(dim=2)
            error = (alpha * before + beta - after).square().mean()
            optimiser.zero_grad()
            error.backward()
            optimiser.step()
            decay.step()
            done += len(before)
            spent += time.perf_counter() - mark
            if spent >= due or spent >= seconds:
                with torch.inference_mode():
                    sides = project(train, parameters, "train"), project(test, parameters, "test")
                reached = validation(*sides) * scale**2
                yield spent, done, reached
                if reached <= goal or spent >= seconds:
                    return
                due = spent * 1.05
            mark = time.perf_counter()


def fast_fit(data: FitData, repeats: int) -> list[tuple[list[tuple[float, int, float]], float]]:
    """For every repeat, (seconds, epoch, validation MSE) at each check; the clock covers all that fit does."""
    GPTfluence(epochs=1).fit(data)  # torch sets itself up at first use
    found = []
    for _ in range(repeats):
        seconds: list[float] = []
        start = time.perf_counter()

        def on_progress(what: str, done: int, total: int, note: str = "", seconds=seconds, start=start) -> None:
            seconds.append(time.perf_counter() - start)

        timed = FitData(
            data.pool, data.test, data.metric, data.fit_runs, data.validation_runs, data.features, 0, on_progress
        )
        fitted = GPTfluence().fit(timed)
        whole = time.perf_counter() - start
        found.append(([(at, epoch, mse) for at, (epoch, mse) in zip(seconds, fitted.checks_, strict=True)], whole))
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (
        ("runs", 25),
        ("validation", 2),
        ("steps", 96),
        ("test", 200),
        ("pool", 200),
        ("dimensions", 384),
        ("batch-size", 4),
        ("threads", 2),
        ("repeats", 3),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--budget", type=float, default=120.0, help="seconds for the plain loop, each learning rate")
    parser.add_argument("--lr", type=float, nargs="+", default=[1e-4, 1e-3], help="the plain loop's learning rates")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    data = recording(arguments)
    rows = arguments.runs * arguments.steps * arguments.test
    mean = np.mean([run.metrics["loss"] for run in data.fit_runs], axis=0)
    floor = np.mean([np.square(run.metrics["loss"] - mean)[1:].mean() for run in data.validation_runs])
    fits = sorted(fast_fit(data, arguments.repeats), key=lambda one: one[1])
    checks, whole = fits[len(fits) // 2]
    best = min(mse for _, _, mse in checks)
    print(
        f"{arguments.runs} runs x {arguments.steps} steps x {arguments.test} test examples = {rows:,} rows, "
        f"{arguments.dimensions}-d, {arguments.threads} threads; the average run's MSE is {floor:.6f}"
    )
    print(
        f"gptfluence: {checks[-1][1]} epochs in {whole:.1f} s (median of {arguments.repeats}), best MSE {best:.6f}, "
        f"{checks[-1][1] * rows / whole:,.0f} rows/s"
    )
    with flushed_denormals():
        plain = {lr: list(plain_fit(data, lr, arguments.budget, best)) for lr in arguments.lr}
    for lr, course in plain.items():
        print(
            f"plain loop at lr {lr:g}: {course[-1][0]:.0f} s, {course[-1][1]:,} rows, best MSE "
            f"{min(mse for *_, mse in course):.6f}, {course[-1][1] / course[-1][0]:,.0f} rows/s"
        )
    print(f"{'validation MSE':>15} {'gptfluence':>12} {'plain loop':>12} {'ratio':>8}")
    reached = min(mse for course in plain.values() for *_, mse in course)
    fiftieth = min((mse for at, _, mse in checks if at <= arguments.budget / 50), default=best)
    for goal in sorted({floor, reached * 1.0001, fiftieth, best}, reverse=True):
        ours = next((at for at, _, mse in checks if mse <= goal), math.nan)
        times = [next((at for at, _, mse in course if mse <= goal), math.inf) for course in plain.values()]
        theirs, sign = (min(times), " ") if min(times) < math.inf else (arguments.budget, ">")
        print(f"{goal:15.6f} {ours:10.2f} s {sign}{theirs:9.1f} s {sign}{theirs / ours:7.0f}")


if __name__ == "__main__":
    main()
