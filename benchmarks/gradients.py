"""What all pool x test gradient products cost beside two plain ways of getting them.

    OMP_NUM_THREADS=1 python benchmarks/gradients.py --data DIR

All give the products of the same examples' gradients over all trained weights:

- gptfl: from what the layers took in and what came back to them, block by block, within a memory budget;
- the loop over pairs: two backward passes a pair, then the dot product;
- one at a time: a backward pass an example, its whole flattened gradient kept, then one matrix product.

The plain ways are timed on a few examples and scaled up: for one at a time, all gradients would not fit into memory.
"""

import argparse
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from gptfl.plugins.registry import get_registry
from gptfl.training.gradients.blocks import Arrangement, Weights, all_products
from gptfl.training.gradients.sides import Side, test_side
from gptfl.training.gradients.tape import Tape
from gptfl.training.load import load_model
from gptfl.training.network import Network
from gptfl.training.trainer import RecordingTrainer, TrainerSettings


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of processor time, which a machine shared with others doesn't stretch, and what came of it."""
    started = time.process_time()
    result = work()
    return time.process_time() - started, result


def peak() -> float:
    """The most memory that this process has taken so far, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def gradient(network: Network, side: Side, example: int) -> list[torch.Tensor]:
    """One example's gradient, by a backward pass of its own."""
    for weight in network.trainable:
        weight.grad = None
    network.loss(side.take([example]).batch(network)).backward()  # type: ignore[no-untyped-call]
    return [weight.grad for weight in network.trainable if weight.grad is not None]


def pair(network: Network, pool: Side, test: Side, i: int, j: int) -> float:
    """One product the plain way: two backward passes and a dot product."""
    one = gradient(network, pool, i)
    other = gradient(network, test, j)
    return sum(float(torch.dot(a.flatten(), b.flatten())) for a, b in zip(one, other, strict=True))


def kept(network: Network, side: Side) -> torch.Tensor:
    """Whole flattened gradients, (example, weights)."""
    rows = torch.empty(len(side), sum(weight.numel() for weight in network.trainable))
    for example, row in enumerate(rows):
        torch.cat([part.flatten() for part in gradient(network, side, example)], out=row)
    return rows


def product_seconds(pool: int, test: int, weights: int) -> float:
    """One matrix product of all kept gradients, from one over a part of the weights."""
    part = min(weights, 2**22)
    rows, columns = torch.randn(pool, part), torch.randn(test, part)
    return timed(lambda: rows @ columns.T)[0] * weights / part


def exact_products(rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """In float64, a part of the weights at a time: summing so many numbers in float32 loses three digits."""
    parts = zip(rows.split(2**20, dim=1), columns.split(2**20, dim=1), strict=True)  # type: ignore[no-untyped-call]
    return torch.stack([one.double() @ other.double().T for one, other in parts]).sum(dim=0)


def spread(side: Side, few: int) -> list[int]:
    """A few examples whose lengths are spread like those of all."""
    order = sorted(range(len(side)), key=side.lengths.__getitem__)
    return [order[(2 * i + 1) * len(side) // (2 * few)] for i in range(few)]


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m-instruct-q4")
    parser.add_argument("--task", default="sst2")
    parser.add_argument("--data", help="folder with train.jsonl and test.jsonl")
    parser.add_argument("--pool", type=int, default=48)
    parser.add_argument("--test", type=int, default=24)
    parser.add_argument("--train-layers", type=int)
    parser.add_argument("--memory", type=float, default=1.5, help="GiB that gptfl may take for gradients")
    parser.add_argument("--few", type=int, default=4, help="examples of each side that the plain ways are timed on")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    registry = get_registry()
    data = registry.make("task", options.task, data=options.data).load(options.pool, options.test, 42)
    trainer = RecordingTrainer(
        load_model(options.model),
        data.pool,
        data.test,
        (registry.make("metric", "loss"),),
        TrainerSettings(1e-6, train_layers=options.train_layers),
    )
    network = trainer.network
    network.switch(training=False)
    pool = Side(trainer.rows, trainer.hidden)
    test = test_side(network, trainer.tokenizer, trainer.evaluator)
    count = sum(weight.numel() for weight in network.trainable)
    pairs, examples, few = options.pool * options.test, options.pool + options.test, options.few

    tape = Tape(network)
    weights = Weights.measured(tape, pool)
    before = peak()
    ours, products = timed(
        lambda: all_products(
            tape, pool, test, None, Arrangement.fit(pool, test, weights, int(options.memory * 2**30), divided=False)
        )
    )
    taken = peak() - before

    mine, theirs = spread(pool, few), spread(test, few)
    some, others = pool.take(mine), test.take(theirs)
    gradient(network, some, 0)
    loop = statistics.mean(timed(lambda i=i: pair(network, some, others, i, i))[0] for i in range(few)) * pairs
    seconds, (rows, columns) = timed(lambda: (kept(network, some), kept(network, others)))
    one_by_one = seconds / (2 * few)
    product = product_seconds(options.pool, options.test, count)
    expected = exact_products(rows, columns)
    off = float((products.raw[mine][:, theirs] - expected).abs().max() / expected.abs().max())

    lengths, sample = ([statistics.mean(side.lengths) for side in sides] for sides in ((pool, test), (some, others)))
    kept_gib = examples * count * 4 / 2**30
    print(f"{options.model}, {options.task}, {options.pool} x {options.test} products over {count / 1e6:.1f}M weights")
    print(
        f"mean tokens {lengths[0]:.1f} and {lengths[1]:.1f}; of the {few} + {few} timed {sample[0]:.1f} and {sample[1]:.1f}"
    )
    print(f"gptfl            {ours:8.1f} s, {taken:.2f} GiB beyond the model (asked to stay within {options.memory:g})")
    print(f"loop over pairs  {loop:8.1f} s ({loop / pairs:.2f} s a pair)")
    print(
        f"one at a time    {one_by_one * examples + product:8.1f} s ({one_by_one:.2f} s an example, and {product:.1f} s "
        f"for the product), {kept_gib:.1f} GiB"
    )
    print(f"gptfl's products lie within {off:.1e} of autograd's, as a share of the largest")
    print(f"loop over pairs / gptfl = {loop / ours:.1f}   (target >= 10)")
    print(f"one at a time / gptfl   = {(one_by_one * examples + product) / ours:.2f}   (target >= 3)")


if __name__ == "__main__":
    main()
