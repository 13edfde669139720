"""JSON inside files of unknown origin: what is wrong is one line, told before the rest is parsed."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from gptfl.core import Dynamics, Example
from gptfl.errors import DataError
from gptfl.store import examples, hdf5
from gptfl.store.examples import get_examples, metric_from_json
from gptfl.store.recordings import read_dynamics, write_dynamics

ROW = {"id": "a", "prompt": "p", "target": "t", "choices": [], "label": None, "fields": {}, "digest": "d"}
Harm = Callable[[h5py.File], None]


def lines(*rows: object) -> Harm:
    """Puts these in the place of the pool."""

    def harm(file: h5py.File) -> None:
        del file["examples/pool"]
        text = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n"
        file["examples"].create_dataset("pool", data=np.frombuffer(text.encode(), dtype=np.uint8))

    return harm


def metrics(text: str) -> Harm:
    """Puts this in the place of the metrics."""

    def harm(file: h5py.File) -> None:
        del file["metrics"]
        file.create_dataset("metrics", data=np.bytes_(text.encode()))

    return harm


def group(name: str) -> Harm:
    """Puts a group in the place of what has this name."""

    def harm(file: h5py.File) -> None:
        del file[name]
        file.create_group(name)

    return harm


def metric(low: str, high: str) -> str:
    return f'[{{"name": "loss", "higher_is_better": false, "low": {low}, "high": {high}}}]'


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (group("examples/pool"), "a group where an array belongs"),
        (group("metrics"), "a group where an array belongs"),
        (group("settings"), "a group where an array belongs"),
        (lines({**ROW, "prompt": "\ud800"}), "damaged: /examples/pool holds half a character"),
        (lines({**ROW, "fields": {"\udfff": 1}}), "holds half a character"),
        (lines('{"id": "a", "id": "b"}'), 'has the key "id" twice'),
        (lines("[" * 100_000), "is nested too deeply"),
        (lines("{}", "no JSON at all"), "line 1 is no example"),
        (lines(ROW, ROW), "has the id 'a' twice"),
        (lines('{"id": ' + "9" * 5000 + "}"), "too many digits"),
        (metrics(metric("1" + "0" * 400, "null")), "a metric whose low is 1000"),
        (metrics(metric("null", "NaN")), "whose high is nan"),
        (metrics(metric("1", "0")), "a metric from 1 to 0"),
        (metrics(metric("true", "null")), "whose low is True"),
        (metrics('{"name": "loss"}'), "is no list"),
    ],
)
def test_what_no_file_should_hold_is_one_line(tmp_path: Path, dynamics: Dynamics, harm: Harm, message: str) -> None:
    path = tmp_path / "x.dynamics.h5"
    write_dynamics(path, dynamics)
    with h5py.File(path, "r+", libver="v110") as file:
        harm(file)
    with pytest.raises(DataError, match=message) as caught:
        read_dynamics(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_metric_keeps_its_bounds() -> None:
    row = {"name": "loss", "higher_is_better": False, "low": 0, "high": None}
    found = metric_from_json(row, "x")
    assert (found.low, found.high) == (0.0, float("inf"))


def test_limits_of_lines_values_and_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        hdf5.put_lines(file, "pool", [{**ROW, "id": str(i)} for i in range(5)])
        monkeypatch.setattr(examples, "MAX_EXAMPLES", 4)
        with pytest.raises(DataError, match="more than 4 examples"):
            get_examples(file, "pool")
        for name, limit, message in (
            ("_MAX_LINE", 20, "a line of more than"),
            ("_MAX_VALUES", -1, "more than -1 values"),
        ):
            with monkeypatch.context() as patch:
                patch.setattr(hdf5, name, limit)
                with pytest.raises(DataError, match=message):
                    get_examples(file, "pool")
                with pytest.raises(DataError, match=r"shorten it|more than -1 values"):
                    hdf5.put_lines(file, "more", [[1] * 20])


def test_older_recordings_with_numbers_that_are_not_finite_are_read(tmp_path: Path, dynamics: Dynamics) -> None:
    path = tmp_path / "old.dynamics.h5"
    odd = (Example("t0", "p", "t", fields={"w": float("inf"), "n": 10**400}), *dynamics.test[1:])
    write_dynamics(path, Dynamics(dynamics.pool, odd, dynamics.metrics, dynamics.runs, dynamics.settings))
    assert read_dynamics(path).test == odd


@pytest.mark.parametrize(("label", "choices"), [(10**11, ()), (-1, ()), (2, (" ja", " nein"))])
def test_labels_out_of_range_are_refused(
    tmp_path: Path, dynamics: Dynamics, label: int, choices: tuple[str, ...]
) -> None:
    odd = replace(dynamics.pool[0], label=label, choices=choices)
    with pytest.raises(DataError, match=f"example 'p0' has the label {label} of"):
        write_dynamics(tmp_path / "a.h5", replace(dynamics, pool=(odd, *dynamics.pool[1:])))
    row = {"id": "p0", "prompt": "", "target": "", "choices": list(choices), "label": label, "fields": {}, "digest": ""}
    with h5py.File(tmp_path / "b.h5", "w") as file:
        hdf5.put_lines(file, "pool", [row])
        with pytest.raises(DataError, match=f"example 'p0' has the label {label} of"):
            get_examples(file, "pool")


def test_an_example_is_not_written_with_the_digest_of_another(tmp_path: Path, dynamics: Dynamics) -> None:
    odd = replace(dynamics.pool[0], prompt="another")
    with pytest.raises(DataError, match=r"/examples/pool: the text of 'p0' is not that of its digest: record it again"):
        write_dynamics(tmp_path / "a.h5", replace(dynamics, pool=(odd, *dynamics.pool[1:])))
    for one in (Example("e", "", ""), Example("e", "", "", ("", "x"), 0), odd.without_texts()):
        write_dynamics(tmp_path / "a.h5", replace(dynamics, test=(one, dynamics.test[1])))
        assert read_dynamics(tmp_path / "a.h5").test[0] == one
