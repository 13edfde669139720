"""Metrics of generated text from recording to simulation."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gptfl
from gptfl.core import Dynamics, MetricInfo
from gptfl.errors import DataError, UsageError
from gptfl.metrics import RougeL
from gptfl.plugins.interfaces import Observation
from gptfl.recording.collect import collect
from gptfl.recording.cost import CostEstimate
from gptfl.recording.inspect import inspect
from gptfl.recording.plan_checks import check_generation
from gptfl.recording.recording import focused, open_recording
from gptfl.recording.result import CollectResult
from gptfl.store.recordings import read_dynamics, write_dynamics

COLOURS = ("red", "blue", "green", "grey")
PLACES = ("sea", "sun", "moon", "land", "hill")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A small task of free text; every second test example has two references."""
    folder = tmp_path / "data"
    folder.mkdir()
    pairs = [(place, colour) for place in PLACES for colour in COLOURS]
    for name, chosen in (("train", pairs[:12]), ("test", pairs[12:17])):
        rows = []
        for number, (place, colour) in enumerate(chosen):
            text = f"the {place} is {colour}"
            references = {"references": [text, f"{colour} is the {place}"]} if number % 2 else {}
            rows.append({"prompt": f"{place} , {colour} ?", "target": f" {text}", **references})
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return folder


SMALL: dict[str, Any] = {"runs": 3, "pool": 12, "test": 5, "subset_size": 8, "batch_size": 4, "lr": 3e-3}
GENERATED: dict[str, Any] = {"metrics": ("loss", "bleu", "rougeL"), "steps": 7, "record_every": 2, "generate_every": 6}


def record(model: Path | str, workspace: Path, data: Path, **changed: Any) -> CollectResult:
    return collect(str(model), "jsonl", **{"workspace": workspace, "data": data, **SMALL, **GENERATED, **changed})


def test_text_is_generated_at_the_first_every_so_many_th_and_the_last_step(
    neox: Path, tmp_path: Path, data: Path
) -> None:
    result = record(neox, tmp_path, data)
    dynamics = read_dynamics(result.path)
    kept = {"generate_every": 6, "generate_tokens": None, "decode": "greedy"}
    assert {key: dynamics.settings[key] for key in kept} == kept
    for run in dynamics.runs:
        assert run.steps.tolist() == [0, 2, 4, 6, 7]
        assert np.isfinite(run.metrics["loss"]).all()
        for name in ("bleu", "rougeL"):
            known = np.isfinite(run.metrics[name])
            assert known.all(axis=1).tolist() == known.any(axis=1).tolist() == [True, False, False, True, True]
    rows = dict(inspect(result.path).rows)
    assert "at 3 of these steps (higher is better)" in rows["metric: bleu"]
    assert "of these steps" not in rows["metric: loss"]
    assert set(result.moved) == {"loss", "bleu", "rougeL"}
    assert np.isfinite(list(result.moved.values())).all()


def test_without_an_interval_text_is_generated_at_every_recorded_step(neox: Path, tmp_path: Path, data: Path) -> None:
    first = read_dynamics(record(neox, tmp_path, data, runs=1, generate_every=None).path)
    assert np.isfinite(first.runs[0].metrics["bleu"]).all()
    assert first.settings["generate_every"] is None
    assert record(neox, tmp_path, data, runs=1, generate_every=2).recorded_now == 0


@pytest.mark.parametrize("decode", ["greedy", "nucleus"])
def test_a_recording_that_goes_on_equals_one_made_at_once(neox: Path, tmp_path: Path, data: Path, decode: str) -> None:
    record(neox, tmp_path / "a", data, decode=decode, runs=1)
    grown = read_dynamics(record(neox, tmp_path / "a", data, decode=decode).path)
    at_once = read_dynamics(record(neox, tmp_path / "b", data, decode=decode).path)
    assert grown.fingerprint == at_once.fingerprint


