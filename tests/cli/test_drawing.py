"""What is drawn in a process of its own is what would be drawn in this one, errors among it."""

import multiprocessing
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gptfl.cli import drawing
from gptfl.core import MetricInfo
from gptfl.errors import ResourceError, UsageError
from gptfl.report import simulation
from gptfl.report.pictures import save_figure
from gptfl.report.simulation_plot import simulation_figure

Draw = Callable[..., None]
ARGUMENTS: dict[str, Any] = {
    "steps": np.arange(3),
    "values": np.linspace(1, 2, 6).reshape(1, 3, 2),
    "intervals": {},
    "reference": np.ones((3, 2)),
    "recorded": None,
    "shown": [("a", 0, "helped")],
    "title": "mean-run: 3 examples",
    "against": "the average recorded run",
    "metric": MetricInfo("loss", False, 0.0),
}


@pytest.fixture
def draw(monkeypatch: pytest.MonkeyPatch) -> Draw:
    """Draws by what the process does, in a thread of this one."""
    monkeypatch.setattr(simulation, "figure_arguments", lambda result: result)
    ours, theirs = multiprocessing.Pipe()
    other, _ = multiprocessing.Pipe()
    threading.Thread(target=drawing.serve_pictures, args=(other, theirs), daemon=True).start()
    made = drawing.DrawingProcess(ours)
    return lambda path, arguments=ARGUMENTS: made.draw(arguments, path)


def test_the_picture_is_the_same(draw: Draw, tmp_path: Path) -> None:
    draw(tmp_path / "beside.png")
    save_figure(simulation_figure(**ARGUMENTS), tmp_path / "here.png")
    assert (tmp_path / "beside.png").read_bytes() == (tmp_path / "here.png").read_bytes()


def test_errors_are_raised_here(draw: Draw, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a\.bmp has no known suffix for a picture: end it in \.png"):
        draw(tmp_path / "a.bmp")
    with pytest.raises(ResourceError, match=r"a\.png can't be drawn: the process that draws has ended: try again"):
        draw(tmp_path / "a.png")


def test_other_errors_keep_their_type(draw: Draw, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="missing 9 required keyword-only arguments"):
        draw(tmp_path / "a.png", {})


def test_errors_of_libraries_are_sent_as_text() -> None:
    odd = type("OddError", (Exception,), {"__init__": lambda self, a, b: None})
    assert drawing.sendable(odd(1, 2))[0] is RuntimeError
    assert drawing.sendable(ZeroDivisionError("x")) == (ZeroDivisionError, "x", "")


def test_a_process_that_computes_already_is_not_copied() -> None:
    assert not drawing.DrawingProcess.is_possible()
