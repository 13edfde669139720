"""The reference run: what it adds to a recording, what is there already, and what can't be told apart."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from gptfl.core.curriculum import run_seed
from gptfl.core.packing import Batching
from gptfl.errors import DataError
from gptfl.recording.reference_run import ReferenceJob, counting
from gptfl.recording.sketch_request import SketchRequest
from gptfl.training import gradient_sketches, reference_run
from gptfl.training.gradients.layers import InseparableError
from tests.recording.test_collect import record


@pytest.fixture(scope="module")
def with_products(neox: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(neox, tmp_path_factory.mktemp("products"), gradients="reference").path


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"gradients": "own", "runs": 4},
            "was recorded with no --gradients own, not --gradients own: record under another --name",
        ),
        ({"gradients": "both"}, "was recorded with no --gradients own"),
        (
            {"gradients": "reference", "gradient_points": 3},
            r"products at 4 points \(steps 0, 1, 3, 4\), not at 3 \(0, 2, 4\): ask for --gradient-points 4",
        ),
        ({"gradients": "reference", "lr": 2e-3}, r"was recorded with --lr 0\.001, not --lr 0\.002"),
    ],
)
def test_what_cannot_be_added_is_refused(
    neox: Path, with_products: Path, tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    path = Path(shutil.copy2(with_products, tmp_path))
    before = path.read_bytes()
    for dry_run in (True, False):
        with pytest.raises(DataError, match=message):
            record(neox, tmp_path, dry_run=dry_run, **changed)
    assert path.read_bytes() == before


def test_progress_counts_pairs(neox: Path, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int, str]] = []
    record(neox, tmp_path, gradients="reference", progress=lambda *update: seen.append(update))
    pairs = [update for update in seen if update[0] == "gradients"]
    assert pairs[0][1] == 0
    assert pairs[-1][1:] == (4 * 12 * 5, 4 * 12 * 5, "pairs; point 4 of 4, step 4")


@pytest.mark.parametrize(
    ("given", "instead"),
    [
        ({"few_runs": True, "runs": 2}, "--runs 6 --design contrast instead of --few-runs"),
        ({"sketches": True, "runs": 2}, "or leave --sketches out"),
        ({"gradients": "reference", "runs": 2}, "or leave --gradients out"),
    ],
)
def test_advice_names_the_option_that_was_given(
    neox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], instead: str
) -> None:
    def refuse(tape: Any, side: Any) -> None:
        raise InseparableError("experts mix")

    monkeypatch.setattr(gradient_sketches, "check_against_autograd", refuse)
    monkeypatch.setattr(reference_run, "check_against_autograd", refuse)
    with pytest.raises(
        DataError, match="small-neox: gradients of single examples can't be told apart: experts mix"
    ) as e:
        record(neox, tmp_path, dry_run=True, **given)
    assert instead in e.value.remedy
    others = {"--few-runs", "--sketches", "--gradients"} - {f"--{next(iter(given)).replace('_', '-')}"}
    assert not any(f"leave {option} out" in e.value.remedy for option in others)


def job(count: int, sketches: SketchRequest | None = None, reserved: tuple[int, ...] = ()) -> ReferenceJob:
    return ReferenceJob(Path("a.dynamics.h5"), 12, Batching(3), 6, 5, count, sketches, reserved)


def test_points_are_spread_over_the_run_or_are_none() -> None:
    assert (job(0).points, job(0).sketch_points) == ((), ())
    wanted = SketchRequest(3, 8, None)
    assert (job(2, wanted).points, job(2, wanted).sketch_points) == ((0, 6), (0, 3, 6))
    assert job(2, wanted).left(None) == (True, True)
    assert job(0, wanted).left(None) == (False, True)
    assert job(0).left(None) == (False, False)


def test_the_run_draws_from_all_that_is_not_reserved_by_a_seed_of_its_own() -> None:
    plan = job(2, reserved=(0, 7)).plan()
    assert set(plan.batches.ravel().tolist()) == set(range(12)) - {0, 7}
    assert plan.seed not in {run_seed(5, index) for index in range(100)}
    assert plan.seed == job(1).plan().seed


def test_work_is_counted_over_all_points() -> None:
    seen: list[tuple[Any, ...]] = []
    on_done = counting(lambda *given: seen.append(given), "sketches", "examples", 2, 5)
    for point, step, more in ((0, 0, 3), (0, 0, 2), (1, 6, 5)):
        on_done(point, step, more)
    assert [given[:3] for given in seen] == [("sketches", done, 10) for done in (0, 3, 5, 10)]
    assert seen[0][3] == "examples of the reference run"
    assert seen[-1][3] == "examples; point 2 of 2, step 6"
