"""Ranking rows of a file that were never recorded."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import gptfl
from gptfl.errors import DataError, UsageError
from gptfl.report.ranking import to_json

ROWS = [
    {"id": "again", "prompt": "Question train 3:", "target": " class1"},
    {"prompt": "Question train 4:", "target": " class0"},
    {"prompt": "elsewhere altogether", "target": " nowhere"},
]


@pytest.fixture(scope="module")
def made_words(made_space: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(shutil.copytree(made_space, tmp_path_factory.mktemp("words"), dirs_exist_ok=True))
    features = gptfl.featurize("tfidf-svd", workspace=folder, settings={"dims": 4})
    gptfl.fit("exposure-gp", workspace=folder, features=features.path)
    return folder


@pytest.fixture
def words(made_words: Path, tmp_path: Path) -> Path:
    """A workspace whose simulator goes by words, with a file of new rows."""
    space = Path(shutil.copytree(made_words, tmp_path / "words"))
    (space / "new.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return space


def test_new_rows_are_ranked_with_intervals_and_verdicts(words: Path, tmp_path: Path) -> None:
    table = tmp_path / "new.csv"
    found = gptfl.rank(new=words / "new.jsonl", workspace=words, output=table)
    (ranking,) = found.rankings
    assert [one.id for one in found.pool] == ["again", "new-1", "new-2"]
    assert ranking.how == "add"
    assert (ranking.low < ranking.influence).all()
    assert (ranking.influence < ranking.high).all()
    assert ranking.verdicts.more_runs is None
    assert ranking.meaning.startswith(
        "Positive, for the mean of all 8 test examples: with a new row added to the pool loss at step 18 is so much lower "
        "than without it"
    )
    assert found.flipped is None
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["id"] for row in rows] == [found.pool[place].id for place in ranking.order]
    document = json.loads(to_json(found, 1))
    assert document["new"] == str(words / "new.jsonl")
    assert len(document["rankings"][0]["examples"]) == 1


def test_they_add_up_to_what_check_tells_of_all_of_them(words: Path) -> None:
    found = gptfl.rank(new=words / "new.jsonl", workspace=words)
    together = gptfl.check(words / "new.jsonl", workspace=words).additions[0]
    # Rows together are judged by the test examples' own signal, single ones by that of their mean: both shrink a little.
    assert together.low < float(np.sum(found.rankings[0].influence)) < together.high


def test_who_can_not_tell_is_refused(words: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.jsonl"):
        gptfl.rank(new=words / "absent.jsonl", workspace=words)
    with pytest.raises(UsageError, match="--keep and --new were given together"):
        gptfl.rank(new=words / "new.jsonl", workspace=words, keep="test:a")
    gptfl.fit("mean-run", workspace=words)
    with pytest.raises(DataError, match=r"mean-run can't tell what new rows do .*: name a simulator of another"):
        gptfl.rank(new=words / "new.jsonl", workspace=words)
