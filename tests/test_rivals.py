"""tools/rivals.py: other methods' scores on a recording, held against plain formulas, and their table."""

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import gptfl
from gptfl.training.metagradients import metagradients

TOOLS = Path(__file__).parents[1] / "tools"


@pytest.fixture(scope="module")
def rivals() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TOOLS))
        yield importlib.import_module("rivals")


@pytest.fixture(scope="module")
def recording(neox: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    workspace = tmp_path_factory.mktemp("rivals")
    made = gptfl.collect(
        str(neox),
        "errands",
        runs=4,
        pool=10,
        test=3,
        subset_size=5,
        batch_size=2,
        steps=4,
        lr=1e-2,
        flip_labels=0.2,
        workspace=workspace,
    )
    return Path(made.path)


@pytest.fixture(scope="module")
def made(rivals: ModuleType, recording: Path, neox: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("scores")
    names = ["tfidf", "states", "gradients-start", "gradients-end", "less", "trak"]
    names += ["metagradients", "metagradients-orders"]
    rivals.write_scores(rivals.Recorded(recording, str(neox)), names, folder)
    return folder


def test_every_method_scores_every_pair_by_id_and_says_what_it_took(made: Path, recording: Path) -> None:
    index = json.loads((made / "rivals.json").read_text())["matrices"]
    assert set(index) == {
        *("tfidf", "state-last", "state-mean", "grad-dot-start", "grad-cosine-start"),
        *("grad-dot-end", "grad-cosine-end", "less", "trak", "metagradients"),
    }
    opened = gptfl.open_recording(recording)
    for label, entry in index.items():
        found = np.load(made / f"{label}.npz")
        assert found["scores"].shape == (10, 3)
        assert np.isfinite(found["scores"]).all()
        assert found["train_ids"].tolist() == [example.id for example in opened.pool]
        assert entry["seconds"] > 0
        assert 0 <= entry["planted"] <= 1
        assert (entry["training_seconds"] > 0) == (label in ("grad-dot-end", "grad-cosine-end", "less", "trak"))
    starts, ends = (np.load(made / f"grad-dot-{point}.npz")["scores"] for point in ("start", "end"))
    assert np.abs(ends - starts).max() > 1e-3 * np.abs(starts).max()
    for label in ("tfidf", "state-last", "state-mean", "grad-cosine-start", "grad-cosine-end"):
        assert np.abs(np.load(made / f"{label}.npz")["scores"]).max() <= 1 + 1e-5


def test_products_at_the_start_are_those_of_autograd(
    rivals: ModuleType, made: Path, recording: Path, neox: Path
) -> None:
    import torch

    recorded = rivals.Recorded(recording, str(neox))
    network, sides = recorded.trainer.network, recorded.sides

    def gradient(side: Any, place: int) -> torch.Tensor:
        network.switch(training=False)
        parts = torch.autograd.grad(
            network.loss(side.take([place]).batch(network)), network.trainable, allow_unused=True
        )
        return torch.cat([part.flatten() for part in parts if part is not None])

    expected = float(gradient(sides[0], 4) @ gradient(sides[1], 1))
    assert np.load(made / "grad-dot-start.npz")["scores"][4, 1] == pytest.approx(expected, rel=1e-3)


def test_metagradients_are_shared_out_over_the_step_sizes_at_which_an_example_was_seen(
    rivals: ModuleType, made: Path, recording: Path, neox: Path
) -> None:
    recorded = rivals.Recorded(recording, str(neox))
    plan = recorded.plan()
    seen = np.zeros(10)
    for members, rate in zip(plan.batches, recorded.trainer.recipe.rates(4), strict=True):
        for place in members:
            seen[place] += rate / 2
    assert 0 < (seen > 0).sum() < 10  # eight places of ten: what wasn't seen did nothing
    found = metagradients(recorded.trainer, plan, recorded.sides[1], [[0], [1], [2]])
    scores = np.load(made / "metagradients.npz")["scores"]
    np.testing.assert_allclose(scores * seen[:, None], -found.values, rtol=1e-5)
    assert not scores[seen == 0].any()


def test_metagradients_follow_the_recorded_orders_of_the_whole_pool(
    rivals: ModuleType, neox: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], recording: Path
) -> None:
    along_recorded = importlib.import_module("rivals_metagradients").along_recorded
    recipe = {"pool": 6, "test": 2, "batch_size": 2, "steps": 3, "lr": 1e-2, "runs": 4}
    path = gptfl.collect(str(neox), "errands", design="leave-small:0.2", workspace=tmp_path, **recipe).path
    recorded = rivals.Recorded(Path(path), str(neox))
    plans, runs = recorded.whole_runs(), recorded.recording.dynamics.runs
    assert [plan.seed for plan in plans] == [runs[0].seed, runs[1].seed]
    for plan, run in zip(plans, runs, strict=False):
        found = metagradients(recorded.trainer, plan, recorded.sides[1], [[0], [1]])
        np.testing.assert_allclose(found.losses, run.metrics["loss"][-1], rtol=1e-3)
    matrices = along_recorded(recorded)
    assert matrices["metagradients-orders"].scores.shape == (6, 2)
    assert along_recorded(rivals.Recorded(recording, str(neox))) == {}
    assert "it needs a recording of the design leave-small" in capsys.readouterr().out


def test_planted_rows_are_told_by_their_harm(rivals: ModuleType, recording: Path, neox: Path) -> None:
    recorded = rivals.Recorded(recording, str(neox))
    flipped = rivals.flipped_of(recorded.pool)
    harm = np.where(flipped, 1.0, 0.0)[:, None] - np.arange(10)[:, None] * 1e-3
    assert rivals.detection(recorded, -harm) == 1.0
    assert rivals.detection(recorded, harm) == 0.0


def test_matrices_are_estimators_of_compare_and_a_table(
    rivals: ModuleType, made: Path, recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = [one for one in rivals.estimators(made) if "tfidf" in one]
    assert len(chosen) == len(rivals.VARIANTS)
    row = {
        "estimator": "scores (file=tfidf.npz)",
        "settings": {"file": "x/tfidf.npz", "scale": None, "anchor": "mean-run"},
        "seconds": 0.5,
        "removals": {
            "slope": 0.9,
            "slope_interval": [0.5, 1.25],
            "error": 1.5,
            "error_each": 0.75,
            "lds": 0.875,
            "signs": 3,
            "clear": 4,
        },
    }
    other = {**row, "estimator": "mean-run", "settings": {}, "removals": {**row["removals"], "slope": None, "lds": 0.0}}
    index = {"matrices": {"tfidf": {"planted": 0.75, "seconds": 2.0}}}
    lines = rivals.table({"estimators": [other, row]}, index).splitlines()
    assert lines[2] == "| tfidf | calibrated | 0.875 | 0.9 [0.5, 1.25] | 1.50 | 0.75 | 3 of 4 | 0.750 | 2 |"
    assert lines[3].startswith("| mean-run | – | 0.000 | – |")


def test_a_comparison_on_subsets_is_a_table_of_how_these_end(rivals: ModuleType) -> None:
    def row(name: str, lds: float, interval: list[float] | None, settings: dict[str, Any]) -> dict[str, Any]:
        scores = {
            "lds": {"value": lds, "interval": interval},
            "skill": {"value": 1 - lds, "interval": None},
            "rho": {"value": 0.5, "interval": None},
        }
        return {"estimator": name, "settings": settings, "seconds": 0.5, "scores": scores}

    rows = [row("mean-run", 0.0, None, {}), row("scores", 0.75, [0.5, 0.8125], {"file": "x/bm25.npz", "scale": None})]
    index = {"matrices": {"bm25": {"seconds": 2.0}}}
    lines = rivals.table({"estimators": rows}, index).splitlines()
    assert lines[0] == "| method | as | LDS | skill | final ρ | seconds |"
    assert lines[2] == "| bm25 | calibrated | 0.750 [0.50, 0.81] | 0.25 | 0.500 | 2 |"
    assert lines[3] == "| mean-run | – | 0.000 | 1 | 0.500 | 0.5 |"


def test_drawn_labels_make_the_gauss_newton_matrix_of_a_mean_over_tokens(rivals: ModuleType) -> None:
    import torch

    drawn_loss = importlib.import_module("rivals_ekfac").drawn_loss
    torch.manual_seed(0)
    logits = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    gradients = torch.stack([torch.autograd.grad(drawn_loss(logits), logits)[0].flatten() for _ in range(8000)])
    chances = logits.detach().softmax(-1)
    expected = torch.block_diag(*(torch.diag(one) - torch.outer(one, one) for one in chances)) / 3
    assert torch.allclose(gradients.T @ gradients / len(gradients), expected, atol=0.01)


@pytest.mark.filterwarnings("ignore:.*GradScaler.*:FutureWarning")  # kronfluence's
@pytest.mark.parametrize(("method", "module"), [("bm25", "rank_bm25"), ("ekfac", "kronfluence")])
def test_other_packages_score_every_pair(
    rivals: ModuleType, recording: Path, neox: Path, tmp_path: Path, method: str, module: str
) -> None:
    pytest.importorskip(module)
    entry = rivals.write_scores(rivals.Recorded(recording, str(neox)), [method], tmp_path)["matrices"][method]
    scores = np.load(tmp_path / f"{method}.npz")["scores"]
    assert scores.shape == (10, 3)
    assert np.isfinite(scores).all()
    assert scores.std(axis=0).min() > 0
    assert entry["version"] is not None


def test_the_page_shows_the_results_beside_it(rivals: ModuleType) -> None:
    text = rivals.PAGE.read_text(encoding="utf-8")
    assert rivals.with_tables(text) == text, "run: python tools/rivals.py page"
    names = {block["name"] for block in rivals.BLOCK.finditer(text)}
    assert names == {path.name.split("-")[1] for path in rivals.ROOT.glob("docs/removals/rivals-*-scores.json")}
    assert rivals.with_tables(text.replace("| bm25 |", "| bm52 |")) == text


def test_a_method_or_a_package_that_isnt_there_is_named(
    rivals: ModuleType,
    recording: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    scores = ["scores", "--dynamics", str(recording), "--output", str(tmp_path / "out")]
    with pytest.raises(SystemExit):
        rivals.main([*scores, "bm52"])
    assert "no method is called 'bm52'" in capsys.readouterr().err
    monkeypatch.setattr(rivals, "installed", lambda package: None)
    with pytest.raises(SystemExit, match="ekfac needs the package kronfluence"):
        rivals.main([*scores, "ekfac"])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", [None, "no JSON"])
def test_results_that_cant_be_read_are_one_line(rivals: ModuleType, tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "rivals.json").write_text(text)
    for words in (["table", str(tmp_path / "rivals.json"), "x"], ["estimators", str(tmp_path)]):
        with pytest.raises(SystemExit, match=r"rivals.json: .*: give what scores or gptfl compare --output wrote"):
            rivals.main(words)
