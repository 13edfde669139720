"""How much recording costs beside bare training and measuring, and beside the plain way of doing it.

    python benchmarks/collect.py --task boolq --data DIR

Two ratios, each from one run on one machine:

- overhead: seconds a step while collecting / (bare training step + bare forward pass over the same
  test set in the best batch layout found by trying several);
- gain: the plain way (whole logits, test examples in their order, padded to the longest of all) /
  collecting, for the same steps and the same measurements.

With ``--generate`` it is about metrics of generated text, on a task that has some:

    python benchmarks/collect.py --generate --task wmt16_de_en --data DIR

- speed: tokens a second of generating for the whole test set / those of a plain loop over ``model.generate``, one
  prompt after the other and told beforehand where each answer ends, for the same tokens.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from gptfl.core.curriculum import draw_subset, fill_batches
from gptfl.plugins.interfaces import Plan
from gptfl.plugins.registry import get_registry
from gptfl.training.batching import plan_batches
from gptfl.training.load import load_model
from gptfl.training.network import Batch
from gptfl.training.trainer import RecordingTrainer, TrainerSettings

ROUNDS = 4
"""How often the two ways of generating are timed in turn."""


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def best_forward(trainer: RecordingTrainer) -> tuple[Callable[[], None], str]:
    """A forward pass over the test rows in the fastest of several layouts, and that layout's name.

    Each is timed twice and the lesser counts: the recorder's own by tokens, others by budget or count.
    """
    network, rows = trainer.network, trainer.evaluator.layout.rows
    lengths = [len(row.input_ids) for row in rows]
    order = list(np.argsort(lengths, kind="stable"))
    layouts = {f"budget of {budget} tokens": plan_batches(lengths, budget, 32) for budget in (512, 1024, 2048, 4096)}
    layouts |= {
        f"{count} a batch, sorted": [order[i : i + count] for i in range(0, len(order), count)] for count in (1, 4, 8)
    }

    def passes(layout: list[list[int]]) -> Callable[[], None]:
        hidden = network.lower(rows, layout)
        batches = [
            Batch([rows[i] for i in b], None if hidden is None else [hidden[i] for i in b], network.device)
            for b in layout
        ]

        def forward() -> None:
            network.switch(training=False)
            with torch.inference_mode():
                for batch in batches:
                    network.log_probs(batch)

        return forward

    timed = []
    for name, layout in layouts.items():
        forward = passes(layout)
        timed.append((min(seconds(forward), seconds(forward)), name, forward))
    _, name, forward = min(timed, key=lambda one: one[0])
    return forward, name


def plain_step(trainer: RecordingTrainer, tests: int) -> tuple[float, float]:
    """Seconds of one training step and of one pass over the test set, done the plain way.

    The whole model, every row padded to the longest, all logits, labels of -100 off target.
    """
    model = trainer.network.model
    model.requires_grad_(True)
    rows = trainer.evaluator.layout.rows
    longest = max(len(row.input_ids) for row in (*rows, *trainer.rows)) + 1

    def padded(chosen: list) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # type: ignore[type-arg]
        ids = torch.zeros(len(chosen), longest, dtype=torch.long)
        mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
        for i, row in enumerate(chosen):
            sequence = [*row.input_ids, int(row.tokens[-1])]
            ids[i, : len(sequence)] = torch.tensor(sequence)
            mask[i, : len(sequence)] = 1
            labels[i, row.positions + 1] = torch.tensor(row.tokens)
        return ids, mask, labels

    optimiser = torch.optim.AdamW(model.parameters(), lr=0.0)

    def train() -> None:
        ids, mask, labels = padded(trainer.rows[:4])
        model.train()
        model(input_ids=ids, attention_mask=mask, labels=labels, use_cache=False).loss.backward()
        optimiser.step()
        optimiser.zero_grad()

    def measure() -> None:
        model.eval()
        with torch.no_grad():
            for start in range(0, tests, 8):
                ids, mask, labels = padded(list(rows[start : min(start + 8, tests)]))
                model(input_ids=ids, attention_mask=mask, labels=labels, use_cache=False)

    train()
    return seconds(train), seconds(measure) * len(rows) / tests


def generation(trainer: RecordingTrainer) -> None:
    """Print tokens a second of the recorder and of one prompt after the other."""
    generator = trainer.evaluator.generator
    assert generator is not None
    network, ids = trainer.network, generator.prompts.ids
    network.switch(training=False)
    answers: dict[int, list[int]] = {}

    def together() -> None:
        answers.update(generator.answers(generator.groups))

    def plain(index: int) -> list[int]:
        prompt = torch.tensor([ids[index]])
        settings = {"do_sample": False, "max_new_tokens": len(answers[index]), "min_new_tokens": len(answers[index])}
        with torch.inference_mode():
            out = network.model.generate(input_ids=prompt, attention_mask=torch.ones_like(prompt), **settings)
        return out[0, len(ids[index]) :].tolist()  # type: ignore[no-any-return]

    together()
    answered = [index for index in sorted(answers) if answers[index]]
    plain(answered[0])
    found: dict[int, list[int]] = {}
    fast, slow = [], 0.0
    for start in range(ROUNDS):  # in turn, so that a slow moment of the machine hits both
        part = answered[start::ROUNDS]
        fast.append(seconds(together))
        slow += seconds(lambda part=part: found.update((index, plain(index)) for index in part))  # type: ignore[misc]
    tokens = sum(map(len, answers.values()))
    same = sum(found[index] == answers[index] for index in answered)
    print(f"{tokens} tokens after {len(answers)} prompts, at most {generator.prompts.limit} each")
    print(f"generating, batched      {tokens / statistics.mean(fast):8.1f} tokens a second")
    print(f"one prompt at a time     {tokens / slow:8.1f} tokens a second ({same} of {len(answered)} answers the same)")
    print(f"speed: batched / one at a time = {slow / statistics.mean(fast):.2f}   (target >= 4)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m-instruct-q4")
    parser.add_argument("--task", default="boolq")
    parser.add_argument("--data", help="folder with train.jsonl and test.jsonl")
    parser.add_argument("--test", type=int, default=24)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--train-layers", type=int)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--plain-test", type=int, default=8, help="test examples the plain way is timed on, then scaled"
    )
    parser.add_argument("--generate", action="store_true", help="time generated text instead")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    registry = get_registry()
    data = registry.make("task", options.task, data=options.data).load(200, options.test, 42)
    recipe = TrainerSettings(1e-6, train_layers=options.train_layers)
    metric = registry.make("metric", "bleu" if options.generate else "loss")
    trainer = RecordingTrainer(load_model(options.model), data.pool, data.test, (metric,), recipe)
    if options.generate:
        print(f"{options.model}, {options.task}, {options.test} test examples, {options.threads} threads")
        generation(trainer)
        return
    batches = fill_batches(draw_subset(200, 128, 0), 4, options.steps, 0)
    plan = Plan(0, 0, "fit", batches)
    optimiser = trainer.optimiser()
    ready = [trainer.pieces(members) for members in batches]
    forward, layout = best_forward(trainer)

    def bare() -> None:
        for batch in ready:
            trainer.step(optimiser, batch, 0.0)
        for _ in range(options.steps + 1):
            forward()

    bare()
    pairs = []
    for _ in range(options.repeats):  # in turn, so that a slow moment of the machine hits both
        pairs.append((seconds(lambda: trainer.run(plan, lambda done, total: None)), seconds(bare)))
    recorded, least = (statistics.median(column) for column in zip(*pairs, strict=True))
    overhead = statistics.median(one / other for one, other in pairs)
    plain_train, plain_measure = plain_step(trainer, min(options.plain_test, options.test))
    plain = options.steps * plain_train + (options.steps + 1) * plain_measure
    print(
        f"{options.model}, {options.task}, {options.test} test examples, {options.steps} steps of 4, {options.threads} threads"
    )
    print(f"collecting               {recorded / options.steps:8.3f} s a step")
    print(f"bare step + bare forward {least / options.steps:8.3f} s a step (best layout: {layout})")
    print(f"the plain way            {plain / options.steps:8.3f} s a step")
    print(f"overhead: collecting / bare   = {overhead:.2f}   (target <= 1.15)")
    print(f"gain: plain way / collecting  = {plain / recorded:.2f}   (target >= 3)")


if __name__ == "__main__":
    main()
