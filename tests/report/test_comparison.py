import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from gptfl.core import MetricInfo
from gptfl.errors import ResourceError, UsageError
from gptfl.report.cells import spread
from gptfl.report.comparison import latex_escaped, rich_table, to_csv, to_json, to_latex, write_table
from gptfl.report.footnotes import footnotes
from gptfl.scores.ceiling import Ceiling
from gptfl.scores.comparison import SCORES, Comparison, Predictions, ScoreRow, Value, score_rows
from gptfl.scores.held_out import HeldOut


def comparison(runs=10, **changes):
    random = np.random.default_rng(0)
    truth = random.normal(size=(runs, 4, 5))
    steps = np.broadcast_to(np.arange(4), (runs, 4))
    names = tuple(f"run-{i:04d}" for i in range(runs))
    held = HeldOut(names, tuple("abcde"), np.zeros(runs, dtype=int), steps, truth, np.zeros_like(truth))
    outcomes = [
        Predictions("mean-run", np.zeros_like(truth)),
        Predictions("good_one", truth + 0.1 * random.normal(size=truth.shape), seconds=1.25, notes=("it is tired",)),
        Predictions("broken", error="no [bold]idea: mend it"),
    ]
    rows = score_rows(held, outcomes)
    predicted = {o.estimator: o.predicted for o in outcomes if o.predicted is not None}
    made = {"fit_runs": 20, "validation_runs": 2, "left_out": {"x": "it needs checkpoints"}, "notes": ("took a",)}
    return Comparison("a_b.dynamics.h5", MetricInfo("loss", False), rows, held, predicted, **{**made, **changes})


def printed(table, width=80):
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(table)
    return console.file.getvalue()


def test_the_terminal_table_fits_80_columns_and_tells_everything():
    text = printed(rich_table(comparison()))
    assert max(map(len, text.splitlines())) <= 80
    for part in ("estimator", "final ρ", "LDS", "good_one", "fitted on 20 runs", "broken", "it needs checkpoints"):
        assert part in text
    assert "no [bold]idea" in " ".join(text.split())
    assert "…" not in text


