"""What a gradient sketch costs beside the forward and backward pass of its example, and how near its products are.

    OMP_NUM_THREADS=1 python benchmarks/sketches.py --data DIR --task sst2

A sketch here is three: of the plain gradient and of two that the optimiser's second moment divides. Products are
estimated from these and from two sketches many times as wide, made in the same pass and not kept.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from gptfl.plugins.registry import get_registry
from gptfl.training.gradient_sketches import POWERS, WIDE
from gptfl.training.gradients.blocks import Arrangement, Weights, all_products
from gptfl.training.gradients.projection import Projection, ProjectionRequest, sketch_each, sketches
from gptfl.training.gradients.sides import Side
from gptfl.training.gradients.tape import Tape
from gptfl.training.load import load_model
from gptfl.training.reference_run import adam_denominator
from gptfl.training.trainer import RecordingTrainer, TrainerSettings

MEMORY = 3 * 2**29


def timed(work: Callable[[], object], examples: int, repeats: int) -> float:
    """Seconds of processor time for an example, the median of several after one that isn't counted."""
    seconds = []
    for _ in range(repeats + 1):
        started = time.process_time()
        work()
        seconds.append((time.process_time() - started) / examples)
    return statistics.median(seconds[1:])


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder with train.jsonl and test.jsonl")
    parser.add_argument("--task", default="sst2")
    parser.add_argument("--model", default="smollm2-135m-instruct-q4")
    parser.add_argument("--examples", type=int, default=16)
    parser.add_argument("--train-layers", type=int, default=6)
    parser.add_argument("--dimensions", type=int, default=8192)
    parser.add_argument("--steps", type=int, default=16, help="training steps before the sketch")
    parser.add_argument("--repeats", type=int, default=3)
    return parser.parse_args()


def main() -> None:
    """Print seconds for an example, their ratio, and the error of products."""
    given = arguments()
    torch.set_num_threads(1)
    data = get_registry().make("task", given.task, data=given.data).load(given.examples, 4, 42)
    metric = get_registry().make("metric", "loss")
    recipe = TrainerSettings(2e-5, train_layers=given.train_layers or None)
    trainer = RecordingTrainer(load_model(given.model), data.pool, data.test, (metric,), recipe)
    network, optimiser = trainer.network, trainer.optimiser()
    for step in range(given.steps):
        members = np.arange(4 * step, 4 * step + 4) % given.examples
        trainer.step(optimiser, trainer.pieces(members), 2e-5)
    denominator = adam_denominator(network, optimiser, 0.25)
    side, tape = Side(trainer.rows, trainer.hidden), Tape(network)

    def plain() -> None:
        for example in range(len(side)):
            network.loss(side.take([example]).batch(network)).backward()  # type: ignore[no-untyped-call]
            for weight in network.trainable:
                weight.grad = None

    def both() -> object:
        return sketches(tape, side, given.dimensions, 1, denominator, MEMORY, powers=POWERS)

    like = network.trainable[0]
    requests = [
        ProjectionRequest(Projection(given.dimensions, 1, like), POWERS),
        ProjectionRequest(Projection(WIDE, 2, like), POWERS[1:]),
    ]

    def wider() -> object:
        return sketch_each(tape, side, requests, denominator, MEMORY)

    passes, sketched, widely = (timed(work, len(side), given.repeats) for work in (plain, both, wider))
    print(f"{given.task}: {statistics.mean(side.lengths):.1f} tokens an example")
    print(f"forward and backward pass: {passes:.4f} s an example")
    print(f"three sketches in {given.dimensions} dimensions: {sketched:.4f} s, {sketched / passes:.2f} times as long")
    print(f"and two in {WIDE} for products: {widely:.4f} s, {widely / passes:.2f} times as long")
    halves = side.take(range(0, len(side), 2)), side.take(range(1, len(side), 2))
    arrangement = Arrangement.fit(*halves, Weights.measured(tape, side), MEMORY)
    exact = all_products(tape, *halves, denominator, arrangement)
    left, right = (sketches(tape, half, given.dimensions, 1, denominator, MEMORY, powers=POWERS) for half in halves)
    ours, theirs = (sketch_each(tape, half, requests, denominator, MEMORY)[1] for half in halves)
    for name, one, other, products in (
        ("plain", left[0], right[0], exact.raw),
        ("preconditioned, one side divided", left[1], right[0], exact.divided),
        ("preconditioned, split between the sides", left[2], right[2], exact.divided),
        (f"plain, in {WIDE} dimensions", ours[0], theirs[0], exact.raw),
        (f"preconditioned, split, in {WIDE} dimensions", ours[1], theirs[1], exact.divided),
    ):
        if products is not None:
            error = float((one @ other.T - products).square().mean().sqrt() / products.std())
            correlation = np.corrcoef((one @ other.T).flatten(), products.flatten())[0, 1]
            print(
                f"products ({name}): error {error:.4f} of their spread, correlation with the exact ones {correlation:.4f}"
            )


if __name__ == "__main__":
    main()
