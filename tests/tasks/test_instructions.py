"""Instruction templates: several a task, chosen by seed and id, and every one of them fit for its targets."""

import json
import re
import string
from pathlib import Path

import pytest

from gptfl.core import Example
from gptfl.tasks import BoolQ, CnnDailyMail, Rte, Sst2, WebNlg, Wmt16DeEn
from gptfl.tasks.instructions import GENERIC, instructed

TASKS = (Rte, Sst2, BoolQ, WebNlg, Wmt16DeEn, CnnDailyMail)


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_templates_that_hold_what_its_prompt_holds(task) -> None:
    def parts(text: str) -> set[str]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}

    assert len(set(task.templates)) >= 5
    for template in task.templates:
        assert parts(template) == parts(task.wording)
        assert template == template.strip()
        assert not template.endswith("}")
        assert template != task.wording


def test_the_generic_ones_only_open_the_prompt_which_its_target_must_follow() -> None:
    assert len(set(GENERIC)) >= 5
    assert all(template.endswith("\n{prompt}") for template in GENERIC)


@pytest.mark.parametrize("task", [Rte, Sst2, BoolQ])
def test_every_template_names_the_answers_or_asks_a_question_that_they_answer(task) -> None:
    words = {answer.strip() for answer in task.answers}
    for template in task.templates:
        assert words <= set(re.findall(r"\w+", template.lower())) or "?" in template


def test_seed_and_id_choose_and_only_the_prompt_changes() -> None:
    pool = [Example(str(i), f"Question {i}", " yes", (" yes", " no"), 0, {"kind": "q"}) for i in range(60)]

    def worded(seed: int) -> list[Example]:
        return [instructed(e, GENERIC, {"prompt": e.prompt}, seed) for e in pool]

    first = worded(3)
    assert worded(3) == first
    assert worded(4) != first
    assert {e.fields["template"] for e in first} == set(range(len(GENERIC)))
    for old, new in zip(pool, first, strict=True):
        assert (new.id, new.target, new.choices, new.label) == (old.id, old.target, old.choices, old.label)
        assert new.fields == {"kind": "q", "template": new.fields["template"]}
        assert new.prompt == GENERIC[new.fields["template"]].format(prompt=old.prompt)
        assert new.digest != old.digest


def test_braces_in_a_text_are_left_alone(tmp_path: Path) -> None:
    row = json.dumps({"sentence": "a {sentence} of {0} and {{joy}}", "label": 1}) + "\n"
    for name in ("train.jsonl", "test.jsonl"):
        (tmp_path / name).write_text(row, encoding="utf-8")
    plain = Sst2(tmp_path).load(1, 1, 0).pool[0]
    worded = Sst2(tmp_path).with_instructions().load(1, 1, 0).pool[0]
    assert "a {sentence} of {0} and {{joy}}" in plain.prompt
    assert "a {sentence} of {0} and {{joy}}" in worded.prompt


def test_the_task_itself_stays_plain(tmp_path: Path) -> None:
    row = json.dumps({"article": "Long ago.\nIt was.", "highlights": "It was\nlong ago .", "id": "abc"}) + "\n"
    for name in ("train.jsonl", "test.jsonl"):
        (tmp_path / name).write_text(row, encoding="utf-8")
    task = CnnDailyMail(tmp_path)
    plain = task.load(1, 1, 0).test[0]
    worded = task.with_instructions().load(1, 1, 0).test[0]
    assert task.load(1, 1, 0).test[0] == plain
    assert (plain.id, plain.prompt) == ("abc", "Article: Long ago. It was.\nThe article in a few sentences:")
    assert plain.target == " It was long ago ."
    assert plain.fields == {"references": ["It was long ago ."]}
    assert worded.fields["references"] == plain.fields["references"]
    assert worded.prompt in {template.format(article="Long ago. It was.") for template in CnnDailyMail.templates}
