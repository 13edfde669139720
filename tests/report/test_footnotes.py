"""What a reader must know to read a comparison right."""

import json
from dataclasses import replace

import numpy as np

from gptfl.report.comparison import to_json
from gptfl.report.footnotes import ORACLE, UNCONDITIONED, footnotes, label, marks, setting, tops
from gptfl.scores.ceiling import Ceiling
from gptfl.scores.comparison import Value
from tests.report.made import comparison, with_oracle


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


def test_a_note_is_reported_under_the_label_of_its_row():
    notes = ("good stopped after epoch 3", "it is tired")
    row = replace(comparison().rows[1], estimator="good (order=3)", name="good", notes=notes)
    notes = footnotes(replace(comparison(), rows=(row,), notes=()))
    assert notes[-2:] == ["good (order=3) stopped after epoch 3", "good (order=3): it is tired"]


def test_what_was_compared_is_one_line():
    made = comparison()
    assert setting(made) == "loss of a_b.dynamics.h5: fitted on 20 runs (validated on 2), tested on 10"
    assert setting(replace(made, folds=3)) == "loss of a_b.dynamics.h5: 3 folds over 10 runs"
    unseen = replace(made, unseen={"train": ["a"], "test": ["b", "c"]})
    assert setting(unseen).endswith("tested on 10, 1 unseen training examples and 2 unseen test examples")


def test_rows_are_marked_by_what_they_know():
    plain, oracle = with_oracle().rows[1], with_oracle().rows[-1]
    made = comparison()
    assert (marks(plain, made), marks(oracle, made)) == ([], [ORACLE])
    observed = replace(made, observed=2)
    assert label(plain, observed) == f"good_one {UNCONDITIONED}"
    assert marks(replace(plain, conditions=True), observed) == []
    assert label(oracle, observed) == f"own-run (rescale) {ORACLE} {UNCONDITIONED}"
    assert marks(made.rows[2], observed) == []
    assert any(note.startswith("Observed: the first 2 recorded scores") for note in footnotes(observed))


def test_ceilings_have_their_intervals():
    assert (
        tops(Ceiling(0.5, 0.25, 12, 6, (0.25, 0.75), (-0.5, 1.0)))
        == "skill 0.500 [0.25, 0.75], LDS 0.250 [-0.50, 1.00]"
    )
    assert tops(Ceiling(0.5, None, 12, 6, None, None)) == "skill 0.500"