def test_runs_that_belong_together_are_reported():
    plain = comparison()
    assert "95 % bootstrap intervals over runs." in " ".join(footnotes(plain))
    held = replace(plain.held_out, together=np.arange(10) // 2)
    notes = " ".join(footnotes(replace(plain, held_out=held)))
    assert "intervals over the 5 groups of runs that train on the same examples or are pairs." in notes
    assert "No best is marked with fewer than 6 held-out groups of runs" in notes


def test_skill_is_reported_at_some_steps_of_those_that_learn():
    made = comparison()
    (note,) = (note for note in footnotes(made) if note.startswith("Skill at steps "))
    good = made.rows[1].skill_by_step
    assert note == f"Skill at steps 1, 2, 3: good_one {', '.join(f'{good[step]:.3f}' for step in (1, 2, 3))}."
    document = json.loads(to_json(made))["estimators"]
    assert document[1]["skill_by_step"] == {str(step): value for step, value in good.items()}
    assert "skill_by_step" not in document[2]
    many = replace(made.rows[1], skill_by_step={step: step / 100 for step in range(1, 41)})
    notes = " ".join(footnotes(replace(made, rows=(many,))))
    assert "Skill at steps 1, 14, 27, 40: good_one 0.010, 0.140, 0.270, 0.400." in notes
    assert "Skill at" not in " ".join(footnotes(replace(made, rows=(replace(many, skill_by_step={3: 0.5}),))))


def test_a_share_whose_ceiling_may_be_nothing_has_one_end():
    made = comparison(ceiling=Ceiling(0.7, None, 12, 6, (-0.2, 0.9), None))
    row = replace(made.rows[1], shares={"skill": Value(0.9, interval=(0.75, float("inf")))})
    made = replace(made, rows=(made.rows[0], row, made.rows[2]))
    notes = " ".join(footnotes(made))
    assert "Order-noise ceiling: skill 0.700 [-0.20, 0.90]." in notes
    assert "Share of the ceiling: good_one 90 % [75 or more] of skill." in notes
    document = json.loads(to_json(made))
    assert document["estimators"][1]["skill_share_interval"] == [0.75, None]
    assert document["estimators"][1]["lds_share"] is None
    assert "Fisher" in document["interval_method"]


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


def test_what_is_so_by_definition_has_no_doubt_and_rounding_no_spread():
    flat = ScoreRow(
        "flat", {"lds": Value(0.0, interval=(0.0, 0.0)), "rho": Value(0.5, std=1.2e-16)}, lds_reliable=False
    )
    text = printed(rich_table(replace(comparison(), rows=(flat,))))
    assert "0.000 " in text
    assert "0.000?" not in text
    assert "±0 " in text
    assert spread("mse", Value(2e-5, std=1e-5)) == "±1e-5"
    assert spread("mse", Value(2.0, std=1e-16)) == "±0"


def test_footnotes_define_skill_and_lds():
    notes = " ".join(footnotes(comparison()))
    assert "1 - SSE / SSE of mean-run" in notes
    assert "TRAK's averages over seeds" in notes
    assert "fewer than 20 held-out runs is unreliable" in notes
    assert "good_one: it is tired" in notes
    assert "broken failed: no [bold]idea: mend it" in notes
    few = " ".join(footnotes(comparison(4)))
    assert "LDS is not shown for 4 held-out runs" in few
    assert "No best is marked" in few
    assert "for 1 held-out run; it takes" in " ".join(footnotes(comparison(1)))
    assert "unreliable" not in " ".join(footnotes(comparison(20)))


def test_estimators_left_out_for_the_same_reason_share_a_note():
    notes = footnotes(comparison(left_out={"x": "x needs rest", "y": "y needs rest", "z": "unknown"}))
    assert {"x, y left out: needs rest", "z left out: unknown"} <= set(notes)


def test_footnotes_say_why_folds_of_one_run_have_no_lds():
    made = comparison(12)
    each = replace(made, folds=12, held_out=replace(made.held_out, folds=np.arange(12)))
    notes = " ".join(footnotes(each))
    assert "only 0 of 12 have another to be compared with, where it takes 8; fewer folds would do" in notes
    assert "each less its mean over the runs that the same fold held out" in notes
    assert "paired differences to all others" in notes
    assert "held out together" not in " ".join(footnotes(made))


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


def with_oracle():
    made = comparison()
    rows = (*made.rows, replace(made.rows[1], estimator="own-run (rescale)", name="own-run", oracle=True))
    return replace(made, rows=rows)


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


def test_a_note_is_reported_under_the_label_of_its_row():
    notes = ("good stopped after epoch 3", "it is tired")
    row = replace(comparison().rows[1], estimator="good (order=3)", name="good", notes=notes)
    notes = footnotes(replace(comparison(), rows=(row,), notes=()))
    assert notes[-2:] == ["good (order=3) stopped after epoch 3", "good (order=3): it is tired"]


def test_settings_in_a_label_take_a_line_each():
    row = replace(comparison().rows[1], estimator="good (calibrate, order=3)")
    text = printed(rich_table(replace(comparison(), rows=(row,))))
    words = [line.split()[:1] for line in text.splitlines()]
    place = words.index(["good"])
    assert words[place : place + 3] == [["good"], ["(calibrate,"], ["order=3)"]]


def mixture():
    made = comparison()
    tasks = ("rte", "cnn_dailymail", "rte", "cnn_dailymail", "rte")
    held = replace(made.held_out, tasks=tasks)
    outcomes = [Predictions(name, predicted) for name, predicted in made.predicted.items()]
    return replace(made, held_out=held, rows=(*score_rows(held, outcomes), made.rows[2]))


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
