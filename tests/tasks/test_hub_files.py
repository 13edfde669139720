import subprocess
import sys

import pytest

from gptfl.errors import DataError, ResourceError
from gptfl.tasks import BoolQ, CnnDailyMail, Rte, Sst2, WebNlg, Wmt16DeEn
from gptfl.tasks.classification import GLUE, GLUE_REVISION
from gptfl.tasks.hub_files import HubFile, read_parquet
from tests.hub import add_file, add_parquet, add_rte, offline_environment, use_cache


def test_rte_comes_from_the_cache_in_a_process_of_its_own(tmp_path):
    add_rte(tmp_path)
    code = "from gptfl.tasks import Rte; print(len(Rte().load(40, 24, 0).pool))"
    environment = {**offline_environment(tmp_path), "PATH": "", "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "40\n", "")


@pytest.mark.parametrize("task", [Rte, Sst2, BoolQ, WebNlg, Wmt16DeEn, CnnDailyMail])
def test_without_cache_and_network_it_says_what_to_pass_instead(tmp_path, monkeypatch, task):
    use_cache(monkeypatch, tmp_path)
    with pytest.raises(
        ResourceError, match=f"--task {task.name}: .* not in the cache, and HF_HUB_OFFLINE is set"
    ) as caught:
        task().load(10, 10, 0)
    assert "pass --data DIR with train.jsonl and test.jsonl" in caught.value.remedy


def test_a_damaged_or_foreign_parquet_file(tmp_path, monkeypatch):
    use_cache(monkeypatch, tmp_path)
    add_file(tmp_path, GLUE, GLUE_REVISION, "rte/train-00000-of-00001.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(DataError, match="not a readable Parquet file"):
        Rte().load(1, 1, 0)
    add_parquet(tmp_path, GLUE, GLUE_REVISION, "rte/train-00000-of-00001.parquet", [{"sentence1": "a"}])
    with pytest.raises(DataError, match="lacks the column 'sentence2'"):
        Rte().load(1, 1, 0)


def test_rows_know_their_place_and_where_they_came_from(tmp_path, monkeypatch):
    use_cache(monkeypatch, tmp_path)
    commit = "a" * 40
    add_parquet(tmp_path, "me/own", commit, "b.parquet", [{"x": 1, "y": "é"}, {"x": None, "y": ""}], ref="main")
    file = HubFile("me/own", "main", "b.parquet", ("y",))
    rows, source = read_parquet(file, "mine", "y")
    assert source == f"me/own@{commit}"
    assert [row.values for row in rows] == [{"y": "é"}, {"y": ""}]
    assert [row.place for row in rows] == ["me/own/b.parquet, row 0", "me/own/b.parquet, row 1"]
