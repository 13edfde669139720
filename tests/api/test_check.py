"""What new rows would do, asked from Python."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import gptfl
from gptfl.errors import DataError, UsageError


@pytest.fixture(scope="module")
def made_words(made_space: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``words`` is a copy of."""
    folder = Path(shutil.copytree(made_space, tmp_path_factory.mktemp("words"), dirs_exist_ok=True))
    features = gptfl.featurize("tfidf-svd", workspace=folder, settings={"dims": 4})
    gptfl.fit("exposure-gp", workspace=folder, features=features.path)
    return folder


@pytest.fixture
def words(made_words: Path, tmp_path: Path) -> Path:
    """A workspace whose simulator goes by words, so that new rows can be embedded."""
    return Path(shutil.copytree(made_words, tmp_path / "words"))


def rows_of(path: Path, *rows: dict[str, str]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_new_rows_are_counted_and_told_of_with_an_interval(words: Path, tmp_path: Path) -> None:
    new = [{"prompt": f"Question train {place} – wörtlich:", "target": " class0"} for place in range(3)]
    page = tmp_path / "page.md"
    steps: list[tuple] = []
    found = gptfl.check(
        rows_of(tmp_path / "new.jsonl", *new), workspace=words, output=page, progress=lambda *one: steps.append(one)
    )
    assert (found.rows, found.estimator, found.metric.name, found.step) == (3, "exposure-gp", "loss", 18)
    (all_tests,) = found.additions
    assert all_tests.tests == 8
    assert all_tests.low < all_tests.influence < all_tests.high
    assert found.output == page
    assert "3 new rows" in page.read_text(encoding="utf-8")
    assert found.notes[-1].startswith("trust in exposure-gp: ")
    again = gptfl.check(tmp_path / "new.jsonl", workspace=words)
    assert again.output is None
    np.testing.assert_allclose(again.additions[0].influence, all_tests.influence)


def test_by_class_each_group_of_test_examples_has_its_own(words: Path, tmp_path: Path) -> None:
    new = rows_of(tmp_path / "new.jsonl", {"prompt": "Question train 1:", "target": " class1"})
    found = gptfl.check(new, workspace=words, by="class")
    assert [one.tests for one in found.additions] == [8, 4, 4]
    whole, *each = (one.influence for one in found.additions)
    assert min(each) < whole < max(each)


def test_what_can_not_be_checked_is_refused_before_any_work(words: Path, tmp_path: Path) -> None:
    new = rows_of(tmp_path / "new.jsonl", {"prompt": "a", "target": "b"})
    with pytest.raises(UsageError, match=r"a\.txt is no Markdown page"):
        gptfl.check(tmp_path / "absent.jsonl", workspace=words, output="a.txt")
    with pytest.raises(DataError, match="--by source: no test example has it"):
        gptfl.check(new, workspace=words, by="source")
    with pytest.raises(DataError, match=r"absent\.jsonl"):
        gptfl.check(tmp_path / "absent.jsonl", workspace=words)
    gptfl.fit("mean-run", workspace=words)
    with pytest.raises(DataError, match="mean-run"):
        gptfl.check(new, workspace=words)
