"""``gptfl report`` from the command line."""

import json
from collections.abc import Callable
from pathlib import Path

from tests.cli.test_errors import refuses


def test_the_page_and_what_is_not_in_it_are_said(gptfl: Callable, plain_fit: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    call = ("report", "-w", str(plain_fit), "--output", str(page), "--no-comparison")
    shown = gptfl(*call)
    assert shown.code == 0, shown.err
    first, *others = shown.out.splitlines()
    assert first.startswith(f"{page}: ")
    assert first.endswith(" MiB)")
    assert (
        "not in it: the comparison with naive rows (gptfl report without --no-comparison, or gptfl compare)" in others
    )
    document = json.loads(gptfl(*call, "--json").out)
    assert document["page"] == str(page)
    assert document["bytes"] == page.stat().st_size
    assert [f"not in it: {one['what']} ({one['command']})" for one in document["missing"]] == others
    assert first.startswith(f"{page}: {', '.join(document['parts'])} (")


def test_what_can_not_be_written_is_one_line(gptfl: Callable, plain_fit: Path, tmp_path: Path) -> None:
    refuses(
        gptfl("report", "-w", str(plain_fit), "--output", "page.txt"), 2, "page.txt is not an .html file: end it in"
    )
    refuses(
        gptfl("report", "-w", str(plain_fit), "--estimator", "exposure-gp"), 3, "no simulator of estimator exposure-gp"
    )
    refuses(gptfl("report", "-w", str(tmp_path)), 3, "no recording in")
