"""``--html``: a result's page beside what a command prints."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from gptfl.cli.page import page_target
from gptfl.options.base import make
from gptfl.options.influence import RankOptions
from tests.api.sides import write
from tests.cli.test_errors import refuses


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("sides"))


def call(name: str, space: Path) -> tuple[str, ...]:
    quick = {
        "compare": ("--estimator", "exposure-gp", "--no-picture"),
        "simulate": ("--drop", str(space / "some.txt"), "--no-picture"),
        "rank": ("--top", "5"),
    }
    (space / "some.txt").write_text("train-1\n")
    return (name, "-w", str(space), *quick[name])


@pytest.mark.parametrize("name", ["compare", "simulate", "rank"])
def test_a_page_says_which_command_made_it(gptfl: Callable, space: Path, tmp_path: Path, name: str) -> None:
    page = tmp_path / "page.html"
    shown = gptfl(*call(name, space), "--html", str(page))
    assert shown.code == 0, shown.err
    assert f"page: {page}" in shown.out.splitlines()
    assert f"Made by <code>gptfl {name} " in page.read_text(encoding="utf-8")
    told = gptfl(*call(name, space), "--html", str(page), "--json")
    json.loads(told.out)
    assert f"note: page: {page}" in told.err


@pytest.mark.parametrize("name", ["compare", "simulate", "rank"])
def test_a_page_that_cannot_be_is_refused_before_any_work(
    gptfl: Callable, space: Path, tmp_path: Path, name: str
) -> None:
    mine = tmp_path / "mine.html"
    mine.write_text("mine")
    refuses(gptfl(*call(name, space), "--html", str(mine)), 3, "--html", "is not overwritten")
    refuses(gptfl(*call(name, space), "--html", "page.pdf"), 2, "--html page.pdf is not an .html file")
    assert not list(space.glob("*.html"))


def test_without_the_option_there_is_no_page() -> None:
    assert page_target(make(RankOptions)) is None


def test_several_results_have_no_page(gptfl: Callable, space: Path, tmp_path: Path) -> None:
    some = str(space / "some.txt")
    refuses(
        gptfl("simulate", "-w", str(space), "--subset", some, "--subset", some, "--html", "x.html"),
        2,
        "--html goes with one",
    )
    refuses(
        gptfl("compare", "-w", str(space), "--sweep", "order=1,2", "--html", "x.html"), 2, "--html x.html is of one"
    )
