"""The pages of tables: what they show is what lies in the raw results, and these hold nothing local."""

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import typer
from scipy import stats

from gptfl.cli.main import app
from tests.pages import SCRIPTS, script, strings


@pytest.fixture(params=SCRIPTS)
def site(request: pytest.FixtureRequest) -> Any:
    return script(request.param).SITE


@pytest.fixture
def pages() -> ModuleType:
    return script("pages")


@pytest.fixture
def fidelity() -> ModuleType:
    return script("fidelity")


def test_the_page_shows_the_raw_results(site: Any) -> None:
    text = site.path.read_text(encoding="utf-8")
    assert site.with_tables(text) == text, f"run: python tools/{site.raw.name}.py page"


def test_every_result_belongs_to_a_study_and_to_one_alone(site: Any) -> None:
    known = [name for study in site.studies for name in study.results]
    assert len(set(known)) == len(known)
    assert {path.stem for path in site.raw.glob("*.json")} <= set(known)


def test_every_result_is_written_by_a_command_of_its_study(site: Any) -> None:
    for study in site.studies:
        lines = [command.format(raw="R", data="D") for command in study.expanded()]
        written = {Path(word).stem for line in lines for word in shlex.split(line) if re.fullmatch(r"R/.*\.json", word)}
        assert written == set(study.results), study.name


def test_raw_results_hold_no_path_of_a_machine(site: Any) -> None:
    for path in site.raw.glob("*.json"):
        for text in strings(json.loads(path.read_text(encoding="utf-8"))):
            assert not re.search(r"(^|\s)/\w+/", text), (path.name, text)


def test_what_was_not_run_is_said(site: Any, tmp_path: Path) -> None:
    empty = replace(site, raw=tmp_path)
    study = next(study for study in site.studies if study.results)
    assert f"Not run: {', '.join(study.results)}." in empty.rendered(study)


def test_the_commands_have_only_options_that_there_are(site: Any) -> None:
    known: Any = typer.main.get_command(app)
    for study in site.studies:
        for line in study.expanded():
            _, name, *words = shlex.split(line.format(raw="R", data="D"))
            flags = {flag for one in known.commands[name].params for flag in one.opts}
            unknown = [word for word in words if word.startswith("--") and word not in flags]
            assert not unknown, (study.name, unknown)


def test_local_parts_of_a_result_are_dropped(pages: ModuleType) -> None:
    kept = pages.scrubbed({"rankings": [{"simulator": "/a/b.h5", "examples": [{"id": "1", "text": "hush"}]}]})
    assert kept == {"rankings": [{"examples": [{"id": "1"}]}]}


def test_a_loop_is_spelled_as_one_and_carried_out_for_every_value(pages: ModuleType, tmp_path: Path) -> None:
    study = pages.Study(
        "a", ("gptfl demo --seed $B --output {raw}/$A-$B.json",), loops={"A": ("x", "y"), "B": ("1", "2")}
    )
    assert [line.split()[3] for line in study.expanded()] == ["1", "2", "1", "2"]
    assert [line.split("/")[1] for line in study.expanded()] == ["x-1.json", "x-2.json", "y-1.json", "y-2.json"]
    shown = pages.Page(tmp_path / "a.md", tmp_path / "a", (study,)).rendered(study)
    assert shown == (
        "```sh\nfor A in x y; do\nfor B in 1 2; do\ngptfl demo --seed $B --output docs/a/$A-$B.json\ndone; done\n```"
    )


def test_a_place_that_the_page_lacks_is_reported(pages: ModuleType, tmp_path: Path) -> None:
    page = pages.Page(tmp_path / "a.md", tmp_path / "a", (pages.Study("new", ("gptfl demo",)),))
    with pytest.raises(SystemExit, match=r"a\.md has no place for 'new'"):
        page.with_tables("# Nothing\n")


ROW = {
    "estimator": "exposure-gp",
    "name": "exposure-gp",
    "oracle": False,
    "encoder": "gradients",
    "error": None,
    "clearly_best": ["skill"],
    "scores": {
        "mse": {"value": 0.002, "std": 0.001, "interval": None},
        "rho": {"value": 0.99, "std": 0.002, "interval": None},
        "skill": {"value": 0.9, "std": None, "interval": [0.8, 0.95]},
        "lds": {"value": 0.93, "std": None, "interval": [0.9, 0.96]},
    },
    "skill_share": 0.95,
    "lds_share": None,
    "coverage": {"0.9": {"share": 0.88, "width": 0.1, "points": 10}},
    "excess": {"over": "exposure-gp", "more": 0.0, "interval": [0.0, 0.0], "clear": False},
}


def test_a_comparison_in_full_shows_ceiling_coverage_and_what_others_err_more(fidelity: ModuleType) -> None:
    worse = {**ROW, "estimator": "mean-run", "encoder": None, "coverage": {}, "skill_share": 0.0, "clearly_best": []}
    worse["excess"] = {"over": "exposure-gp", "more": 0.01, "interval": [-0.001, 0.02], "clear": False}
    broken = {"estimator": "bad", "oracle": False, "error": "no idea", "scores": {}, "clearly_best": []}
    top = {"skill": 0.947, "lds": None, "runs": 12, "subsets": 6}
    result = {"estimators": [ROW, worse, broken], "ceiling": top}
    shown = fidelity.in_full({"contrast-sst2": result})
    # 1 - 0.053 * 6 / 1.2373 and 1 - 0.053 * 6 / 14.449; then 0.8 / 0.978 and 0.95 / 0.743.
    assert "| 0.947 [0.74, 0.98] | – | 95% [82, 128] | – | 88% |" in shown
    assert "| exposure-gp | gradients | 0.002 ± 0.001 | 0.990 ± 0.002 | **0.900** [0.80, 0.95] |" in shown
    assert "| 95% [82, 128] / – | 88% | – |" in shown
    assert "| +0.01 [-0.001, 0.02] (not clear) |" in shown
    assert "| bad | failed: no idea |" in shown
    assert {line.count("|") for line in shown.split("\n\n")[1].splitlines()} == {10}


