"""Measures what recording somebody's own training costs: a Trainer with the callback beside one that evaluates alone.

Both train the same random model on the same rows and measure the same test examples at the same steps; the second one
calls transformers' own loss on batches of the same size, in the same order, and nothing else. They take turns.

Run by hand: python benchmarks/own_run.py
"""

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, Trainer, TrainerCallback, TrainingArguments

import gptfl


class PlainEvaluation(TrainerCallback):  # type: ignore[misc]
    """Computes the mean loss of batches of test rows, and puts the model back into training."""

    def __init__(self, rows: list[dict[str, Any]], size: int, every: int) -> None:
        self.batches = [
            {key: torch.tensor([row[key] for row in rows[begin : begin + size]]) for key in ("input_ids", "labels")}
            for begin in range(0, len(rows), size)
        ]
        self.every = every

    def evaluate(self, model: Any) -> None:
        """Every batch once."""
        model.eval()
        with torch.no_grad():
            for batch in self.batches:
                model(**batch, use_cache=False).loss.item()
        model.train()

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Before the first step."""
        self.evaluate(model)

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Each so many steps, and after the last."""
        if state.global_step % self.every == 0 or state.global_step == state.max_steps:
            self.evaluate(model)


def made_rows(count: int, length: int, seed: int) -> list[dict[str, Any]]:
    """Rows of random tokens, half of each a target."""
    random = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        ids = random.integers(0, 1000, length).tolist()
        rows.append({"id": f"{seed}-{number}", "input_ids": ids, "labels": [-100] * (length // 2) + ids[length // 2 :]})
    return rows


def seconds(arguments: argparse.Namespace, folder: Path, recorded: bool, at: list[int] | None = None) -> float:
    """What one training takes, with sketches at these steps."""
    torch.manual_seed(0)
    wide = {"hidden_size": arguments.width, "intermediate_size": 4 * arguments.width, "num_attention_heads": 4}
    model = GPTNeoXForCausalLM(GPTNeoXConfig(vocab_size=1000, num_hidden_layers=arguments.blocks, **wide))
    train, test = (made_rows(count, arguments.length, seed) for seed, count in ((1, 256), (2, arguments.test)))
    callback: Any = PlainEvaluation(test, arguments.batch, arguments.every)
    if recorded:
        callback = gptfl.GptflCallback(
            "own",
            test=test,
            every=arguments.every,
            workspace=folder,
            batch_size=arguments.batch,
            say=lambda line: None,
            sketches_at=at,
        )
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            str(folder / "out"),
            max_steps=arguments.steps,
            per_device_train_batch_size=arguments.batch,
            report_to=[],
            save_strategy="no",
            use_cpu=not torch.cuda.is_available(),
            disable_tqdm=True,
            logging_strategy="no",
        ),
        train_dataset=datasets.Dataset.from_list(train),
        callbacks=[callback],
    )
    begun = time.perf_counter()
    trainer.train()
    return time.perf_counter() - begun


def sketches(arguments: argparse.Namespace) -> None:
    """Print what a point takes beside a training pass over as many examples."""
    seen = arguments.steps * arguments.batch
    quiet = argparse.Namespace(**{**vars(arguments), "every": arguments.steps, "test": arguments.batch})
    ratios = []
    for turn in range(arguments.turns):
        took = [seconds(quiet, Path(tempfile.mkdtemp()), True, at) for at in (None, [arguments.steps])]
        each, pass_ = (took[1] - took[0]) / (256 + quiet.test), took[0] / seen
        ratios.append(each / pass_)
        print(
            f"turn {turn + 1}: a point {1e3 * each:.2f} ms an example, training {1e3 * pass_:.2f} ms, ratio {ratios[-1]:.2f}"
        )
    print(f"a point of sketches takes {statistics.median(ratios):.2f} passes of training over its examples")


def main() -> None:
    """Train in turns and print the ratio of each turn, and their median."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    sizes = {"steps": 40, "every": 5, "test": 32, "batch": 8, "length": 64, "width": 128, "blocks": 4, "turns": 5}
    for name, value in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--sketches", action="store_true", help="what a point of sketches costs, instead")
    arguments = parser.parse_args()
    seconds(argparse.Namespace(**{**vars(arguments), "steps": 2}), Path(tempfile.mkdtemp()), True)
    if arguments.sketches:
        sketches(arguments)
        return
    ratios = []
    for turn in range(arguments.turns):
        folder = Path(tempfile.mkdtemp())
        order = [False, True] if turn % 2 == 0 else [True, False]
        took = {recorded: seconds(arguments, folder, recorded) for recorded in order}
        shutil.rmtree(folder)
        ratios.append(took[True] / took[False])
        print(
            f"turn {turn + 1}: plain evaluation {took[False]:.2f} s, recorded {took[True]:.2f} s, ratio {ratios[-1]:.3f}"
        )
    print(f"recorded over plain evaluation: median ratio {statistics.median(ratios):.3f} (target ≤ 1.10)")


if __name__ == "__main__":
    main()
