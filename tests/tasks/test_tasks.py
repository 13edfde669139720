import json
from pathlib import Path

import pytest

from gptfl.errors import DataError, UsageError
from gptfl.plugins.registry import get_registry
from gptfl.tasks import BoolQ, JsonLines, Rte, Sst2, WebNlg, Wmt16DeEn, local_files
from gptfl.testing import check_task

RTE = {"premise": "Nora sold  pears.\n", "hypothesis": "Nora sold fruit.", "label": 0}
WEBNLG = {"triples": [["Old_Mill", "builtBy", '"Emil Strand"']], "references": ["Emil built it.", "It is Emil's."]}


def write(folder: Path, train, test=None) -> Path:
    folder.mkdir(exist_ok=True)
    for name, rows in (("train", train), ("test", train if test is None else test)):
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def numbered(count):
    return [{**RTE, "id": i, "premise": f"Nora sold {i} pears."} for i in range(count)]


@pytest.mark.parametrize(
    ("task", "row", "prompt_end", "target", "choices", "label"),
    [
        (Rte, RTE, "Claim: Nora sold fruit.\nDoes the claim follow from the text?", " yes", (" yes", " no"), 0),
        (
            Sst2,
            {"sentence": "a joy ", "label": 1},
            "opinion of the film is",
            " positive",
            (" negative", " positive"),
            1,
        ),
        (
            BoolQ,
            {"question": "is it?", "passage": "p", "label": 0},
            "p\nQuestion: is it?\nAnswer:",
            " no",
            (" no", " yes"),
            0,
        ),
        (WebNlg, WEBNLG, "- Old Mill | built by | Emil Strand\nThe same in plain words:", " Emil built it.", (), None),
        (Wmt16DeEn, {"de": "Guten Tag", "en": "Good day"}, "German: Guten Tag\nEnglish:", " Good day", (), None),
    ],
)
def test_a_row_becomes_an_example(tmp_path, task, row, prompt_end, target, choices, label):
    (example,) = task(write(tmp_path / "d", [row])).load(None, None, 0).pool
    assert example.prompt.endswith(prompt_end)
    assert not example.prompt.endswith(" ")
    assert (example.id, example.target, example.choices, example.label) == ("0", target, choices, label)


def test_webnlg_keeps_every_reference(tmp_path):
    (example,) = WebNlg(write(tmp_path / "d", [WEBNLG])).load(1, 1, 0).test
    assert example.fields["references"] == WEBNLG["references"]


def test_a_larger_pool_extends_a_smaller_one_and_the_seed_decides(tmp_path):
    task = Rte(write(tmp_path / "d", numbered(30)))
    small, large, whole = (task.load(count, 5, 7).pool for count in (8, 20, None))
    assert large[:8] == small
    assert whole[:20] == large
    assert len(whole) == 30
    assert task.load(8, 5, 7).pool == small
    assert task.load(8, 5, 8).pool != small


