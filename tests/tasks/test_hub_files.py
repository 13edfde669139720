import subprocess
import sys

import pytest

from gptfl.errors import DataError, ResourceError
from gptfl.tasks import BoolQ, CnnDailyMail, Rte, Sst2, WebNlg, Wmt16DeEn
from gptfl.tasks.classification import BOOLQ, BOOLQ_REVISION, GLUE, GLUE_REVISION
from gptfl.tasks.text_generation import CNN, CNN_REVISION, WEBNLG, WMT16, WMT16_REVISION
from tests.hub import add_file, add_parquet, add_rte, offline_environment, use_cache

COMMIT = "1" * 40


def both(home, repo, revision, paths, rows, ref=""):
    for path in paths:
        add_parquet(home, repo, revision, path, rows, ref)


def test_rte_comes_from_the_cache(tmp_path, monkeypatch):
    add_rte(tmp_path)
    use_cache(monkeypatch, tmp_path)
    loaded = Rte().load(30, 20, 0)
    assert loaded.source == f"{GLUE}@{GLUE_REVISION}"
    example = next(e for e in loaded.pool if e.id == "2")
    assert example.prompt.startswith("Text: On day 2 of the fair Tilda sold ribbons")
    assert (example.target, example.label) == (" yes", 0)
    assert {e.id for e in loaded.test} <= {str(i) for i in range(500, 524)}
    with pytest.raises(DataError, match=r"--pool 41 is more than the 40 examples of nyu-mll/glue/rte/train"):
        Rte().load(41, 1, 0)


def test_rte_comes_from_the_cache_in_a_process_of_its_own(tmp_path):
    add_rte(tmp_path)
    code = "from gptfl.tasks import Rte; print(len(Rte().load(40, 24, 0).pool))"
    environment = {**offline_environment(tmp_path), "PATH": "", "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "40\n", "")


def test_sst2_and_boolq_rows(tmp_path, monkeypatch):
    use_cache(monkeypatch, tmp_path)
    names = ("train-00000-of-00001.parquet", "validation-00000-of-00001.parquet")
    rows = [{"sentence": f"film {i} is fine ", "label": 1, "idx": i} for i in range(3)]
    both(tmp_path, GLUE, GLUE_REVISION, [f"sst2/{n}" for n in names], rows)
    assert {e.target for e in Sst2().load(3, 3, 0).test} == {" positive"}
    rows = [{"question": "is it so", "answer": bool(i), "passage": f"Passage {i}."} for i in range(2)]
    both(tmp_path, BOOLQ, BOOLQ_REVISION, [f"data/{n}" for n in names], rows)
    assert {(e.id, e.target) for e in BoolQ().load(None, None, 0).pool} == {("0", " no"), ("1", " yes")}


def test_webnlg_rows_of_one_set_of_facts_are_gathered(tmp_path, monkeypatch):
    use_cache(monkeypatch, tmp_path)
    facts, other = ["Old_Mill | builtBy | Emil"], ["Old_Mill | colour | red"]
    rows = [
        {"input": facts, "target": "Emil built it.", "references": [], "category": "Building"},
        {"input": facts, "target": "It was built by Emil.", "references": ["Emil built it."], "category": "Building"},
        {"input": other, "target": "It is red.", "references": [], "category": "Building"},
    ]
    both(tmp_path, WEBNLG, COMMIT, ["en/train/0000.parquet", "en/test/0000.parquet"], rows, "refs/convert/parquet")
    loaded = WebNlg().load(None, None, 0)
    assert loaded.source == f"{WEBNLG}@{COMMIT}"
    assert {tuple(e.fields["references"]) for e in loaded.pool} == {
        ("Emil built it.", "It was built by Emil."),
        ("It is red.",),
    }


def test_wmt16_takes_news_tests(tmp_path, monkeypatch):
    use_cache(monkeypatch, tmp_path)
    rows = [{"translation": {"de": "Guten Tag", "en": "Good day"}}]
    paths = ["de-en/validation-00000-of-00001.parquet", "de-en/test-00000-of-00001.parquet"]
    both(tmp_path, WMT16, WMT16_REVISION, paths, rows)
    assert Wmt16DeEn().load(1, 1, 0).pool[0].target == " Good day"


def test_cnn_dailymail_takes_the_validation_split_for_its_pool(tmp_path, monkeypatch):
    use_cache(monkeypatch, tmp_path)
    for name, id in (("validation", "aa"), ("test", "bb")):
        rows = [{"article": "It rained.\nAll day.", "highlights": "Rain .", "id": id}]
        add_parquet(tmp_path, CNN, CNN_REVISION, f"3.0.0/{name}-00000-of-00001.parquet", rows)
    loaded = CnnDailyMail().load(1, 1, 0)
    assert (loaded.pool[0].id, loaded.test[0].id, loaded.source) == ("aa", "bb", f"{CNN}@{CNN_REVISION}")
    assert loaded.pool[0].target == " Rain ."


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
