"""Vectors of many examples are made in blocks; what was done before a kill isn't done again, and the file is the same."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gptfl.core import Dynamics, Features
from gptfl.errors import DataError
from gptfl.features import block_work
from gptfl.features.block_work import cut
from gptfl.features.featurize import featurize
from gptfl.interruption import left_by
from gptfl.plugins.registry import get_registry
from gptfl.store import features as stored
from gptfl.store.features import read_feature_rows
from gptfl.store.recordings import write_dynamics
from tests.features.slow_encoder import Slow
from tests.synthetic import synthetic
from tests.zygote import Popen

ROWS = 5
PLACES = np.arange(4), np.arange(3)


def sizes(*given: int) -> list[np.ndarray]:
    return [np.array(given[:4]), np.array(given[4:])]


def test_blocks_have_so_many_examples_and_characters_and_all_are_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_work, "ROWS", 3)
    monkeypatch.setattr(block_work, "CHARACTERS", 10)

    def places(*given: int) -> list[list[list[int]]]:
        return [[part.tolist() for part in block] for block in cut(PLACES, sizes(*given))]

    assert places(1, 1, 1, 1, 1, 1, 1) == [[[0, 1, 2], []], [[3], [0, 1]], [[], [2]]]
    # One that is longer than a block makes up one by itself.
    assert places(6, 5, 99, 0, 10, 1, 1) == [[[0], []], [[1], []], [[2], []], [[3], [0]], [[], [1, 2]]]
    assert [[part.tolist() for part in one] for one in cut([np.array([2]), np.array([], int)], sizes(*7 * [1]))] == [
        [[2], []]
    ]


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Room for a recording of 24 and 8 examples and an encoder that is asked for five at a time."""
    dynamics, _ = synthetic(4)
    write_dynamics(tmp_path / "a.dynamics.h5", dynamics)
    monkeypatch.setattr(block_work, "ROWS", ROWS)
    registry = get_registry()
    part = replace(registry.find("encoder", "tfidf-svd"), name="slow", factory=Slow)
    monkeypatch.setitem(registry.parts, ("encoder", "slow"), [part])
    Slow.asked, Slow.stop = [], lambda: None
    return tmp_path


def contents(path: Path) -> tuple[object, ...]:
    features, *keys = read_feature_rows(path)
    return features.fingerprint, dict(features.identity), keys


def whole(space: Path) -> tuple[object, ...]:
    """What a call without an interruption makes."""
    result = featurize("slow", workspace=space, output=space / "whole" / "whole.h5")
    found = contents(result.path)
    result.path.unlink()
    Slow.asked = []
    return found


def interrupted(after: int) -> Callable[[], None]:
    def stop() -> None:
        if len(Slow.asked) > after:
            raise KeyboardInterrupt

    return stop


def test_vectors_made_in_blocks_are_those_of_each_example(space: Path) -> None:
    told: list[tuple[str, int, int]] = []
    result = featurize("slow", workspace=space, progress=lambda *one: told.append(one[:3]))
    features = read_feature_rows(result.path)[0]
    dynamics, _ = synthetic(4)
    assert [len(pool) + len(test) for pool, test in Slow.asked] == [6, 6, 6, 6, 5, 6, 3]
    for side, examples in (("train", dynamics.pool), ("test", dynamics.test)):
        np.testing.assert_array_equal(getattr(features.sets["text"], side), Slow.vectors(examples))
    assert (result.embedded, result.reused, features.seconds is not None) == (32, 0, True)
    assert {one[2] for one in told} == {32}
    counts = [done for _, done, _ in told]
    assert counts == sorted(counts)
    assert counts[-1] == 32
    assert sorted(path.name for path in space.iterdir() if not path.name.startswith(".")) == [
        "a.dynamics.h5",
        "a.slow.features.h5",
    ]


def test_what_was_interrupted_goes_on_where_it_was(space: Path) -> None:
    expected = whole(space)
    Slow.stop = interrupted(3)
    with pytest.raises(KeyboardInterrupt) as caught:
        featurize("slow", workspace=space)
    assert left_by(caught.value) == "the vectors of 15 of 32 examples are kept, the same command goes on from there"
    assert not (space / "a.slow.features.h5").exists()
    Slow.asked, Slow.stop = [], lambda: None
    told: list[tuple[object, ...]] = []
    result = featurize("slow", workspace=space, progress=lambda *one: told.append(one))
    assert told[0][:3] == ("featurize", 15, 32)
    assert len(Slow.asked) == 4
    assert "15 of 32 examples were embedded before, by a command that was interrupted" in result.notes
    assert contents(result.path) == expected
    assert read_feature_rows(result.path)[0].seconds is not None
    assert not list(space.glob("*.blocks-*"))


