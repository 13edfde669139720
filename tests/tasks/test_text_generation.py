"""WebNLG, WMT16 and CNN/Daily Mail: the examples of their rows, local ones and the Hub's."""

import pytest

from gptfl.errors import DataError
from gptfl.tasks import CnnDailyMail, WebNlg, Wmt16DeEn
from gptfl.tasks.text_generation import CNN, CNN_REVISION, WEBNLG, WMT16, WMT16_REVISION, linearise
from tests.hub import add_parquet, use_cache
from tests.tasks.task_files import FACTS, add_both, write_splits


def test_webnlg_keeps_every_reference(tmp_path):
    (example,) = WebNlg(write_splits(tmp_path / "d", [FACTS])).load(1, 1, 0).test
    assert example.fields["references"] == FACTS["references"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"triples": []}, "not a list of triples"),
        ({"triples": [["a", "b"]]}, "item 0 is"),
        ({"triples": [["a", "b", 3]]}, "item 0 is 3, not a text"),
        ({"references": []}, "not a list of texts"),
        ({"references": [""]}, "field 'references', item 0 is empty"),
    ],
)
def test_webnlg_says_what_is_wrong_with_a_row(tmp_path, change, problem):
    with pytest.raises(DataError, match=problem):
        WebNlg(write_splits(tmp_path / "d", [{**FACTS, **change}])).load(1, 1, 0)


COMMIT = "1" * 40


def test_webnlg_rows_of_one_set_of_facts_are_gathered(tmp_path, monkeypatch):
    use_cache(monkeypatch, tmp_path)
    facts, other = ["Old_Mill | builtBy | Emil"], ["Old_Mill | colour | red"]
    rows = [
        {"input": facts, "target": "Emil built it.", "references": [], "category": "Building"},
        {"input": facts, "target": "It was built by Emil.", "references": ["Emil built it."], "category": "Building"},
        {"input": other, "target": "It is red.", "references": [], "category": "Building"},
    ]
    add_both(tmp_path, WEBNLG, COMMIT, ["en/train/0000.parquet", "en/test/0000.parquet"], rows, "refs/convert/parquet")
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
    add_both(tmp_path, WMT16, WMT16_REVISION, paths, rows)
    assert Wmt16DeEn().load(1, 1, 0).pool[0].target == " Good day"


def test_cnn_dailymail_takes_the_validation_split_for_its_pool(tmp_path, monkeypatch):
    use_cache(monkeypatch, tmp_path)
    for name, id in (("validation", "aa"), ("test", "bb")):
        rows = [{"article": "It rained.\nAll day.", "highlights": "Rain .", "id": id}]
        add_parquet(tmp_path, CNN, CNN_REVISION, f"3.0.0/{name}-00000-of-00001.parquet", rows)
    loaded = CnnDailyMail().load(1, 1, 0)
    assert (loaded.pool[0].id, loaded.test[0].id, loaded.source) == ("aa", "bb", f"{CNN}@{CNN_REVISION}")
    assert loaded.pool[0].target == " Rain ."


def test_triples_are_lines_of_words():
    triples = [["Old_Mill", "builtBy", '"Emil  Strand"'], ["Åre", "elevationAboveSeaLevel_(m)", "372"]]
    assert linearise(triples) == "- Old Mill | built by | Emil Strand\n- Åre | elevation above sea level (m) | 372"
    assert linearise([]) == ""
