"""Sketches of an imported recording are those that the recording it was exported from has."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gptfl
from gptfl.core import Dynamics
from gptfl.errors import DataError, GptflError, ResourceError, UsageError
from gptfl.options.recipe import read_recipe
from gptfl.recording import imported_sketches
from gptfl.store.features import read_features
from gptfl.store.recordings import read_dynamics, write_dynamics
from gptfl.training import kept_sketches
from tests.recording.test_own_data import TEMPLATE, rows, write

RECIPE = """
learning_rate: 1.0e-2
lr_scheduler_type: cosine
per_device_train_batch_size: 1
gradient_accumulation_steps: 2
max_steps: 4
max_grad_norm: 1.0
"""


@pytest.fixture(scope="module")
def made(neox: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe, a recording with sketches in ``own`` and what was imported of its export in ``imported``."""
    folder = tmp_path_factory.mktemp("imported-sketches")
    (folder / "sft.yaml").write_text(RECIPE)
    gptfl.collect(
        str(neox), "errands", workspace=folder / "own", name="own", runs=3, pool=8, test=4, subset_size=4,
        sketches=True, **read_recipe(folder / "sft.yaml").options,
    )  # fmt: skip
    gptfl.featurize(workspace=folder / "own")
    gptfl.export(folder / "runs", workspace=folder / "own")
    gptfl.import_("gptdynamics", folder / "runs", workspace=folder / "imported", name="theirs")
    return folder


@pytest.fixture
def space(made: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(made, tmp_path / "made"))


def test_they_are_those_of_the_recording_that_was_exported(space: Path, neox: Path) -> None:
    result = gptfl.featurize(workspace=space / "imported", model=str(neox), recipe=space / "sft.yaml")
    assert result.encoder == "gradients"
    assert result.notes[0] == imported_sketches.TAKEN
    own, found = read_features(space / "own/own.gradients.features.h5"), read_features(result.path)
    assert list(found.sets) == list(own.sets)
    assert len(found.sets) > 4
    for name, one in own.sets.items():
        for side in ("train", "test"):
            expected = getattr(one, side)
            off = 1e-3 * np.abs(expected).max()
            np.testing.assert_allclose(getattr(found.sets[name], side), expected, rtol=1e-2, atol=off)
    ours, theirs = (
        read_dynamics(path) for path in (space / "own/own.dynamics.h5", result.path.parent / "theirs.dynamics.h5")
    )
    assert ours.sketches is not None
    assert theirs.sketches is not None
    assert theirs.sketches.seed == ours.sketches.seed
    assert theirs.known_products is not None, "estimated products come with them"
    np.testing.assert_allclose(theirs.sketches.learning_rates, ours.sketches.learning_rates)
    again = gptfl.featurize(workspace=space / "imported")
    assert (again.embedded, again.encoder) == (0, "gradients"), "the recording has them now"
    fitted = gptfl.fit(workspace=space / "imported")
    assert fitted.estimator == "exposure-gp"
    with pytest.raises(UsageError, match=r"--model .* has gradient sketches already: leave --model and --recipe out"):
        gptfl.featurize(workspace=space / "imported", model=str(neox), recipe=space / "sft.yaml")


def test_conversations_take_the_template_that_is_given(neox: Path, tmp_path: Path) -> None:
    """Of a model whose tokenizer has none."""
    (tmp_path / "sft.yaml").write_text(RECIPE)
    (tmp_path / "chat.jinja").write_text(TEMPLATE)
    data = write(tmp_path / "chat.jsonl", rows())
    template = tmp_path / "chat.jinja"
    gptfl.collect(
        str(neox), data=data, chat_template=template, workspace=tmp_path / "own", name="own", runs=3, pool=8, test=4,
        subset_size=4, sketches=True, **read_recipe(tmp_path / "sft.yaml").options,
    )  # fmt: skip
    own = read_features(gptfl.featurize(workspace=tmp_path / "own").path)
    gptfl.export(tmp_path / "runs", workspace=tmp_path / "own")
    gptfl.import_("gptdynamics", tmp_path / "runs", workspace=tmp_path / "imported", name="theirs")
    given: dict[str, Any] = {
        "workspace": tmp_path / "imported", "model": str(neox), "recipe": tmp_path / "sft.yaml", "encoder": "gradients"
    }  # fmt: skip
    with pytest.raises(DataError, match=r"has no chat template, and .* is a conversation: .*--chat-template"):
        gptfl.featurize(**given)
    found = read_features(gptfl.featurize(**given, chat_template=template).path)
    assert list(found.sets) == list(own.sets)
    for name, one in own.sets.items():
        off = 1e-3 * np.abs(one.train).max()
        np.testing.assert_allclose(found.sets[name].train, one.train, rtol=1e-2, atol=off)
    with pytest.raises(UsageError, match=r"--chat-template .*chat.jinja is of imported recordings, and .* is none"):
        gptfl.featurize(workspace=tmp_path / "own", chat_template=template)
    with pytest.raises(UsageError, match="--chat-template and --new were given together"):
        gptfl.featurize(workspace=tmp_path / "own", chat_template=template, new=data)


