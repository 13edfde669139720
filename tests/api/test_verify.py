import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gptfl
from gptfl.core.curriculum import run_seed
from gptfl.errors import DataError, UsageError
from gptfl.options.recipe import read_recipe
from gptfl.plugins.guards import make_metric
from gptfl.plugins.interfaces import Plan
from gptfl.plugins.registry import build, get_registry, using
from gptfl.recording.trainers import recipe_of
from gptfl.report.verification import read_verification
from gptfl.scores import pointwise
from gptfl.store.predictions import read_predictions
from gptfl.store.recordings import read_dynamics, write_dynamics
from gptfl.testing.synthetic import make_dynamics
from gptfl.training.load import load_model
from gptfl.training.trainer import RecordingTrainer
from tests import interval_estimator


@pytest.fixture(scope="module")
def made(neox: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording with settings of its own in every place that a training depends on."""
    root = tmp_path_factory.mktemp("verify")
    gptfl.collect(
        str(neox), "errands", workspace=root, runs=5, pool=12, test=4, subset_size=6, batch_size=2, steps=6, lr=1e-2,
        record_every=2, schedule="constant", accumulate=2, lora="r=2,alpha=4,dropout=0", metrics=("loss", "accuracy"), name="own",
    )  # fmt: skip
    return root


@pytest.fixture
def space(made: Path, tmp_path: Path) -> Iterator[Path]:
    import shutil

    root = Path(shutil.copytree(made, tmp_path / "space"))
    with using(build([interval_estimator])):
        gptfl.fit("sure", workspace=root, metric="loss")
        yield root


def ids(space: Path, count: int = 5) -> list[str]:
    return [example.id for example in read_dynamics(space / "own.dynamics.h5").pool[3 : 3 + count]]


def test_what_is_trained_is_what_was_predicted(space: Path) -> None:
    dynamics = read_dynamics(space / "own.dynamics.h5")
    plans: list = []
    announced: list = []
    found = gptfl.verify(
        workspace=space, subset=ids(space), orders=2, announce=plans.append, progress=lambda *one: announced.append(one)
    )
    assert found is not None
    assert (plans[0].runs, plans[0].steps, plans[0].recorded, plans[0].subset) == (2, 6, 4, 5)
    assert announced[-1][:3] == ("train", 12, 12)
    simulated = gptfl.simulate(workspace=space, subset=ids(space), orders=2)
    stored = read_predictions(simulated.predictions)
    np.testing.assert_array_equal(found.predicted, simulated.values)
    names = [example.id for example in dynamics.pool]
    assert found.batches == tuple(
        tuple(tuple(names[place] for place in batch) for batch in run) for run in stored.batches.tolist()
    )
    # The same curricula by a trainer of one's own, with the recording's settings.
    metric = make_metric(get_registry(), "loss")
    recipe = recipe_of(dynamics)
    assert (recipe.lora, recipe.accumulate, recipe.schedule, recipe.record_every) == (
        "r=2,alpha=4,dropout=0",
        2,
        "constant",
        2,
    )
    trainer = RecordingTrainer(load_model(dynamics.settings["source"]), dynamics.pool, dynamics.test, (metric,), recipe)
    for number, batches in enumerate(stored.batches):
        run = trainer.run(Plan(number, run_seed(42, number), "test", batches), lambda *_: None)
        np.testing.assert_array_equal(run.curriculum.learning_rates, stored.learning_rates[number])
        np.testing.assert_allclose(found.recorded[number], run.metrics["loss"], rtol=1e-5)
    assert found.mse == pytest.approx(pointwise.all_steps_mse(found.predicted, found.recorded).mean())
    means = np.broadcast_to(found.reference, found.recorded.shape)
    assert found.skill == pytest.approx(pointwise.skill(found.predicted, found.recorded, means))
    low, high = found.intervals[0.9]
    inside = ((low <= found.recorded) & (found.recorded <= high))[:, 1:]
    assert found.coverage[0.9].share == pytest.approx(inside.mean())


@pytest.mark.usefixtures("laid_out")
def test_the_numbers_and_the_picture_are_kept(space: Path, tmp_path: Path) -> None:
    found = gptfl.verify(workspace=space, subset=ids(space), output=tmp_path / "told.json")
    assert found is not None
    document = json.loads((tmp_path / "told.json").read_text())
    assert next(iter(document)) == "recording"
    np.testing.assert_allclose(document["runs"][0]["recorded"], found.recorded[0])
    np.testing.assert_allclose(document["runs"][0]["intervals"]["0.9"]["low"], found.intervals[0.9][0][0])
    assert document["runs"][0]["batches"] == [list(batch) for batch in found.batches[0]]
    assert document["recorded"] == pytest.approx(found.recorded[0, -1].mean())
    assert {one["id"] for one in document["test"]} == set(found.tests)
    assert found.figure == tmp_path / "told.png"
    assert found.figure.read_bytes()[:4] == b"\x89PNG"
    again = gptfl.verify(workspace=space, subset=ids(space), output=tmp_path / "told.json")
    assert again is not None
    np.testing.assert_array_equal(again.recorded, found.recorded)


def test_a_run_of_the_recording_comes_out_as_recorded(space: Path, tmp_path: Path) -> None:
    dynamics = read_dynamics(space / "own.dynamics.h5")
    run = dynamics.runs[1]
    path = tmp_path / "run.jsonl"
    path.write_text("\n".join(json.dumps([dynamics.pool[i].id for i in batch]) for batch in run.curriculum.batches))
    found = gptfl.verify(workspace=space, curriculum=path)
    assert found is not None
    np.testing.assert_allclose(found.recorded[0], run.metrics["loss"], rtol=1e-5)


def test_another_length_and_rate_are_trained_as_asked(space: Path) -> None:
    found = gptfl.verify(workspace=space, drop=ids(space), steps=4, lr=5e-3)
    assert found is not None
    assert found.steps.tolist() == [0, 2, 4]
    assert len(found.batches[0]) == 4
    assert np.isfinite(found.recorded).all()
    other = gptfl.verify(workspace=space, drop=ids(space), steps=4)
    assert other is not None
    assert not np.allclose(other.recorded[0, -1], found.recorded[0, -1], rtol=1e-3)


def test_a_drop_is_trained_beside_the_whole_pool_in_pairs(space: Path) -> None:
    plans: list = []
    pool = [example.id for example in read_dynamics(space / "own.dynamics.h5").pool]
    dropped = set(ids(space))
    found = gptfl.verify(workspace=space, drop=sorted(dropped), orders=2, announce=plans.append, figure=False)
    assert found is not None
    assert found.paired is not None
    assert (plans[0].runs, len(found.labels), found.paired.against) == (4, 2, f"the whole pool ({len(pool)} examples)")
    for ours, theirs in zip(found.batches, found.paired.batches, strict=True):
        assert not dropped & {one for batch in ours for one in batch}
        for one, other in zip(ours, theirs, strict=True):
            # What isn't dropped stands where it stood.
            assert all(mine == whole for mine, whole in zip(one, other, strict=True) if whole not in dropped)
    ends = found.recorded[:, -1].mean(axis=1), found.paired.recorded[:, -1].mean(axis=1)
    assert found.paired.changes == pytest.approx(ends[0] - ends[1])
    assert found.paired.change == pytest.approx((ends[0] - ends[1]).mean())
    assert found.paired.predicted_change == pytest.approx(
        (found.predicted[:, -1] - found.paired.predicted[:, -1]).mean()
    )
    # The other side is what training on these very batches gives.
    alone = gptfl.verify(workspace=space, subset=pool, orders=2, figure=False)
    assert alone is not None
    assert alone.batches == found.paired.batches
    np.testing.assert_allclose(alone.recorded, found.paired.recorded, rtol=1e-5)
    assert alone.paired is None
    document = json.loads(found.output.read_text())["paired"]
    assert document["changes"] == pytest.approx(found.paired.changes)
    assert document["runs"][1]["batches"] == [list(batch) for batch in found.paired.batches[1]]
    kept = read_verification(found.output)
    assert kept is not None
    assert kept["paired"]["verdict"] == found.paired.verdict
    assert found.output != alone.output


def test_two_subsets_are_trained_in_pairs(space: Path) -> None:
    one, other = ids(space, 4), ids(space, 6)
    found = gptfl.verify(workspace=space, subset=one, against=other, figure=False)
    assert found is not None
    assert found.paired is not None
    assert (len(found.labels), len(found.paired.changes)) == (4, 4)
    assert {name for run in found.batches for batch in run for name in batch} == set(one)
    assert {name for run in found.paired.batches for batch in run for name in batch} == set(other)


def test_a_dry_run_trains_nothing(space: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RecordingTrainer, "run", lambda *_: pytest.fail("trained"))
    plans: list = []
    assert gptfl.verify(workspace=space, subset=ids(space), dry_run=True, announce=plans.append) is None
    assert plans[0].seconds > 0
    assert not list(space.glob("*.verified.*"))


@pytest.mark.usefixtures("quick_tiny")
def test_what_cannot_be_verified_is_refused_in_one_line(space: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nothing says what to train on: give --subset, --drop or --curriculum"):
        gptfl.verify(workspace=space)
    with pytest.raises(UsageError, match=r"--subset and --drop each say"):
        gptfl.verify(workspace=space, subset=ids(space), drop=ids(space))
    with pytest.raises(DataError, match=r"--subset, item 1: 'nobody' is not an id of the pool"):
        gptfl.verify(workspace=space, subset=["nobody"])
    with pytest.raises(UsageError, match=r"told.csv is not a .json file: end it in .json"):
        gptfl.verify(workspace=space, subset=ids(space), output=tmp_path / "told.csv")
    (tmp_path / "mine.json").write_text("{}")
    with pytest.raises(DataError, match=r"mine.json is not a .json file as gptfl writes them"):
        gptfl.verify(workspace=space, subset=ids(space), output=tmp_path / "mine.json")
    with pytest.raises(DataError, match=r"--model tiny has other weights than"):
        gptfl.verify(workspace=space, subset=ids(space), model="tiny")


def test_an_imported_recording_has_no_model_to_train(space: Path) -> None:
    path = space / "own.dynamics.h5"
    dynamics = read_dynamics(path)
    settings = {"task": "imported", "layout": "gptdynamics", "learning_rate": 1e-2, "schedule": "constant"}
    path.unlink()
    write_dynamics(path, replace(dynamics, settings=settings))
    gptfl.fit("sure", workspace=space, metric="loss")
    with pytest.raises(
        DataError, match=r"own.dynamics.h5 was imported: gptfl knows no model .*: give both to gptfl verify"
    ):
        gptfl.verify(workspace=space, subset=ids(space))


RECIPE = """
learning_rate: 1.0e-2
lr_scheduler_type: cosine
warmup_steps: 1
per_device_train_batch_size: 1
gradient_accumulation_steps: 2
max_steps: 4
weight_decay: 0.01
use_peft: true
lora_r: 2
lora_alpha: 4
lora_dropout: 0.0
lora_target_modules: [query_key_value]
"""


@pytest.fixture
def sure() -> Iterator[None]:
    with using(build([interval_estimator])):
        yield


@pytest.mark.usefixtures("sure")
def test_an_imported_recording_is_verified_by_a_given_model_and_recipe(neox: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "sft.yaml"
    recipe.write_text(RECIPE)
    made = gptfl.collect(
        str(neox), "errands", workspace=tmp_path, name="own", runs=4, pool=12, test=4, subset_size=6, record_every=2,
        **read_recipe(recipe).options,
    )  # fmt: skip
    gptfl.fit("sure", workspace=tmp_path)
    subset = [example.id for example in made.pool[:5]]
    own = gptfl.verify(workspace=tmp_path, subset=subset, figure=False)
    with pytest.raises(UsageError, match=r"--recipe .* is of imported recordings, and this one has its own"):
        gptfl.verify(workspace=tmp_path, subset=subset, recipe=recipe)
    with pytest.raises(UsageError, match=r"--chat-template .* is of imported recordings, and this one has its own"):
        gptfl.verify(workspace=tmp_path, subset=subset, chat_template=recipe)
    dynamics = read_dynamics(made.path)
    settings = {"task": "imported", "layout": "gptdynamics", "learning_rate": 1e-2, "schedule": "cosine", "warmup": 1}
    made.path.unlink()
    write_dynamics(made.path, replace(dynamics, settings=settings))
    gptfl.fit("sure", workspace=tmp_path)
    with pytest.raises(DataError, match=r"was imported: .*\(--model, --recipe\)"):
        gptfl.verify(workspace=tmp_path, subset=subset, model=str(neox))
    found = gptfl.verify(workspace=tmp_path, subset=subset, model=str(neox), recipe=recipe, figure=False)
    with pytest.raises(UsageError, match="--chat-template is of conversations, and the rows are none"):
        gptfl.verify(workspace=tmp_path, subset=subset, model=str(neox), recipe=recipe, chat_template=recipe)
    assert own is not None
    assert found is not None
    np.testing.assert_array_equal(found.recorded, own.recorded)
    assert any("are taken to be those of --model and --recipe" in note for note in found.notes)
    assert not any("another model" in note for note in found.notes)
    recipe.write_text(RECIPE.replace("1.0e-2", "2.0e-2"))
    with pytest.raises(DataError, match=r"the learning rates of the runs in .* are not those of --recipe"):
        gptfl.verify(workspace=tmp_path, subset=subset, model=str(neox), recipe=recipe)


@pytest.mark.parametrize(
    "wrong", [{"schedule": "no-such"}, {"precision": "fp3"}, {"decode": "beam"}, {"lora": "r=-1"}, {"lora": "\x1b[31m"}]
)
def test_words_of_a_recipe_that_are_unknown_are_refused(wrong: dict[str, Any]) -> None:
    dynamics = make_dynamics(runs=2)
    dynamics = replace(dynamics, settings={"learning_rate": 1e-3, **wrong})
    with pytest.raises(DataError, match=f"the recording has the setting {next(iter(wrong))} = "):
        recipe_of(dynamics)


def test_a_simulator_verifies_with_what_it_has_open(space: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simulator = gptfl.open_simulator(workspace=space)
    subset = ids(space)
    expected = gptfl.verify(workspace=space, subset=subset)
    monkeypatch.setattr("gptfl.api.verify.open_fitted", lambda *_: pytest.fail("the files were opened again"))
    found = simulator.verify(subset)
    assert expected is not None
    np.testing.assert_array_equal(found.predicted, expected.predicted)
    np.testing.assert_array_equal(found.recorded, expected.recorded)
    with pytest.raises(UsageError, match="dry_run trains nothing"):
        simulator.verify(subset, dry_run=True)
