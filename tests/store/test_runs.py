"""A run in a group of a file: what it must be to fit its recording."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from gptfl.core import Curriculum, Dynamics, Example, MetricInfo, Run
from gptfl.errors import DataError
from gptfl.store.recordings import append_run, read_dynamics, write_dynamics
from gptfl.store.runs import check_run, get_run, put_run


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"role": "judge"}, "role 'judge'"),
        ({"index": -1}, "index -1"),
        ({"curriculum": Curriculum(np.array([[0, 4], [1, 1], [2, 2]]), np.ones(3))}, "examples 0 to 4 of a pool of 4"),
        ({"curriculum": Curriculum(np.array([[0, -2], [1, 1], [2, 2]]), np.ones(3))}, "examples -2 to 2"),
        ({"curriculum": Curriculum(np.array([[0], [1], [2]]), np.ones(2))}, r"learning rates of shape \(2,\)"),
        ({"curriculum": Curriculum(np.array([[0], [1], [2]]), np.array([1.0, np.nan, 0.0]))}, "not finite"),
        ({"steps": np.array([0, 3, 2])}, "don't ascend"),
        ({"steps": np.array([0, 2, 4])}, "records step 4 of 3"),
        ({"metrics": {"accuracy": np.zeros((3, 2))}}, "has the metrics accuracy, not loss"),
        ({"metrics": {"loss": np.zeros((3, 3))}}, r"loss of shape \(3, 3\), not \(3, 2\)"),
    ],
)
def test_a_run_that_does_not_fit_is_refused(
    tmp_path: Path, dynamics: Dynamics, make_run: Callable[[int], Run], change: dict[str, object], message: str
) -> None:
    path = tmp_path / "a.h5"
    write_dynamics(path, dynamics)
    run = replace(make_run(5), **change)
    with pytest.raises(DataError, match=rf"a\.h5: run-.*{message}"):
        append_run(path, run)
    with pytest.raises(DataError, match=message):
        write_dynamics(path, replace(dynamics, runs=(run,)))
    assert read_dynamics(path).fingerprint == dynamics.fingerprint


def test_how_long_a_run_took_is_kept_beside_it_and_in_no_fingerprint(tmp_path: Path) -> None:
    run = Run(0, 1, "fit", Curriculum(np.zeros((1, 1), int), np.ones(1)), np.array([0]), {"loss": np.ones((1, 1))})
    one = (Example("a", "b", "c"),)
    plain = Dynamics(one, one, {"loss": MetricInfo("loss", False)}, (run,))
    timed = replace(plain, runs=(replace(run, seconds=1.5),))
    for name, dynamics in (("plain", plain), ("timed", timed)):
        write_dynamics(tmp_path / name, dynamics)
    assert read_dynamics(tmp_path / "plain").runs[0].seconds is None
    assert read_dynamics(tmp_path / "timed").runs[0].seconds == 1.5
    assert plain.fingerprint == timed.fingerprint == read_dynamics(tmp_path / "timed").fingerprint
    for wrong in (-1.0, np.nan, np.inf, "long"):
        with h5py.File(tmp_path / "timed", "r+") as file:
            file["runs/run-0000"].attrs["seconds"] = wrong
        with pytest.raises(DataError, match="seconds"):
            read_dynamics(tmp_path / "timed")


def test_a_group_gives_back_the_run_it_was_given_and_takes_it_once(
    tmp_path: Path, make_run: Callable[[int], Run]
) -> None:
    run = make_run(7)
    run = replace(run, derivatives={"own": run.metrics["loss"] * 2}, seconds=1.25)
    with h5py.File(tmp_path / "größe.h5", "w") as file:
        put_run(file, run)
        found = get_run(file[run.name])
        assert (found.index, found.seed, found.role, found.seconds) == (7, run.seed, run.role, 1.25)
        np.testing.assert_array_equal(found.curriculum.batches, run.curriculum.batches)
        np.testing.assert_array_equal(found.derivatives["own"], run.derivatives["own"])
        with pytest.raises(DataError, match=r"größe\.h5 has run-0007 already: record under another index"):
            put_run(file, run)


def test_derivatives_must_have_a_number_for_every_score(make_run: Callable[[int], Run], dynamics: Dynamics) -> None:
    run = make_run(7)
    check_run(run, 4, 2, dynamics.metrics, "x")
    short = replace(run, derivatives={"own": run.metrics["loss"][1:]})
    with pytest.raises(DataError, match=r"x: run-0007 has derivatives \(own\) of shape .*: try again"):
        check_run(short, 4, 2, dynamics.metrics, "x", "try again")
