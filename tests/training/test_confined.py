"""Functions in a child: answers as without, and one line for what takes too much or ends the child."""

import copy
import os
import pickle
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from gptfl.core import Example
from gptfl.core.turns import Turn
from gptfl.errors import DataError
from gptfl.training import confined
from gptfl.training.confined import CallError, Confined, ExceededError
from gptfl.training.tokenization import Tokenizer, training_rows
from tests.tokenizers import byte_level

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")


def answer(what: Any, *more: Any) -> str:
    if what == "raise":
        raise ValueError("two\nlines")
    if what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "memory":
        return "x" * 10**11
    if what == "long":
        return "x" * (confined.MAX_TEXT + 1)
    if what == "files":
        return " ".join(os.path.realpath(one) for one in Path("/proc/self/fd").iterdir())
    return repr((what, *more, os.getpid()))


def test_a_child_answers_many_times_and_after_it_ended() -> None:
    call = Confined(answer)
    first = call("a", {"b": [1, "é\ud800"]}, None)
    child = int(first.rstrip(")").rpartition(" ")[2])
    assert first == repr(("a", {"b": [1, "é\ud800"]}, None, child))
    assert child != os.getpid()
    with pytest.raises(CallError, match=r"^ValueError: two lines$"):
        call("raise")
    assert str(child) in call("a")
    for what, said in (
        ("die", "takes more than 2 s or"),
        ("memory", "takes more than 256 MiB"),
        ("long", "makes more"),
    ):
        with pytest.raises(ExceededError, match=said):
            call(what)
        assert str(child) not in call("a")


def test_copies_have_children_of_their_own() -> None:
    call = Confined(answer)
    mine = call("a")
    for other in (copy.copy(call), pickle.loads(pickle.dumps(call))):
        assert other("a") != mine
    assert call("a") == mine


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_child_holds_none_of_the_files_of_its_parent(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w"):
        opened = Confined(answer)("files").split()
    assert sum("pipe:" in one for one in opened) == 2
    assert not [one for one in opened if one.startswith(str(tmp_path))]


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "it takes more than 1 s"),
        ("{{ 7 ** (10 ** 9) }}", "it takes more than 1 s"),
        ("{{ 'a' * 10 ** 11 }}", "it takes more than 256 MiB of memory"),
        ("{% for i in range(99999) %}{{ 'a' * 99 }}{% endfor %}", "it makes more than 4,194,304 characters"),
        ("{{ ''.__class__.__mro__ }}", r"\(SecurityError"),
        ("{{ messages.append(1) }}", r"\(SecurityError"),
        ("{{ raise_exception('no\n\x1b[31m') }}", r"\(TemplateError: no \?\[31m\)"),
        ("{% for %}", r"\(TemplateSyntaxError"),
        ("{{ " + "(" * 5000 + " }}", r"\("),
    ],
)
def test_a_hostile_template_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch, template: str, said: str) -> None:
    monkeypatch.setattr(confined, "SECONDS", 1)
    turns = [Turn("user", "is it red"), Turn("assistant", "yes", True)]
    tokenizer = byte_level()
    tokenizer.chat_template = template
    with pytest.raises(DataError, match=f"^the chat template can't render pool example 'x'(: | ){said}") as caught:
        training_rows(Tokenizer(tokenizer, 99), [Example.of_turns("x", turns, {})])
    assert str(caught.value).isprintable()


def test_a_template_that_takes_too_much_of_a_part_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confined, "SECONDS", 1)
    tokenizer = byte_level()
    tokenizer.chat_template = (
        "{% if add_generation_prompt %}{{ 'a' * 10 ** 11 }}{% endif %}"
        "{% for m in messages %}{{ m.role }}:{{ m.content }};{% endfor %}"
    )
    turns = [Turn("user", "is it red"), Turn("assistant", "yes", True)]
    with pytest.raises(DataError, match="can't render a part of a conversation: it takes more than 256 MiB"):
        training_rows(Tokenizer(tokenizer, 99), [Example.of_turns("x", turns, {})])
