"""The plan that ``collect`` prints: what a design identifies, in words."""

import re
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from gptfl.cli.main import app
from gptfl.cli.plan import announce_trainings

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


def test_a_dry_run_says_which_questions_will_be_answered_well(tmp_path):
    text = planned(tmp_path, "--design", "leave-out", "--runs", "12", "--reserve-pool", "6")
    assert re.search(r"well told +how trainings on other 6 of the 18 examples end, .*gptfl featurize", text)
    pattern = (
        r"hardly told .* what (\d+) runs to fit see tells ([\d.]+) of (\d+) differences between examples, (\d+)% of"
    )
    runs, effects, of, example = re.search(pattern, text).groups()
    assert (int(of), int(runs)) == (17, 8)
    assert 0 < float(effects) < 7
    group = int(re.search(r"a group +(\d+)% of what a group does", text)[1])
    assert int(example) == round(100 * float(effects) / 17) < group
    assert re.search(r"a class +\d+% to \d+% of what a class does is told by these", text)


def test_a_plan_with_gradients_says_what_they_are_worth(tmp_path):
    text = planned(tmp_path, "--runs", "6", "--sketches", "--steps", "4", "--sketch-dimensions", "16")
    assert "which the gradients tell beforehand and the runs correct" in text
    assert "gptfl featurize" not in text


def test_a_plan_says_what_keeping_the_reference_run_takes(tmp_path):
    options = ("--runs", "6", "--sketches", "--steps", "4", "--sketch-dimensions", "16")
    text = planned(tmp_path, *options, "--keep-reference")
    assert re.search(r"kept reference +[\d.]+ MB in a folder of its own: the reference run's weights and second", text)
    assert "kept reference" not in planned(tmp_path, *options)


def test_a_plan_of_groups_says_what_of_them_is_told(tmp_path):
    text = planned(tmp_path, "--design", "groups", "--by", "kind", "--runs", "8")
    assert re.search(r"each run +5 steps of 4, 6 of 24 examples, from 3 of 6 groups by kind", text)
    least, most = map(int, re.search(r"a group +(\d+)% to (\d+)% of what a group does is told by", text).groups())
    assert 0 < least < most
    assert int(re.search(r"(\d+)% of what one does", text)[1]) < most


def test_a_plan_of_too_few_runs_claims_nothing(tmp_path):
    text = planned(tmp_path, "--runs", "1")
    assert "each run" in text
    assert "told" not in text


def test_a_plan_says_what_can_be_asked_later(tmp_path):
    text = planned(tmp_path, "--runs", "2", "--epochs", "2")
    assert re.search(r"each run +3 steps of 4, 6 of 24 examples", text)
    assert re.search(r"exposures +a run sees each of its 6 examples 2 times$", text, re.MULTILINE)
    later = (
        r"ask later +trainings of up to 3 steps, 0.5 passes over all 24 examples. The 2 that the recipe has would "
        r"be 12 steps, and what is longer than recorded is refused: --epochs-of pool records as many"
    )
    assert re.search(later, text)
    whole = planned(tmp_path, "--runs", "2", "--epochs", "2", "--epochs-of", "pool")
    assert re.search(r"each run +12 steps of 4, 6 of 24 examples", whole)
    assert re.search(r"exposures +a run sees each of its 6 examples 8 times$", whole, re.MULTILINE)
    assert re.search(r"ask later .* 12 steps, 2 passes over all 24 examples$", whole, re.MULTILINE)


def test_what_trainings_of_a_check_cost_stands_under_what_they_are(capsys):
    cost = SimpleNamespace(
        workers=1,
        trained_parameters=1_500_000, parameters=14_000_000, learning_rate=2e-5, precision="fp32", device="cpu",
        seconds=90.0, seconds_per_step=0.5, memory_bytes=64_000_000,
    )  # fmt: skip
    announce_trainings(cost, {"trainings": "2 of 6 steps"})
    first, *rows = capsys.readouterr().out.splitlines()
    assert first == "Plan"
    found = {row.split()[0]: row for row in rows}
    assert list(found) == ["trainings", "training", "time", "memory"]
    assert found["trainings"].endswith("2 of 6 steps")
    assert "of 14" in found["training"]
    assert "lr 2e-05, fp32 on cpu" in found["training"]
    assert "64.0 MB" in found["memory"]


def test_a_plan_says_when_the_last_run_is_done_where_several_are_carried_out_at_once(tmp_path):
    alone = planned(tmp_path, "--runs", "6")
    assert "at once" not in alone
    several = planned(tmp_path, "--runs", "6", "--executor-set", "workers=4")
    assert re.search(r"at once +4 runs, the last one done in about .* if each is as fast as here", several)
    sketched = planned(tmp_path, "--sketches", "--sketch-dimensions", "16", "--executor-set", "workers=4")
    assert re.search(r"an example; shared by 4 workers about [\d.]+ m?s\) and", sketched)
