"""The plan that ``collect`` prints: what a design identifies, in words."""

import re

import pytest
from typer.testing import CliRunner

from gptfl.cli.main import app

pytestmark = pytest.mark.usefixtures("quick_tiny")

PLAN = (
    "collect",
    "--model",
    "tiny",
    "--task",
    "errands",
    "--pool",
    "24",
    "--test",
    "4",
    "--subset-size",
    "6",
    "--lr",
    "1e-3",
)


def planned(tmp_path, *options):
    result = CliRunner().invoke(app, [*PLAN, "--dry-run", "--workspace", str(tmp_path / "w"), *options])
    assert result.exit_code == 0, result.output
    assert not (tmp_path / "w").exists()
    return result.stdout


def test_a_dry_run_says_how_well_a_design_tells_effects_apart(tmp_path):
    text = planned(tmp_path, "--design", "leave-out", "--runs", "12", "--reserve-pool", "6")
    effects, of, runs = re.search(r"identifies +([\d.]+) of (\d+) effects in all, by (\d+) runs to fit", text).groups()
    assert (int(of), int(runs)) == (17, 8)
    assert 0 < float(effects) < 7
    example, group = (int(re.search(rf"{what} +(\d+)% .*stays? open", text)[1]) for what in ("an example", "a group"))
    assert group < example == round(100 * (1 - float(effects) / 17))
    assert re.search(r"a class +\d+% to \d+% stays open", text)


def test_a_plan_of_too_few_runs_claims_nothing(tmp_path):
    text = planned(tmp_path, "--runs", "1")
    assert "each run" in text
    assert "identifies" not in text