def test_a_template_of_rows_that_are_no_conversations_is_refused(space: Path, neox: Path) -> None:
    (space / "chat.jinja").write_text(TEMPLATE)
    with pytest.raises(UsageError, match="--chat-template is of conversations, and the rows are none: leave it out"):
        gptfl.featurize(
            workspace=space / "imported", model=str(neox), recipe=space / "sft.yaml", chat_template=space / "chat.jinja"
        )


def test_sketching_that_was_interrupted_goes_on_where_it_was(
    space: Path, neox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_sketches, "EXAMPLES", 3)
    asked: dict[str, Any] = {"model": str(neox), "recipe": space / "sft.yaml"}
    shutil.copytree(space / "imported", space / "whole")
    whole = gptfl.featurize(workspace=space / "whole", **asked)

    def stop(what: str, done: int, total: int, note: str = "") -> None:
        if what == "sketches" and done >= total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gptfl.featurize(workspace=space / "imported", progress=stop, **asked)
    assert len(list((space / "imported").glob("theirs.dynamics.h5.blocks-*/block-*.h5"))) > 1
    told: list[tuple[int, int]] = []
    result = gptfl.featurize(
        workspace=space / "imported",
        progress=lambda what, done, total, note="": told.append((done, total)) if what == "sketches" else None,
        **asked,
    )
    assert 0 < told[0][0] < told[-1][0] == told[-1][1]
    assert not list((space / "imported").glob("*.blocks-*"))
    assert read_features(result.path).fingerprint == read_features(whole.path).fingerprint


def test_another_seed_is_another_run(space: Path, neox: Path) -> None:
    gptfl.featurize(workspace=space / "imported", model=str(neox), recipe=space / "sft.yaml", seed=7)
    ours, theirs = (read_dynamics(space / name) for name in ("own/own.dynamics.h5", "imported/theirs.dynamics.h5"))
    assert ours.sketches is not None
    assert theirs.sketches is not None
    assert theirs.sketches.seed != ours.sketches.seed


def test_the_sketches_of_an_import_are_as_large_and_as_many_as_asked(space: Path, neox: Path) -> None:
    how = {"sketch_points": 2, "sketch_dimensions": 32, "sketch_modules": "*mlp*"}
    own = gptfl.collect(
        str(neox), "errands", workspace=space / "small", name="own", runs=3, pool=8, test=4, subset_size=4, sketches=True,
        **how, **read_recipe(space / "sft.yaml").options,
    )  # fmt: skip
    given = {"workspace": space / "imported", "model": str(neox), "recipe": space / "sft.yaml"}
    gptfl.featurize(**given, **how)
    theirs, ours = (read_dynamics(path).sketches for path in (space / "imported/theirs.dynamics.h5", own.path))
    assert ours is not None
    assert theirs is not None
    assert (theirs.steps.tolist(), theirs.dimensions, theirs.modules) == ([0, 4], 32, "*mlp*")
    for one, other in zip(theirs.points, ours.points, strict=True):
        np.testing.assert_allclose(one.train, other.train, rtol=1e-2, atol=1e-3 * np.abs(other.train).max())
    gptfl.import_("gptdynamics", space / "runs", workspace=space / "imported", name="theirs")
    again = gptfl.featurize(**given, sketch_dimensions=16)
    assert again.reused == 0, "features of other sketches are no such"
    assert set(again.dims.values()) == {16}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sketch_points": 6}, "sketch_points is 6: give 1 to 5: a run of 4 steps has no more points"),
        ({"sketch_points": 0}, "sketch_points is 0: give at least 1"),
        ({"sketch_dimensions": 0}, "sketch_dimensions is 0: give at least 1"),
        ({"sketch_modules": "*nothing*"}, r"sketch_modules '\*nothing\*' fits no trained weight"),
        ({"sketch_modules": ""}, "sketch_modules is empty: give a pattern"),
        ({"sketch_dimensions": 2**33}, "take .* GiB, and gptfl reads up to"),
        ({"model": None, "recipe": None, "sketch_points": 2}, "was imported without gradient sketches: .* give both"),
        (
            {"model": None, "recipe": None, "sketch_points": 2, "encoder": "tfidf-svd"},
            "--sketch-points 2 is for gradient sketches, and encoder tfidf-svd takes none: leave it out",
        ),
    ],
)
def test_sketches_that_make_no_sense_are_refused(
    space: Path, neox: Path, options: dict[str, Any], message: str
) -> None:
    given = {"model": str(neox), "recipe": space / "sft.yaml", **options}
    with pytest.raises(GptflError, match=message) as caught:
        gptfl.featurize(workspace=space / "imported", **given)
    assert "\n" not in str(caught.value)
    assert read_dynamics(space / "imported/theirs.dynamics.h5").sketches is None