def test_another_seed_samples_other_texts(
    neox: Path, tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before any training only the sampling can differ: the test set is drawn whole."""
    seen: list[dict[str, str]] = []

    def watch(self: RougeL, observation: Observation) -> np.ndarray:
        assert observation.generated is not None
        seen.append({e.id: text for e, text in zip(observation.examples, observation.generated, strict=True)})
        return np.zeros(len(observation.examples))

    monkeypatch.setattr(RougeL, "measure", watch)
    alone: dict[str, Any] = {"metrics": ("rougeL",), "runs": 1, "decode": "nucleus", "generate_every": 6}
    record(neox, tmp_path / "a", data, **alone)
    record(neox, tmp_path / "b", data, **alone, seed=43)
    record(neox, tmp_path / "c", data, **alone)
    first, other, again = seen[0], seen[3], seen[6]
    assert first.keys() == other.keys()
    assert first == again != other
    assert len(seen) == 9


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"decode": "nucleus"}, "was recorded with --decode greedy, not --decode nucleus"),
        ({"generate_every": 4}, "was recorded with --generate-every 6, not --generate-every 4"),
        ({"generate_tokens": 9}, "was recorded with no --generate-tokens, not --generate-tokens 9"),
        ({"metrics": ("loss", "bleu")}, "was recorded with --metric loss --metric bleu --metric rougeL, not"),
    ],
)
def test_other_settings_of_generation_are_another_recording(
    neox: Path, tmp_path: Path, data: Path, changed: dict[str, Any], message: str
) -> None:
    record(neox, tmp_path, data, runs=1)
    with pytest.raises(DataError, match=message):
        record(neox, tmp_path, data, **changed)


def older(path: Path) -> Dynamics:
    """Make a recording look like one from before there were settings of generation."""
    found = read_dynamics(path)
    settings = {k: v for k, v in found.settings.items() if k not in ("decode", "generate_every")}
    dynamics = replace(found, settings={**settings, "generate_tokens": 64})
    path.unlink()
    write_dynamics(path, dynamics)
    return dynamics


def test_an_older_recording_of_losses_goes_on(neox: Path, tmp_path: Path, data: Path) -> None:
    losses: dict[str, Any] = {"metrics": ("loss",), "generate_every": None}
    result = record(neox, tmp_path, data, runs=1, **losses)
    assert not {"decode", "generate_every", "generate_tokens"} & read_dynamics(result.path).settings.keys()
    older(result.path)
    assert record(neox, tmp_path, data, **losses).recorded_now == 2
    with pytest.raises(DataError, match="was recorded with --metric loss, not --metric loss --metric bleu"):
        record(neox, tmp_path, data)


def test_the_estimate_counts_and_times_generation_by_itself(neox: Path, tmp_path: Path, data: Path) -> None:
    estimates: list[CostEstimate] = []
    record(neox, tmp_path, data, dry_run=True, announce=estimates.append)
    (plan,) = estimates
    assert (plan.recorded, plan.generated, plan.generated_tokens > 0) == (5, 3, True)
    assert plan.seconds_per_generation > 0
    one = 7 * plan.seconds_per_step + 5 * plan.seconds_per_evaluation + 3 * plan.seconds_per_generation
    assert plan.seconds == pytest.approx(3 * one)
    record(neox, tmp_path, data, dry_run=True, announce=estimates.append, metrics=("loss",), generate_every=None)
    assert (estimates[1].generated, estimates[1].seconds_per_generation) == (0, 0.0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((True, "foo", None, None, 1), "decode 'foo' is unknown: use greedy or nucleus"),
        ((True, "greedy", 3, None, 2), "--generate-every 3 is no multiple of --record-every 2: give 4, or another"),
        ((True, "greedy", 1, None, 4), "--generate-every 1 is no multiple of --record-every 4: give 4, or another"),
        ((False, "greedy", 4, None, 2), "--generate-every 4 changes nothing: no metric reads generated text: leave"),
        ((False, "greedy", None, 9, 2), "--generate-tokens 9 changes nothing"),
        ((False, "nucleus", None, None, 2), "--decode nucleus changes nothing"),
    ],
)
def test_settings_that_make_no_sense_are_refused(given: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_generation(*given)


def test_a_metric_counts_at_the_steps_at_which_it_was_measured(neox: Path, tmp_path: Path, data: Path) -> None:
    recording = open_recording(record(neox, tmp_path, data).path, every=2)
    bleu, loss = (recording.dynamics.metrics[name] for name in ("bleu", "loss"))
    assert [run.steps.tolist() for run in focused(recording, bleu).dynamics.runs] == [[0, 7]] * 3
    assert [run.steps.tolist() for run in focused(recording, loss).dynamics.runs] == [[0, 4, 7]] * 3
    everything = replace(recording, every=1)
    assert focused(everything, loss).dynamics.fingerprint == recording.dynamics.fingerprint
    nowhere = MetricInfo("nowhere", higher_is_better=True)
    runs = tuple(
        replace(run, metrics={"nowhere": np.full_like(run.metrics["bleu"], np.nan)}) for run in recording.dynamics.runs
    )
    without = replace(everything, dynamics=replace(recording.dynamics, runs=runs))
    assert focused(without, nowhere).dynamics.runs[0].steps.tolist() == [0, 2, 4, 6, 7]


def test_text_metrics_are_fitted_compared_and_simulated(tmp_path: Path, data: Path, quick_tiny: None) -> None:
    path = record("tiny", tmp_path, data, runs=11).path
    gptfl.featurize("tfidf-svd", dynamics=path)
    fitted = gptfl.fit("gptfluence", dynamics=path, metric="rougeL", settings={"epochs": 3})
    assert (fitted.metric, fitted.fit_runs) == ("rougeL", 8)
    compared = gptfl.compare(
        dynamics=path, metric="bleu", estimators=["gptfluence"], settings={"gptfluence": {"epochs": 3}}, figure=False
    )
    assert compared.metric.name == "bleu"
    assert [row.error for row in compared.rows] == [None] * len(compared.rows)
    np.testing.assert_array_equal(compared.held_out.steps, [[0, 6, 7]] * 2)
    assert np.isfinite(compared.held_out.recorded).all()
    for subset in (None, [example.id for example in read_dynamics(path).pool[:8]]):
        simulated = gptfl.simulate(fitted.path, subset=subset)
        assert simulated.steps.tolist() == [0, 6, 7]
        assert np.isfinite(simulated.values).all()
    assert simulated.metric.name == "rougeL"