def test_asking_for_too_many_names_the_flag_and_the_number(tmp_path):
    task = Rte(write(tmp_path / "d", numbered(5), numbered(3)))
    with pytest.raises(DataError, match=r"--pool 6 is more than the 5 examples .*use --pool 5 or fewer"):
        task.load(6, 1, 0)
    with pytest.raises(DataError, match=r"--test 4 is more than the 3 examples"):
        task.load(2, 4, 0)
    with pytest.raises(UsageError, match="--pool 0"):
        task.load(0, 1, 0)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"premise": "a", "hypothesis"', r"line 2 is no JSON \(.*, column 30\)"),
        ("[1, 2]", r"line 2 is \[1, 2\], not an object"),
        ("[" * 100_000, "line 2 is nested too deeply"),
        ('{"premise": "a", "hypothesis": "b", "label": NaN}', "line 2 holds NaN, which is no number"),
        ('{"premise": "a", "hypothesis": "b"}', "line 2: field 'label' is missing"),
        (
            '{"premise": "a", "hypothesis": "b", "label": 2}',
            "line 2: field 'label' is 2, not a whole number from 0 to 1",
        ),
        ('{"premise": "a", "hypothesis": "b", "label": "1"}', "field 'label' is '1'"),
        ('{"premise": 3, "hypothesis": "b", "label": 1}', "field 'premise' is 3, not a text"),
        ('{"premise": " ", "hypothesis": "b", "label": 1}', "field 'premise' is empty"),
        ('{"premise": "\\ud800", "hypothesis": "b", "label": 1}', "line 2 holds half a character"),
        ('{"premise": "a", "hypothesis": "b", "label": 1, "x": ["\\ud800"]}', "line 2 holds half a character"),
        ('{"id": 0, "premise": "a", "hypothesis": "b", "label": 1}', r"line 2: id '0' was used before, at .*line 1"),
        ('{"id": "a\\nb", "premise": "a", "hypothesis": "b", "label": 1}', "which holds a control character"),
        ('{"id": 1.5, "premise": "a", "hypothesis": "b", "label": 1}', "field 'id' is 1.5, not a text"),
    ],
)
def test_a_bad_line_is_reported_with_its_place_and_what_was_expected(tmp_path, line, problem):
    folder = write(tmp_path / "d", [{**RTE, "id": 0}, line])
    with pytest.raises(DataError, match=problem) as caught:
        Rte(folder).load(1, 1, 0)
    assert "train.jsonl, line 2" in str(caught.value)
    assert "\n" not in str(caught.value)
    expected = ("premise, hypothesis (texts) and label", "give every row an id of its own", "an id is a text without")
    assert any(one in caught.value.remedy for one in expected)


def test_a_line_that_is_no_utf8(tmp_path):
    folder = write(tmp_path / "d", [RTE])
    (folder / "test.jsonl").write_bytes(json.dumps(RTE).encode() + b'\n{"premise": "caf\xe9"}\n')
    with pytest.raises(DataError, match=r"test.jsonl, line 2 is not UTF-8 text \(byte 17\)"):
        Rte(folder).load(1, 1, 0)


def test_limits_keep_memory_bounded(tmp_path, monkeypatch):
    folder = write(tmp_path / "d", numbered(4))
    monkeypatch.setattr(local_files, "MAX_ROWS", 3)
    with pytest.raises(DataError, match=r"train\.jsonl has more than 3 lines"):
        Rte(folder).load(1, 1, 0)
    monkeypatch.setattr(local_files, "MAX_ROWS", 4)
    monkeypatch.setattr(local_files, "MAX_LINE_BYTES", 20)
    with pytest.raises(DataError, match="line 1 is longer than 20 bytes"):
        Rte(folder).load(1, 1, 0)
    monkeypatch.setattr(local_files, "MAX_FILE_BYTES", 100)
    with pytest.raises(DataError, match="is larger than 100 bytes"):
        Rte(folder).load(1, 1, 0)


def test_blank_lines_and_a_byte_order_mark_are_harmless(tmp_path):
    folder = write(tmp_path / "d", [RTE])
    (folder / "train.jsonl").write_bytes(b"\xef\xbb\xbf" + json.dumps(RTE).encode() + b"\r\n\r\n")
    assert len(Rte(folder).load(None, None, 0).pool) == 1


