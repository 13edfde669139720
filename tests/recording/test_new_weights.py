"""New rows are counted by their own tokens where the loss of a batch is a mean over tokens."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import gptfl
from gptfl.core import Example, silent
from gptfl.core.examples import weights_of
from gptfl.errors import DataError
from gptfl.features.featurize import featurize
from gptfl.influence.removal import average_worth
from gptfl.recording import new_weights
from gptfl.recording.new_examples import read_new_examples
from gptfl.recording.new_weights import weighed_new
from gptfl.recording.recording import OpenedRecording, open_recording
from gptfl.simulation.simulator import open_fitted, with_new_examples
from tests.recording.test_collect import record


@pytest.fixture(scope="module")
def made(neox: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording by mean over tokens, a simulator of it by words, and six of its rows as if they were new."""
    folder = tmp_path_factory.mktemp("weights")
    record(neox, folder, loss_mean="tokens", runs=6)
    featurize("tfidf-svd", workspace=folder, settings={"dims": 4})
    gptfl.fit("exposure-gp", workspace=folder)
    rows = [json.dumps({"id": one.id, "prompt": one.prompt, "target": one.target}) for one in copies(folder)]
    (folder / "more.jsonl").write_text("\n".join(rows))
    return folder


@pytest.fixture
def space(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "copy"))


def opened(space: Path) -> OpenedRecording:
    return open_recording(None, space)


def copies(space: Path) -> tuple[Example, ...]:
    """Rows of the recording's pool whose tokens aren't known."""
    return tuple(replace(one, id=f"n{i}", weight=None) for i, one in enumerate(opened(space).dynamics.pool[:6]))


def test_a_copy_of_a_row_has_the_rows_tokens(space: Path) -> None:
    recording = opened(space)
    found, notes = weighed_new(copies(space), recording, None, silent)
    assert notes == ()
    assert [one.weight for one in found] == [one.weight for one in recording.dynamics.pool[:6]]
    assert len({one.weight for one in found}) > 1
    (longer,), _ = weighed_new((replace(found[0], target=found[0].target * 5),), recording, None, silent)
    assert longer.weight == 5 * found[0].weight


def test_where_rows_count_alike_nothing_changes(space: Path) -> None:
    recording = opened(space)
    alike = tuple(replace(one, weight=None) for one in recording.dynamics.pool)
    recording = replace(recording, dynamics=replace(recording.dynamics, pool=alike))
    assert weighed_new(copies(space), recording, None, silent) == (copies(space), ())


def test_without_the_recordings_tokenizer_rows_count_as_the_mean_one_and_a_note_says_so(
    space: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording, rows = opened(space), copies(space)
    mean = f"{weights_of(recording.dynamics.pool).mean():.3g}"
    settings = recording.dynamics.settings.having(model="a/b", source="a/b")
    gone = replace(recording, dynamics=replace(recording.dynamics, settings=settings))
    monkeypatch.setattr("gptfl.training.named._named", frozenset)
    same, (note,) = weighed_new(rows, gone, None, silent)
    assert same == rows
    assert note.startswith(f"each new row counts as one of {mean} tokens, the pool's mean, for its own aren't known: ")
    assert "names the model a/b, which you have not used here yet" in note
    monkeypatch.undo()
    others = tuple(replace(one, weight=one.weight + 1) for one in recording.dynamics.pool)
    other = replace(recording, dynamics=replace(recording.dynamics, pool=others))
    same, (note,) = weighed_new(rows, other, None, silent)
    assert same == rows
    assert note.endswith("aren't known: the tokenizer that is here gives recorded rows other tokens")
    with pytest.raises(DataError, match="new example 'n0' has a target without tokens"):
        weighed_new((replace(rows[0], target=""),), recording, None, silent)


def test_rank_and_check_go_by_the_tokens_of_new_rows(space: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a row does in place of the average one grows with its tokens, for both take as much of a batch."""
    new = space / "more.jsonl"
    by_tokens, together = gptfl.rank(new=new, workspace=space), gptfl.check(new, workspace=space)
    note = "tokens aren't told"
    monkeypatch.setattr(new_weights, "weighed_new", lambda rows, *_: (rows, (note,)))
    alike, other = gptfl.rank(new=new, workspace=space), gptfl.check(new, workspace=space)
    for one, unknown in ((by_tokens, alike), (together, other)):
        assert note not in one.notes
        assert note in unknown.notes
    source = open_fitted(None, None, space, None, None)
    worth = average_worth(source, np.arange(len(source.scope.test))).value
    pool = weights_of(source.recording.dynamics.pool)
    relative = pool[:6] / pool.mean()
    ours, theirs = (one.rankings[0].influence - worth for one in (by_tokens, alike))
    assert np.abs(theirs).max() > 0
    np.testing.assert_allclose(ours, relative * theirs, rtol=1e-5, atol=1e-9 * np.abs(theirs).max())
    assert together.additions[0].influence != pytest.approx(other.additions[0].influence, rel=1e-6)


def test_simulations_count_them_too(space: Path) -> None:
    source = open_fitted(None, None, space, None, None)
    registry, metric = source.recording.registry, source.metric
    rows = read_new_examples(space / "more.jsonl", None, source.recording.dynamics, metric, registry)
    asked = with_new_examples(source, rows, None, None)
    assert [one.weight for one in asked.new.pool] == [one.weight for one in source.recording.dynamics.pool[:6]]
    assert asked.scope.pool[-6:] == asked.new.pool