def test_how_to_sketch_says_nothing_of_sketches_that_are_there(space: Path, neox: Path) -> None:
    with pytest.raises(UsageError, match=r"--sketch-dimensions 32 is of imported recordings, and .* is none"):
        gptfl.featurize(workspace=space / "own", sketch_dimensions=32)
    gptfl.featurize(workspace=space / "imported", model=str(neox), recipe=space / "sft.yaml", sketch_dimensions=16)
    with pytest.raises(
        UsageError, match=r"--sketch-points 2: .* has gradient sketches already: leave --sketch-points out"
    ):
        gptfl.featurize(workspace=space / "imported", sketch_points=2)


def test_a_recording_that_cannot_be_amended_leaves_them_to_the_features(
    space: Path, neox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: Any) -> None:
        raise ResourceError("the disk is full", "free some space")

    monkeypatch.setattr(imported_sketches, "append_sketches", full)
    result = gptfl.featurize(workspace=space / "imported", model=str(neox), recipe=space / "sft.yaml")
    assert result.notes[0].endswith("the features alone keep them, for the disk is full")
    assert not list((space / "imported").glob("*.blocks-*"))
    assert "raw-0" in read_features(result.path).sets
    assert read_dynamics(space / "imported/theirs.dynamics.h5").sketches is None


def rewritten(space: Path, change: Callable[[Dynamics], Dynamics]) -> None:
    path = space / "imported/theirs.dynamics.h5"
    dynamics = read_dynamics(path)
    path.unlink()
    write_dynamics(path, change(dynamics))


@pytest.mark.parametrize(
    ("options", "old", "new", "message"),
    [
        ({"recipe": None}, "", "", "was imported without gradient sketches: .* give both to gptfl featurize"),
        ({"model": None}, "", "", "was imported without gradient sketches: .* give both to gptfl featurize"),
        ({"encoder": "tfidf-svd"}, "", "", "--model .* is for gradient sketches, and encoder tfidf-svd takes none"),
        ({}, "1.0e-2", "2.0e-2", "the learning rates of the runs are not those of --recipe"),
        ({}, "accumulation_steps: 2", "accumulation_steps: 4", "has batches of 4 examples, and those .* have 2"),
        ({}, "max_steps", "optim: adafactor\nmax_steps", "--recipe .* with --optimiser adafactor: it keeps no second"),
        ({"recipe": "no-such.yaml"}, "", "", "no-such.yaml"),
        ({"model": "no-such-model"}, "", "", "no-such-model"),
    ],
)
def test_what_cannot_be_sketched_is_one_line(
    space: Path, neox: Path, options: dict[str, Any], old: str, new: str, message: str
) -> None:
    recipe = space / "sft.yaml"
    recipe.write_text(RECIPE.replace(old, new) if old else RECIPE)
    given = {"encoder": "gradients", "model": str(neox), "recipe": recipe, **options}
    with pytest.raises(GptflError, match=message) as caught:
        gptfl.featurize(workspace=space / "imported", **given)
    assert "\n" not in str(caught.value)
    assert read_dynamics(space / "imported/theirs.dynamics.h5").sketches is None
    assert not list((space / "imported").glob("*.features.h5"))


def test_a_recording_that_was_not_imported_has_a_recipe_of_its_own(space: Path, neox: Path) -> None:
    with pytest.raises(UsageError, match=r"--model .* is of imported recordings, and .* is none"):
        gptfl.featurize(workspace=space / "own", model=str(neox))


def test_an_import_without_texts_cannot_be_sketched(space: Path, neox: Path) -> None:
    rewritten(space, lambda one: replace(one, pool=tuple(e.without_texts() for e in one.pool)))
    with pytest.raises(DataError, match="keeps no texts"):
        gptfl.featurize(workspace=space / "imported", model=str(neox), recipe=space / "sft.yaml")
