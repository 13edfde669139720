"""The Python of docs/own-run.md runs, and what it makes can be compared."""

import re
from pathlib import Path

import pytest

import gptfl

PAGE = (Path(__file__).parents[2] / "docs" / "own-run.md").read_text(encoding="utf-8")
SCRIPTS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_script_with_a_trainer_is_short() -> None:
    assert len(SCRIPTS) == 3
    assert all(len(script.splitlines()) <= 30 for script in SCRIPTS)


# TRL sets an argument by its old name.
@pytest.mark.filterwarnings("ignore:`gradient_checkpointing:FutureWarning")
@pytest.mark.parametrize(("number", "name"), [(0, "sums"), (1, "sft"), (2, "loop")])
def test_the_scripts_run_and_their_runs_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_tiny: None, number: int, name: str
) -> None:
    if "from trl" in SCRIPTS[number]:
        pytest.importorskip("trl")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torch.utils.data.DataLoader.__init__", _without_pinning())
    exec(compile(SCRIPTS[number], "own-run.md", "exec"), {})
    found = gptfl.compare(estimators=["mean-run"], figure=False, dynamics=f"gptfl-work/{name}.dynamics.h5")
    assert "3 runs are too few to set one apart: took --folds 3, each in turn" in found.notes


def _without_pinning() -> object:
    """Pinned memory, which machines without a GPU warn of."""
    from torch.utils.data import DataLoader

    plain = DataLoader.__init__

    def made(self: object, *args: object, **kwargs: object) -> None:
        plain(self, *args, **{**kwargs, "pin_memory": False})

    return made
