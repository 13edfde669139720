"""An offline cache of the Hugging Face Hub, with the few files that tests ask it for."""

from pathlib import Path
from typing import Any

import pytest

PYTHIA = "EleutherAI/pythia-410m-deduped"
# A cache names a snapshot by its commit; this one stands for a model that was never on the Hub.
MODEL_REVISION = "0" * 40

PEOPLE = ("Nora", "Emil", "Tilda", "Piet", "Svea", "Anton", "Runa", "Milo")
GOODS = ("pears", "bricks", "ribbons", "lanterns", "kettles")


def rte_rows(count: int, first: int = 0) -> list[dict[str, Any]]:
    """Rows of the shape of GLUE's RTE, the text our own: label 0 if the claim follows, else 1."""
    rows = []
    for number in range(first, first + count):
        who, what = PEOPLE[number % len(PEOPLE)], GOODS[number % len(GOODS)]
        other = GOODS[(number + 1) % len(GOODS)]
        text = f"On day {number} of the fair {who} sold {what} to a traveller, who left for the coast."
        claim = f"{who} sold {what if number % 2 == 0 else other}."
        rows.append({"sentence1": text, "sentence2": claim, "label": number % 2, "idx": number})
    return rows


def add_file(home: Path, repo: str, revision: str, path: str, repo_type: str = "dataset", ref: str = "") -> Path:
    """Where to put a file so that the Hub's client finds it under ``HF_HOME=home``; makes its folder.

    ``ref`` names a branch that points to this revision.
    """
    folder = home / "hub" / f"{repo_type}s--{repo.replace('/', '--')}"
    if ref:
        (folder / "refs" / ref).parent.mkdir(parents=True, exist_ok=True)
        (folder / "refs" / ref).write_text(revision, encoding="utf-8")
    target = folder / "snapshots" / revision / path
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def add_parquet(home: Path, repo: str, revision: str, path: str, rows: list[dict[str, Any]], ref: str = "") -> Path:
    """Put rows into the cache as a Parquet file of a data set."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    target = add_file(home, repo, revision, path, ref=ref)
    pq.write_table(pa.Table.from_pylist(rows), target)
    return target


def add_rte(home: Path, train: int = 40, validation: int = 24) -> None:
    """Put the RTE files into the cache, at the revision that the task pins."""
    from gptfl.tasks.classification import GLUE, GLUE_REVISION

    add_parquet(home, GLUE, GLUE_REVISION, "rte/train-00000-of-00001.parquet", rte_rows(train))
    add_parquet(home, GLUE, GLUE_REVISION, "rte/validation-00000-of-00001.parquet", rte_rows(validation, 500))


def add_pythia(home: Path, repo: str = PYTHIA) -> Path:
    """Put a small GPT-NeoX with random weights into the cache under the name of a real model."""
    from tests.models import save_small

    folder = add_file(home, repo, MODEL_REVISION, "config.json", repo_type="model", ref="main").parent
    return save_small(folder, "gpt-neox")


def offline_environment(home: Path) -> dict[str, str]:
    """The variables that make a process of its own use this cache and nothing else."""
    return {"HF_HOME": str(home), "HF_HUB_CACHE": str(home / "hub"), "HF_HUB_OFFLINE": "1"}


def use_cache(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Make this process use this cache (the client reads the variables only once, when imported)."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
