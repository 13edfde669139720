"""How each kind of result is drawn, tabulated, shown and in a notebook."""

from types import SimpleNamespace

import numpy as np
import pytest

from gptfl.errors import UsageError
from gptfl.report.display import figure_of, html_of, many_table, many_to_dict, tables_of, text_of, texts_of
from tests.report.made import comparison, printed

KINDS = ("simulation", "many", "ranking", "selection", "comparison")


def test_what_is_no_result_is_one_line() -> None:
    for action, says in (
        (figure_of, "a dict has no picture"),
        (tables_of, "a dict can't be shown"),
        (texts_of, "a dict can't be saved"),
    ):
        with pytest.raises(UsageError, match=says):
            action({})


@pytest.mark.parametrize("kind", KINDS)
def test_every_result_is_shown_in_a_notebook(results: SimpleNamespace, kind: str) -> None:
    result = getattr(results, kind)
    html = html_of(result)
    assert html.count("<pre") == 1
    assert tables_of(result)


@pytest.mark.parametrize("kind", KINDS)
def test_every_result_is_printed_as_its_table(results: SimpleNamespace, kind: str) -> None:
    result = getattr(results, kind)
    text = str(result)
    assert text == text_of(result)
    assert "\x1b" not in text
    assert "array(" not in text
    assert 1 < len(text.splitlines()) < 80


def test_notes_of_a_result_are_text_and_nothing_else() -> None:
    html = html_of(comparison(notes=("a [bold]b[/bold] <script>",)))
    assert "a [bold]b[/bold] &lt;script&gt;" in html


def test_subsets_come_the_best_first(results: SimpleNamespace) -> None:
    many = results.many
    document = many_to_dict(many, ["größe", "b"])
    means = [float(np.mean(one["final"])) for one in document["subsets"]]
    assert [one["predicted"] for one in document["subsets"]] == pytest.approx(means)
    assert [one["examples"] for one in document["subsets"]] == [5, 4]
    best = ("größe", "b")[int(np.argmin(means))]
    text = printed(many_table(many, ["größe", "b"]), 100)
    rows = [line.split()[0] for line in text.splitlines() if line.split()[:1] in (["größe"], ["b"])]
    assert rows[0] == best
    assert len(rows) == 2
    assert len(printed(many_table(many, ["größe", "b"], 1), 100).splitlines()) == len(text.splitlines()) - 1
