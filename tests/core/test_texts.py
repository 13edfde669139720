"""Ids, lines that name them, and JSON of unknown origin."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptfl.core.texts import JsonError, counted, id_on, id_problem, json_text, parse_json, shown_line, written_id
from gptfl.errors import UNSAFE, DataError, harmless

FINE = (
    "a",
    "7",
    "doc  1",
    "\u0645\u06cc\u200c\u062e",
    "full\u3000width",
    "\U0001f469\u200d\U0001f4bb",
    "#1",
    "a # b",
    "größe",
    "a:bug:b",
    "[red]",
)
ODD = ("", " a", "a ", "a\u3000", "a\nb", "a\tb", "\x1b[31mred", "a\x9b2J", "x\u202ey", "\ufeffa", "a\u2028b", "\0")


def test_an_id_is_any_text_without_control_characters_and_white_space_around_it() -> None:
    assert [name for name in FINE if id_problem(name)] == []
    assert [name for name in ODD if not id_problem(name)] == []
    assert id_problem("a\x1b") == "holds a control character (U+001B)"


def test_plain_ids_are_written_as_they_are_and_others_as_json() -> None:
    assert [written_id(name) for name in FINE] == list(FINE)
    assert written_id("") == '""'
    assert written_id("\x1b[31m\n") == '"\\u001b[31m\\n"'
    assert written_id('"a"') == '"\\"a\\""'


@settings(max_examples=25)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=6), min_size=1, unique=True))
def test_what_is_written_names_its_own_id_among_any_others(ids: list[str]) -> None:
    # Among them those that look like what others are written as.
    known = {*ids, *FINE, *ODD}
    known |= {written_id(one) for one in known}
    for one in known:
        line = written_id(one)
        assert id_on(line, known) == one
        assert not set(line) & set("\r\n\t")
        assert not UNSAFE.search(line)


def test_a_line_names_an_id_in_several_ways() -> None:
    known = {"a", "b c", "#d", " e"}
    lines = {"a": "a", "  a ": "a", '"a"': "a", "b c": "b c", "#d": "#d", " e": " e", '" e"': " e", "e": None, "": None}
    assert {line: id_on(line, known) for line in lines} == lines
    assert id_on("  ", {""}) is None
    assert id_on('""', {""}) == ""


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "is no JSON"),
        ("", "is no JSON"),
        ('{"a": 1, "a": 1}', 'has the key "a" twice'),
        ('{"x": {"a": 1, "b": 2, "a": 1}}', 'has the key "a" twice'),
        ("NaN", "holds NaN"),
        ("[-Infinity]", "holds -Infinity"),
        ("1e400", "holds the number 1e400, which is too large"),
        ("-1E+999", "too large"),
        ("1" + "0" * 309, "too many digits"),
        ("-" + "9" * 5000, "too many digits"),
        ('"\\ud800"', "half a character"),
        ('{"\\uDfff": 1}', "half a character"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ("{}{}", "is no JSON"),
    ],
)
def test_json_that_other_readers_would_take_otherwise_is_refused(text: str, problem: str) -> None:
    with pytest.raises(JsonError, match=problem):
        parse_json(text)


def test_json_within_the_bounds_is_exact() -> None:
    whole = 123456789012345678901234567890
    assert parse_json(f'{{"n": {whole}, "x": [1e308, 0.1, -0.0], "c": "\\ud83d\\ude00"}}') == {
        "n": whole,
        "x": [1e308, 0.1, -0.0],
        "c": "😀",
    }
    assert parse_json("[NaN, -Infinity]", lenient=True)[1] == -math.inf
    with pytest.raises(JsonError, match="twice"):
        parse_json('{"a": 1, "a": 2}', lenient=True)


def test_json_is_written_without_what_is_no_json_or_drives_a_terminal() -> None:
    text = json_text({"a": [math.inf, (math.nan, 1.5)], "b": "\x1b[2J\x9b\u202e\u00e9\u200d\ud800\x7f"}, indent=1)
    assert not UNSAFE.search(text.replace("\n", ""))
    assert "\u00e9\u200d" in text
    assert json.loads(text) == {"a": [None, [None, 1.5]], "b": "\x1b[2J\x9b\u202e\u00e9\u200d\ud800\x7f"}


def test_texts_for_a_terminal() -> None:
    assert shown_line(" a\n\tb\x1b[31m  c ") == "a b [31m c"
    assert harmless("a\x1bb\u202e") == "a?b?"
    error = DataError("no 'doc  1' here\n  \x1b[2J", "mend\x9bit")
    assert str(error) == "no 'doc  1' here ?[2J: mend?it"


def test_one_of_a_thing_is_no_plural() -> None:
    assert [counted(count, "run") for count in (0, 1, 2)] == ["0 runs", "1 run", "2 runs"]
    passes = [counted(count, "pass", ".3g", "passes") for count in (0.9999, 1.0, 0.5, 2.0)]
    assert passes == ["1 pass", "1 pass", "0.5 passes", "2 passes"]
    assert counted(1200, "row", ",") == "1,200 rows"
