import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

import gptfl as package
from gptfl.plugins.registry import Registry, build, using
from gptfl.store.features import write_features
from gptfl.store.recordings import write_dynamics
from tests import ranking_estimators
from tests.cli.test_errors import refuses
from tests.synthetic import synthetic

DYNAMICS, FEATURES = synthetic(runs=10, pool=14, test=5, subset=6, batch_size=3, steps=8, every=2)


def use_kin() -> AbstractContextManager[Registry]:
    return using(build([ranking_estimators]))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    write_dynamics(folder / "made.dynamics.h5", DYNAMICS)
    write_features(folder / "made.synthetic.features.h5", FEATURES)
    with use_kin():
        package.fit("bayes", workspace=folder)
    return folder


@pytest.fixture
def space(made: Path, tmp_path: Path) -> Iterator[Path]:
    with use_kin():
        yield Path(shutil.copytree(made, tmp_path, dirs_exist_ok=True))


def test_what_is_selected_is_shown_and_simulated(gptfl: Callable, space: Path) -> None:
    call = ("select", "-w", str(space), "--size", "6", "--max-share-per-class", "0.5", "--diversity", "0.5")
    shown = gptfl(*call, "--cautious", "1", "--top", "2")
    assert shown.code == 0, shown.err
    lines = [line.strip() for line in shown.out.splitlines()]
    assert lines[0] == (
        "6 of 14 training examples selected for the mean of all 5 test examples, by bayes (--how closed-form)"
    )
    assert [line.split()[0] for line in lines[1:4]] == ["predicted", "90%", "average"]
    assert "the 2 of highest influence, of 6 (--top 6 shows all)" in lines
    assert "note: the predicted change is optimistic" in shown.err
    assert "classes" in shown.out
    assert "class0 3" in shown.out
    ids = space / "made.bayes.loss.mean.6.ids.txt"
    assert f"ids: {ids}" in lines
    assert lines[-1] == f"next: gptfl verify --subset {ids}"
    assert "trust in bayes" in shown.err
    document = json.loads(gptfl(*call, "--json").out)
    assert (document["size"], document["max_share"], document["diversity"], len(document["examples"])) == (
        6,
        0.5,
        0.5,
        6,
    )
    simulated = gptfl("simulate", "-w", str(space), "--subset", str(ids))
    assert simulated.code == 0, simulated.err
    assert simulated.out.splitlines()[-1] == f"next: gptfl verify --subset {ids}"


@pytest.mark.parametrize(
    ("arguments", "code", "pieces"),
    [
        (("--size", "0"), 2, ("--size is 0", "from 1 to the size of the pool")),
        (("--size", "six"), 2, ("'six'",)),
        (("--size", "4", "--top", "0"), 2, ("--top is 0",)),
        (("--size", "4", "--how", "foo"), 2, ("--how 'foo' is unknown",)),
        (("--size", "4", "--on", "slef"), 2, ("--on 'slef' is unknown",)),
        (("--size", "4", "--diversity", "-2"), 2, ("--diversity is -2",)),
        (("--size", "5", "--max-share-per-class", "0.5"), 2, ("--max-share-per-class 0.5 leaves 4 of the --size 5",)),
        (("--size", "4", "--estimator", "byes"), 3, ("no simulator of estimator byes",)),
        (("--size", "4", "--output", "ids.h5"), 2, ("ids.h5 is not a .txt file",)),
    ],
)
def test_bad_input_is_one_line(
    gptfl: Callable, space: Path, arguments: tuple[str, ...], code: int, pieces: tuple[str, ...]
) -> None:
    refuses(gptfl("select", "-w", str(space), *arguments), code, *pieces)
