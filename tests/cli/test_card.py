"""The commands that gptfl was asked for, word for word, on an offline cache of the Hub."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gptfl.store.recordings import read_dynamics
from gptfl.tasks.classification import GLUE, GLUE_REVISION, Rte
from gptfl.training.evaluation import Evaluator
from tests.cli.conftest import Outcome
from tests.hub import MODEL_REVISION, PYTHIA, add_file, add_parquet, use_cache
from tests.models import save_small


def short_rows(count: int, first: int) -> list[dict[str, Any]]:
    """Rows of the shape of GLUE's RTE, short enough for the paper's recipe to run in seconds."""
    numbers = range(first, first + count)
    return [{"sentence1": f"{n} sun", "sentence2": f"{n + n % 2} sun", "label": n % 2, "idx": n} for n in numbers]


@pytest.fixture
def seldom_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step is trained; of the test examples' values every 24th is measured, and the others are the last measured."""
    measure = Evaluator.measure
    calls = itertools.count()
    last: dict[str, np.ndarray] = {}

    def measured(self: Evaluator, generate: bool = True) -> dict[str, np.ndarray]:
        if next(calls) % 24 == 0:
            last.update(measure(self, generate))
        return {name: values.copy() for name, values in last.items()}

    monkeypatch.setattr(Evaluator, "measure", measured)


@pytest.mark.usefixtures("seldom_measured")
def test_collect_and_simulate_from_names_alone(
    gptfl: Callable[..., Outcome],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home = tmp_path / "hub"
    folder = add_file(home, PYTHIA, MODEL_REVISION, "config.json", "model", "main").parent
    save_small(folder, "gpt-neox", 1, 8, f"{Rte.wording} yes no 0 1 2 3 4 5 6 7 8 9 sun")
    for split, first in (("train", 0), ("validation", 500)):
        path = f"rte/{split}-00000-of-00001.parquet"
        add_parquet(home, GLUE, GLUE_REVISION, path, short_rows(210, first))
    use_cache(monkeypatch, home)
    monkeypatch.chdir(tmp_path)
    collected = gptfl(*["collect", "--model", "pythia-410m", "--task", "rte"])
    assert collected.code == 0, collected.err
    assert "pythia-410m is EleutherAI/pythia-410m-deduped on the Hub" in collected.err
    recording = tmp_path / "gptfl-work" / "rte-pythia-410m.dynamics.h5"
    dynamics = read_dynamics(recording)
    assert (len(dynamics.runs), len(dynamics.pool), len(dynamics.test)) == (32, 200, 200)
    run = dynamics.runs[0]
    assert run.curriculum.batches.shape == (96, 4)
    assert run.curriculum.learning_rates[0] == 5e-7
    assert [len(dynamics.with_role(role)) for role in ("fit", "validation", "test")] == [25, 2, 5]

    assert gptfl(*["featurize", "--encoder", "tfidf-svd"]).code == 0
    assert gptfl(*["fit", "--set", "epochs=5"]).code == 0
    ids = [example.id for example in dynamics.pool[:128]]
    Path("ids.txt").write_text("# what if only these\n" + "\n".join(ids) + "\n", encoding="utf-8")
    simulated = gptfl(*["simulate", "--subset", "ids.txt"])
    assert simulated.code == 0, simulated.err
    assert list(Path("gptfl-work").glob("*.predictions.h5"))
    assert list(Path("gptfl-work").glob("*.png"))