def test_an_interruption_in_the_first_block_leaves_nothing(space: Path) -> None:
    Slow.stop = interrupted(0)
    with pytest.raises(KeyboardInterrupt) as caught:
        featurize("slow", workspace=space)
    assert left_by(caught.value) == "no vectors were kept, the same command begins anew"
    assert not list(space.glob("*.blocks-*"))


KILLED = """
import sys
from dataclasses import replace
from gptfl.features import block_work
from gptfl.features.featurize import featurize
from gptfl.plugins.registry import get_registry
from tests.features.slow_encoder import Slow

def stop():
    print(len(Slow.asked), flush=True)
    sys.stdin.readline()

Slow.stop, block_work.ROWS = stop, int(sys.argv[2])
registry = get_registry()
registry.parts["encoder", "slow"] = [replace(registry.find("encoder", "tfidf-svd"), name="slow", factory=Slow)]
featurize("slow", workspace=sys.argv[1])
"""


def test_a_kill_loses_the_block_that_was_made(space: Path, copied: type[Popen]) -> None:
    expected = whole(space)
    for kept in (2, 4):  # blocks that are there in the end: two more each time
        child = copied(
            [sys.executable, "-c", KILLED, str(space), str(ROWS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert child.stdin is not None
        assert child.stdout is not None
        for _ in range(2):
            child.stdout.readline()
            print(file=child.stdin, flush=True)
        assert child.stdout.readline().strip() == "3"
        child.kill()
        child.communicate()
        (folder,) = space.glob("*.blocks-*")
        assert len(list(folder.glob("block-*.h5"))) == kept
    result = featurize("slow", workspace=space)
    assert len(Slow.asked) == 3
    assert contents(result.path) == expected
    assert not list(space.glob("*.blocks-*"))


def test_other_settings_begin_anew_and_leave_what_was_begun(space: Path) -> None:
    Slow.stop = interrupted(3)
    with pytest.raises(KeyboardInterrupt):
        featurize("slow", workspace=space)
    Slow.asked, Slow.stop = [], lambda: None
    result = featurize("slow", workspace=space, settings={"scale": 2})
    assert len(Slow.asked) == 7
    (note,) = [note for note in result.notes if "blocks-" in note]
    assert "is left of an interrupted gptfl featurize of other examples or settings" in note
    Slow.asked = []
    featurize("slow", workspace=space)
    assert len(Slow.asked) == 4


def test_other_examples_begin_anew(space: Path) -> None:
    Slow.stop = interrupted(3)
    with pytest.raises(KeyboardInterrupt):
        featurize("slow", workspace=space)
    Slow.asked, Slow.stop = [], lambda: None
    dynamics, _ = synthetic(4)
    changed = replace(dynamics.pool[0], prompt="other words", digest="")
    (space / "a.dynamics.h5").unlink()
    write_dynamics(space / "a.dynamics.h5", Dynamics((changed, *dynamics.pool[1:]), dynamics.test, {}, (), {}))
    features: Features = read_feature_rows(featurize("slow", workspace=space).path)[0]
    np.testing.assert_array_equal(features.sets["text"].train, Slow.vectors((changed, *dynamics.pool[1:])))
    assert len(Slow.asked) == 7


def test_a_damaged_block_is_made_again_and_named(space: Path) -> None:
    expected = whole(space)
    Slow.stop = interrupted(3)
    with pytest.raises(KeyboardInterrupt):
        featurize("slow", workspace=space)
    Slow.asked, Slow.stop = [], lambda: None
    (path,) = space.glob("*.blocks-*/block-000001.h5")
    path.write_bytes(path.read_bytes()[:-9])
    result = featurize("slow", workspace=space)
    assert len(Slow.asked) == 5
    assert any(note.startswith("a block of vectors is made again: ") for note in result.notes)
    assert contents(result.path) == expected


def test_many_vectors_go_from_the_blocks_to_the_file_some_at_a_time(
    space: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = whole(space)
    monkeypatch.setattr(stored, "LARGE", 1)
    result = featurize("slow", workspace=space)
    features = read_feature_rows(result.path)[0]
    assert features.in_blocks
    assert contents(result.path) == expected
    assert featurize("slow", workspace=space).reused == 32


def test_a_block_that_vanishes_meanwhile_is_told(space: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "LARGE", 1)

    def stop() -> None:
        if len(Slow.asked) == 7:
            (path,) = space.glob("*.blocks-*/block-000001.h5")
            path.unlink()

    Slow.stop = stop
    with pytest.raises(DataError, match=r"block-000001\.h5"):
        featurize("slow", workspace=space)