def test_a_data_folder_that_is_not_one(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        Rte(tmp_path / "nowhere").load(1, 1, 0)
    file = write(tmp_path / "d", [RTE]) / "train.jsonl"
    with pytest.raises(DataError, match="is not a folder"):
        Rte(file).load(1, 1, 0)
    (tmp_path / "d" / "test.jsonl").unlink()
    with pytest.raises(DataError, match=r"holds no test\.jsonl"):
        Rte(tmp_path / "d").load(1, 1, 0)
    (tmp_path / "d" / "test.jsonl").touch()
    with pytest.raises(DataError, match=r"test\.jsonl holds no examples"):
        Rte(tmp_path / "d").load(1, 1, 0)


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
        WebNlg(write(tmp_path / "d", [{**WEBNLG, **change}])).load(1, 1, 0)


def test_json_lines_are_taken_as_they_are(tmp_path):
    rows = [
        {"id": "x", "prompt": "One  plus one\n", "target": "two", "topic": "sums"},
        {"prompt": "p", "target": " b", "choices": [" a", " b"]},
        {"prompt": "p", "target": " a", "choices": [" a", " b"], "label": 0},
        {"prompt": "", "target": "A plain text."},
        {"prompt": " \n", "target": "\nt"},
        {"id": None, "prompt": "p", "target": "t"},
        {"id": "", "prompt": "p", "target": "t"},
    ]
    examples = {e.id: e for e in JsonLines(write(tmp_path / "d", rows)).load(None, None, 0).pool}
    assert (examples["x"].text, examples["x"].label, examples["x"].fields) == (
        "One  plus one\ntwo",
        None,
        {"topic": "sums"},
    )
    assert (examples["1"].label, examples["2"].label) == (1, 0)
    assert [(examples[id].prompt, examples[id].target) for id in "34"] == [("", "A plain text."), (" \n", "\nt")]
    assert {"5", "6"} <= examples.keys()


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"prompt": "p"}, "field 'target' is missing"),
        ({"target": "t"}, "field 'prompt' is missing"),
        ({"prompt": None, "target": "t"}, "field 'prompt' is None, not a text"),
        ({"prompt": 3, "target": "t"}, "field 'prompt' is 3, not a text"),
        ({"prompt": "p", "target": ""}, "field 'target' is empty"),
        ({"prompt": "p", "target": "t", "label": 1}, "'label' needs the field 'choices'"),
        ({"prompt": "p", "target": "t", "choices": ["t"]}, "not two or more different texts"),
        ({"prompt": "p", "target": "t", "choices": ["t", "t"]}, "not two or more different texts"),
        ({"prompt": "p", "target": "t", "choices": ["a", "b"]}, "the target 't' is not among the choices"),
        ({"prompt": "p", "target": "a", "choices": ["a", "b"], "label": 1}, "choice 1 is 'b', but the target is 'a'"),
    ],
)
def test_json_lines_say_what_is_wrong_with_a_row(tmp_path, row, problem):
    with pytest.raises(DataError, match=problem):
        JsonLines(write(tmp_path / "d", [row])).load(1, 1, 0)


def test_json_lines_need_data():
    with pytest.raises(UsageError, match="pass --data DIR"):
        JsonLines().load(1, 1, 0)


def test_every_task_keeps_the_interface(tmp_path):
    check_task(Rte, data=write(tmp_path / "rte", numbered(40)))
    rows = [{"prompt": f"p{i}", "target": f" t{i}"} for i in range(40)]
    check_task(JsonLines, data=write(tmp_path / "jsonl", rows))
    check_task(JsonLines, data=write(tmp_path / "plain", [{**row, "prompt": ""} for row in rows]))


@pytest.mark.parametrize("name", ["rte", "sst2", "boolq", "webnlg", "wmt16_de_en"])
def test_real_data(shared, name):
    task = get_registry().make("task", name, data=shared / "tasks" / name)
    loaded = task.load(200, 100, 0)
    assert (len(loaded.pool), len(loaded.test)) == (200, 100)
    assert all(e.target.startswith(" ") and not e.prompt.endswith(" ") for e in loaded.pool)


def test_a_folder_may_hold_files_of_other_kinds(tmp_path):
    import gzip

    (tmp_path / "train.csv").write_text("premise,hypothesis,label\na,b,1\nc,d,0\n")
    (tmp_path / "test.jsonl.gz").write_bytes(gzip.compress(json.dumps(RTE).encode()))
    data = Rte(tmp_path).load(None, None, 0)
    assert sorted((one.id, one.label) for one in data.pool) == [("0", 1), ("1", 0)]
    assert data.test[0].target == " yes"
    assert Rte(tmp_path).sizes() == (2, 1)
    (tmp_path / "train.csv").write_text("premise,hypothesis,label\na,b,5\n")
    with pytest.raises(DataError, match=r"train\.csv, line 2: field 'label' is 5, not a whole number from 0 to 1"):
        Rte(tmp_path).load(None, None, 0)
