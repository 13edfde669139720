"""Recordings of unknown origin, whose ids and texts hold anything: usable, and nothing of it drives the terminal."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

import gptfl as package
from gptfl.core import Dynamics, Example
from gptfl.errors import UNSAFE
from gptfl.influence.targets import influence_target
from gptfl.store.id_files import ExampleIndex
from gptfl.store.recordings import read_dynamics, write_dynamics
from tests.cli.conftest import Outcome
from tests.synthetic import synthetic

ODD = (
    "",
    " a",
    "a",
    "\x1b[31mred",
    "a\nb",
    "a\tb",
    "#c",
    '"a"',
    '" a"',
    "doc  1",
    "x\x9b2J",
    "u\u202ev",
    "e\u200dm",
    "\u3000",
)
TEXT = "\x1b]0;taken\x07 \x9b2J \u202e\r text "


def named(examples: Sequence[Example], ids: Sequence[str]) -> tuple[Example, ...]:
    """The examples under other ids, with texts and choices that a terminal would obey."""
    choices = (TEXT + "yes", TEXT + "no")
    return tuple(
        replace(one, id=id, prompt=TEXT, target=choices[one.label or 0], choices=choices, digest="")
        for one, id in zip(examples, ids, strict=True)
    )


@pytest.fixture
def space(tmp_path: Path) -> Path:
    dynamics: Dynamics = synthetic(runs=8, pool=len(ODD), test=len(ODD), subset=4, batch_size=2, steps=4)[0]
    tests = tuple(f"{id}T" if id else "" for id in ODD)
    odd = replace(dynamics, pool=named(dynamics.pool, ODD), test=named(dynamics.test, tests))
    write_dynamics(tmp_path / "odd.dynamics.h5", odd)
    package.fit("class-share", workspace=tmp_path)
    return tmp_path


def harmless(found: Outcome) -> Outcome:
    for printed in (found.out, found.err):
        assert not UNSAFE.search(re.sub("[\n\t]", "", printed))
    assert "Traceback" not in found.err
    return found


def test_every_id_that_is_listed_can_be_asked_for(gptfl: Callable[..., Outcome], space: Path) -> None:
    listed = harmless(gptfl("inspect", str(space / "odd.dynamics.h5"), "--examples")).out.splitlines()
    rows = [line.split("\t") for line in listed]
    assert all(len(row) == 4 for row in rows)
    assert len(rows) == 2 * len(ODD)
    ids = [row[0] for row in rows if row[1] == "pool"]
    pool = ExampleIndex(read_dynamics(space / "odd.dynamics.h5").pool)
    file = space / "ids.txt"
    for place, line in enumerate(ids):
        file.write_text(f"# chosen\r\n\n{line}\r\n", encoding="utf-8")
        assert pool.select(file, "--subset").tolist() == [place]
    file.write_text("\n".join(ids[:-1]) + "\n", encoding="utf-8")
    found = harmless(gptfl("simulate", "--workspace", str(space), "--subset", str(file)))
    assert found.code == 0, found.err
    known = read_dynamics(space / "odd.dynamics.h5")
    targets = [influence_target(f"test:{row[0]}", known) for row in rows if row[1] == "test"]
    assert [subject.tests.tolist() for subject in targets] == [[place] for place in range(len(ODD))]
    assert [subject.text for subject in targets] == [f"test example {row[0]}" for row in rows if row[1] == "test"]


def test_nothing_that_a_terminal_obeys_is_printed(gptfl: Callable[..., Outcome], space: Path) -> None:
    recording = str(space / "odd.dynamics.h5")
    calls = (
        ("inspect", recording),
        ("inspect", recording, "--examples", "--json"),
        ("rank", "--orders", "1"),
        ("rank", "--orders", "1", "--csv"),
        ("rank", "--orders", "1", "--json"),
        ("select", "--size", "4", "--orders", "1", "--search", "0"),
        ("select", "--size", "4", "--orders", "1", "--search", "0", "--json"),
        ("simulate", "--json"),
        ("export", "--to", str(space / "out")),
        ("import", "gptdynamics", str(space / "out"), "--name", "again"),
        ("rank", "--on", "test:\x1b[2J"),
        ("simulate", "--subset", str(space / "no\x1b[2J.txt")),
    )
    for call in calls:
        workspace = () if call[0] == "inspect" else ("--workspace", str(space))
        found = harmless(gptfl(*call, *workspace))
        assert found.code == (3 if call[0] == "import" or "[2J" in call[-1] else 0), found.err
        if "--json" in call:
            json.loads(found.out)
    exact = json.loads(gptfl("inspect", recording, "--examples", "--json").out)["examples"]
    assert [row["id"] for row in exact if row["role"] == "pool"] == list(ODD)


def test_what_select_writes_simulate_takes(gptfl: Callable[..., Outcome], space: Path) -> None:
    found = package.select(len(ODD) - 1, workspace=space, orders=1, search=0)
    assert gptfl("simulate", "--workspace", str(space), "--subset", str(found.output)).code == 0


def test_an_export_says_which_ids_are_refused_again(gptfl: Callable[..., Outcome], space: Path) -> None:
    (note,) = [one for one in package.export(space / "out", workspace=space).notes if "refuses" in one]
    assert note.startswith('16 ids that gptfl import refuses: "", " a", "\\u001b[31mred" and 13 more;')
    refused = gptfl("import", "gptdynamics", str(space / "out"), "--workspace", str(space))
    assert '"id" is "", which is empty' in refused.err
