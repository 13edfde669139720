import csv
import io
import json
from dataclasses import replace

import pytest

from gptfl.errors import ResourceError, UsageError
from gptfl.report.comparison import latex_escaped, rich_table, to_csv, to_json, to_latex, write_table
from gptfl.report.footnotes import footnotes
from gptfl.scores.comparison import SCORES, ScoreRow, Value
from tests.report.made import comparison, mixture, printed, with_oracle


def test_the_terminal_table_fits_80_columns_and_tells_everything():
    text = printed(rich_table(comparison()))
    assert max(map(len, text.splitlines())) <= 80
    for part in ("estimator", "final ρ", "LDS", "good_one", "fitted on 20 runs", "broken", "it needs checkpoints"):
        assert part in text
    assert "no [bold]idea" in " ".join(text.split())
    assert "…" not in text


def test_the_clear_best_is_reported_apart_where_bold_is_not_shown():
    made = comparison()
    assert "mse" in made.rows[1].best
    text = printed(rich_table(made))
    (line,) = (line for line in text.splitlines() if line.split()[:1] == ["good_one"])
    assert line.count("*") == len(made.rows[1].best)
    assert "* (bold): best, by paired differences" in " ".join(text.split())
    assert "Bold: best" in to_latex(made)


@pytest.mark.parametrize(
    ("error", "shown"), [(1.234e-05, "1.23e-5*"), (0.0001234, "1.23e-4*"), (0.001234, "0.00123*"), (12340, "1.23e+4*")]
)
def test_the_widest_cells_leave_the_table_at_80_columns(error, shown):
    scores = {
        "mse": Value(error, std=error / 7),
        "mae": Value(error, std=error / 7),
        "rho": Value(-0.1234, std=0.12),
        "lds": Value(-0.1234, interval=(-0.12, -0.03)),
        "skill": Value(-12.345, interval=(-99.4, -0.03)),
    }
    row = ScoreRow("fourteen-chars", scores, lds_reliable=False, best=frozenset(SCORES), seconds=123.4)
    text = printed(rich_table(replace(comparison(), rows=(row,))))
    assert max(map(len, text.splitlines())) <= 80
    for part in (shown, "-0.123*", "-0.123?*", "[-0.12, -0.03]", "-12.3*", "[-99, -0.03]", " 123.4"):
        assert part in text


def test_json_holds_every_score():
    made = comparison()
    table = json.loads(to_json(made))
    good = table["estimators"][1]
    assert good["scores"]["skill"]["value"] == made.rows[1].scores["skill"].value
    assert good["scores"]["mse"]["std"] == made.rows[1].scores["mse"].std
    assert good["lds_reliable"] is False
    assert "mse" in good["clearly_best"]
    assert table["estimators"][2]["error"] == "no [bold]idea: mend it"
    assert len(table["runs"]["held_out"]) == 10


def test_csv_has_a_cell_for_every_column():
    made = comparison()
    header, *lines = list(csv.reader(io.StringIO(to_csv(made))))
    assert len(lines) == 3
    assert all(len(line) == len(header) for line in lines)
    good = dict(zip(header, lines[1], strict=True))
    assert float(good["mse"]) == made.rows[1].scores["mse"].value
    assert float(good["skill_high"]) == made.rows[1].scores["skill"].interval[1]
    broken = dict(zip(header, lines[2], strict=True))
    assert broken["mse"] == ""
    assert broken["error"] == "no [bold]idea: mend it"


def test_latex_is_escaped_and_balanced():
    text = to_latex(comparison())
    assert r"good\_one" in text
    assert r"a\_b.dynamics.h5" in text
    assert r"\toprule" in text
    assert r"\textbf{" in text
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0]
    rows = [line for line in body.splitlines() if "&" in line]
    assert len(rows) == 3
    assert all(line.count("&") == 5 for line in rows)
    assert text.count("{") == text.count("}")
    assert latex_escaped("50% of a_b & ρ ± {x}\\") == r"50\% of a\_b \& $\rho$ $\pm$ \{x\}\textbackslash{}"


@pytest.mark.parametrize("suffix", [".json", ".csv", ".tex"])
def test_writes_the_format_that_the_suffix_names(tmp_path, suffix):
    write_table(comparison(), tmp_path / "deep" / f"table{suffix}")
    assert "good" in (tmp_path / "deep" / f"table{suffix}").read_text(encoding="utf-8")
    assert len(list((tmp_path / "deep").iterdir())) == 1


def test_refuses_other_suffixes_and_tells_when_it_cannot_write(tmp_path):
    with pytest.raises(UsageError, match=r"end it in \.json, \.csv, \.tex"):
        write_table(comparison(), tmp_path / "table.xlsx")
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="can't be written"):
        write_table(comparison(), tmp_path / "file" / "table.json")


def test_an_oracle_is_marked_in_every_format():
    made = with_oracle()
    line = next(line for line in printed(rich_table(made)).splitlines() if line.split()[:1] == ["own-run"])
    assert line.split()[1] == "†"
    assert "† Oracle: it looked along the very runs" in " ".join(printed(rich_table(made)).split())
    assert r"own-run (rescale) \textdagger{} &" in to_latex(made)
    assert r"\textdagger{} Oracle: it looked along" in to_latex(made)
    assert [row["oracle"] for row in json.loads(to_json(made))["estimators"]] == [False, False, False, True]
    rows = list(csv.DictReader(io.StringIO(to_csv(made))))
    assert [row["oracle"] for row in rows] == ["", "", "", "yes"]
    assert not any("Oracle" in note for note in footnotes(comparison()))


def test_settings_in_a_label_take_a_line_each():
    row = replace(comparison().rows[1], estimator="good (calibrate, order=3)")
    text = printed(rich_table(replace(comparison(), rows=(row,))))
    words = [line.split()[:1] for line in text.splitlines()]
    place = words.index(["good"])
    assert words[place : place + 3] == [["good"], ["(calibrate,"], ["order=3)"]]


def test_a_mixture_has_a_line_a_task_in_the_terminal():
    text = printed(rich_table(mixture()))
    assert max(map(len, text.splitlines())) <= 80
    lines = [line.split() for line in text.splitlines()]
    assert [line[0] for line in lines if line and line[0] in ("rte", "cnn_dailymail")] == ["rte", "cnn_dailymail"] * 2
    assert "MSE, MAE and final ρ are the means of the tasks' own" in " ".join(text.split())
    assert "means of the tasks" not in printed(rich_table(comparison()))


def test_a_mixture_in_the_formats_for_programs_and_papers():
    made = mixture()
    lines = list(csv.DictReader(io.StringIO(to_csv(made))))
    expected = [(name, task) for name in ("mean-run", "good_one") for task in ("all", "rte", "cnn_dailymail")]
    assert [(line["estimator"], line["task"]) for line in lines] == [*expected, ("broken", "all")]
    good = json.loads(to_json(made))["estimators"][1]
    assert set(good["by_task"]) == {"rte", "cnn_dailymail"}
    assert good["by_task"]["rte"]["mse"]["value"] == made.rows[1].by_task["rte"]["mse"].value
    assert float(lines[4]["mse"]) == good["by_task"]["rte"]["mse"]["value"]
    assert float(lines[3]["mse"]) == good["scores"]["mse"]["value"]
    assert to_latex(made).count(r"\quad cnn\_dailymail &") == 2
    assert "task" not in next(csv.reader(io.StringIO(to_csv(comparison()))))