def test_intervals_of_ceilings_shares_and_coverage_are_those_of_the_result_where_it_has_them(
    fidelity: ModuleType,
) -> None:
    coverage = {"0.9": {"share": 0.88, "interval": [0.845, 0.914], "width": 0.1, "points": 10}}
    row = {**ROW, "skill_share_interval": [0.9, None], "lds_share_interval": None, "coverage": coverage}
    top = {"skill": 0.947, "skill_interval": [0.7, 0.97], "lds": 0.99, "lds_interval": None, "runs": 12, "subsets": 6}
    shown = fidelity.headline({"contrast-sst2": {"estimators": [row], "ceiling": top}})
    assert "| 0.947 [0.70, 0.97] | 0.990 | 95% [90 or more] | – | 88% [84, 91] |" in shown


def test_the_widest_interval_of_a_ceiling_of_lds_is_the_way_there_and_back(fidelity: ModuleType) -> None:
    for noise in (0.02, 0.2, 0.5):
        top = {"lds": 6 / np.pi * np.arcsin(np.sqrt(1 - noise) / 2), "runs": 12, "subsets": 6}
        for bound, part in zip(fidelity.bounds("lds", top), (0.025, 0.975), strict=True):
            least = max(0.0, 1 - noise * 6 / stats.chi2.ppf(part, 6))
            assert bound == pytest.approx(6 / np.pi * np.arcsin(np.sqrt(least) / 2))
    assert fidelity.bounds("lds", {"lds": None}) is None


def test_a_page_says_which_intervals_are_earlier_ones(pages: ModuleType, tmp_path: Path) -> None:
    results = {"old": {"estimators": [ROW]}, "new": {"estimators": [ROW], "interval_method": "x"}, "none": {}}
    for name, result in results.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(result))

    def page(*names: str) -> Any:
        return pages.Page(tmp_path / "a.md", tmp_path, (pages.Study("s", (), names),))

    assert "The intervals of old below were made by an earlier" in page("old", "new", "none").earlier()
    assert "The intervals of skill, LDS and squared error below" in page("old", "none").earlier()
    assert page("new", "none").earlier() == ""
    text = "<!-- intervals -->\nstale\n<!-- end of intervals -->\n<!-- s -->\n<!-- end of s -->\n"
    assert "stale" not in page("new").with_tables(text)
    assert "made by an earlier" in page("old").with_tables(text)


def test_a_sweep_over_runs_has_a_column_for_each_number_and_the_seconds(fidelity: ModuleType) -> None:
    def point(estimator: str, runs: int, skill: float) -> dict[str, Any]:
        return {"estimator": estimator, "runs": runs, "skill": skill, "skill_std": 0.01, "lds": 0.9, "lds_std": None}

    result = {
        "axes": {"runs": [2, 3]},
        "run_seconds": 100.0,
        "feature_seconds": {"exposure-gp": 50.0},
        "held_out": ["a", "b"],
        "fittable_runs": 4,
        "points": [point(name, runs, 0.1 * runs) for name in ("persistence", "exposure-gp") for runs in (2, 3)],
    }
    shown = fidelity.by_runs({"runs-sst2": result})
    assert "| exposure-gp | 0.200 ± 0.01 / 0.900 | 0.300 ± 0.01 / 0.900 |" in shown
    assert "| seconds of the runs | 200 | 300 |" in shown
    assert "| and of exposure-gp's gradients | 250 | 350 |" in shown
    assert "persistence" not in shown
    assert "seconds" not in fidelity.by_runs({"runs-sst2": {**result, "run_seconds": None}})


def test_areas_are_averaged_over_repeats(fidelity: ModuleType) -> None:
    found = {
        f"flips-{share}-{repeat}": {"detection": {"tracin-cp": {"area": area}}}
        for share, repeat, area in (("05", 1, 0.8), ("05", 2, 0.9), ("40", 1, 0.7))
    }
    shown = fidelity.detections(found)
    assert "| tracin-cp | 0.850 ± 0.071 (2) | 0.700 (1) |" in shown


def test_a_selection_is_held_against_random_subsets(fidelity: ModuleType) -> None:
    kinds = [
        {
            "kind": "selected",
            "values": {"loss": [0.5, 0.7]},
            "better_than_random": {"loss": {"by": 0.2, "interval": [0.1, 0.3], "clear": True}},
        },
        {"kind": "random", "values": {"loss": [0.8]}, "better_than_random": {}},
    ]
    shown = fidelity.selections({"select-sst2": {"kinds": kinds}})
    assert "| sst2 | loss | selected | 0.600 ± 0.14 (2) | +0.2 [0.1, 0.3] |" in shown
    assert "| sst2 | loss | random | 0.800 (1) | – |" in shown


def test_rows_that_do_not_look_at_what_was_observed_are_marked(fidelity: ModuleType) -> None:
    result = {"estimators": [{**ROW, "conditions": True}, {**ROW, "estimator": "mean-run", "conditions": False}]}
    shown = fidelity.trusted({"observe-sst2": result})
    assert "| sst2 | exposure-gp | 0.002" in shown
    assert "| sst2 | mean-run ‡ |" in shown
