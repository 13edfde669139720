"""A made-up recording in the layout in which GPTDynamics was released."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np


def lines(path: Path, rows: Iterable[Any]) -> Path:
    """Write JSON lines; what is text already stays as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")
    return path


def trajectory(test: Any, scores: Mapping[int, float]) -> dict[str, Any]:
    """One line of scores by step."""
    return {"id": test, "loss_trajectory": [{"step": step, "loss": score} for step, score in scores.items()]}


def released(folder: Path, *, runs: int = 8, steps: int = 4, pool: int = 6, test: int = 3, seed: int = 0) -> Path:
    """Runs ``run_seed-1`` and on; the score of test z after step s of run k is 100 k + 10 s + z."""
    random = np.random.default_rng(seed)
    targets = ("yes", "no")
    for name, count in (("train", pool), ("test", test)):
        rows = (
            {"id": i, "input": f"Is {name} {i} so? {targets[i % 2]}", "target": targets[i % 2]} for i in range(count)
        )
        lines(folder / f"{name}_texts.json", rows)
    for run in range(1, runs + 1):
        own = folder / f"run_seed-{run}"
        lines(
            own / "train_samples_id.json",
            ({"step": s, "samples_id": random.permutation(pool)[:2].tolist()} for s in range(1, steps + 1)),
        )
        lines(
            own / "all_loss_trajectory.out",
            (trajectory(z, {s: 100 * run + 10 * s + z for s in range(1, steps + 1)}) for z in range(test)),
        )
    return folder


def sketches(path: Path, *, pool: int = 6, test: int = 3, dims: int = 4, seed: int = 0, **other: Any) -> Path:
    """An archive of sketches at steps 0 and 4, preconditioned at 4; ``other`` adds or replaces arrays."""
    random = np.random.default_rng(seed)
    arrays: dict[str, Any] = {}
    for name, count in (("tr0", pool), ("te0", test), ("tr4", pool), ("trp4", pool), ("te4", test)):
        arrays[name] = random.normal(size=(count, dims)).astype(np.float16)
        arrays[f"{name}_scale"] = np.float32(0.5 + random.uniform())
    np.savez_compressed(path, **{**arrays, **other})
    return path
