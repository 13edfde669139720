"""The executed tutorial: its cells run in order and show something, and what the site makes of a notebook."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.pages import script

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "docs" / "notebook.py"
SMALLER = {"pool=60": "pool=30", "test=24": "test=10", "steps=24": "steps=8", "orders=3": "orders=2"}
"""What the test changes of the notebook, to be quick."""
SMALL = '# %% [markdown]\n# # Größe\n#\n# [A page](data.md#here), [a site](https://a.b).\n\n# %%\nprint("a<b")\n2 + 2\n'


def cells(text: str) -> Iterator[tuple[bool, str]]:
    """Whether each cell is code, and what it holds."""
    marks = re.split(r"^# %%(.*)\n", text, flags=re.MULTILINE)
    assert marks[0] == "", "the notebook begins with a cell"
    for kind, source in zip(marks[1::2], marks[2::2], strict=True):
        assert kind in ("", " [markdown]")
        yield kind == "", source.strip("\n")


def carried_out(source: str, names: dict[str, Any]) -> Any:
    """Run a cell as a notebook does; returns the value of its last line, which a notebook shows."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, SOURCE.name, "exec"), names)
    return None if last is None else eval(compile(ast.Expression(last.value), SOURCE.name, "eval"), names)


def test_the_cells_are_text_and_code_in_turn() -> None:
    found = list(cells(SOURCE.read_text(encoding="utf-8")))
    titles = [line for is_code, text in found if not is_code for line in text.splitlines() if line.startswith("# #")]
    assert titles[0] == "# # Tutorial, executed"
    assert [int(title.split()[2].rstrip(".")) for title in titles[1:]] == list(range(1, len(titles)))
    for is_code, text in found:
        if is_code:
            ast.parse(text)
        else:
            assert all(line == "#" or line.startswith("# ") for line in text.splitlines()), text
            # Numbers of a run are in its outputs, which differ from machine to machine.
            assert re.findall(r"\d\.\d", text) == []


def test_every_cell_runs_in_order_and_shows_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_tiny: None
) -> None:
    text = SOURCE.read_text(encoding="utf-8")
    for size, smaller in SMALLER.items():
        assert size in text
        text = text.replace(size, smaller)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gptfl.recording.sketch_request.DIMENSIONS", 256)
    monkeypatch.setattr("gptfl.training.gradient_sketches.WIDE", 2**13)
    names: dict[str, Any] = {}
    shown: list[str] = []
    for is_code, source in cells(text):
        value = carried_out(source, names) if is_code else None
        if hasattr(value, "_repr_png_"):
            picture, size = value._repr_png_()
            assert picture.startswith(b"\x89PNG")
            assert size["width"] < 1200
            shown.append("picture")
        elif hasattr(value, "_repr_html_"):
            shown.append(value._repr_html_())
    assert shown.count("picture") == 5
    assert len(shown) == 17
    assert all(str(tmp_path) not in one for one in shown)
    assert sum("Trained on" in one for one in shown) == 2
    names["plt"].close("all")
    assert {path.name for path in tmp_path.iterdir()} == {"gptfl-work", "ranking.csv", "table.html", "run.png"}


@pytest.fixture
def page() -> ModuleType:
    for tool in ("mkdocs", "jupytext", "nbclient", "ipykernel"):
        pytest.importorskip(tool, reason=f"{tool} is not installed (pip install --group docs)")
    return script("notebook_page")


def test_a_notebook_becomes_a_page_and_a_download(page: ModuleType, tmp_path: Path) -> None:
    made = page.files_of(page.executed(SMALL, tmp_path))
    assert set(made) == {"notebook.md", "notebook.ipynb"}
    lines = made["notebook.md"].splitlines()
    assert lines[0] == "# Größe"
    assert 'href="notebook.ipynb"' in lines[2]
    assert "<pre>a&lt;b\n</pre>" in made["notebook.md"]
    assert "<pre>4</pre>" in made["notebook.md"]
    assert "(data.md#here)" in made["notebook.md"]
    notebook = json.loads(made["notebook.ipynb"])
    assert "".join(notebook["cells"][0]["source"]) == "# Größe\n\nA page, [a site](https://a.b)."
    assert len(notebook["cells"][1]["outputs"]) == 2


def test_a_notebook_is_run_once_for_each_state(
    page: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[int] = []
    monkeypatch.setattr(page, "run", lambda notebook, folder: ran.append(len(notebook.cells)))
    for _ in range(2):
        page.executed(SMALL, tmp_path)
    assert ran == [2]
    page.executed(f"{SMALL}\n# %%\n3\n", tmp_path)
    assert ran == [2, 3]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_cell_that_fails_ends_the_build(page: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(page.PluginError, match=r"docs/notebook\.py can't be run, a cell ends with ValueError: mend it"):
        page.executed('# %%\nraise ValueError("mend it")\n', tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_output_is_left_out(page: ModuleType) -> None:
    from nbformat.v4 import new_output

    assert page.is_shown(new_output("stream", text="a"))
    assert not page.is_shown(new_output("stream", name="stderr", text="a library warns"))
    assert page.is_shown(new_output("display_data", data={"text/plain": "a"}))
    # A bar of progress when all is done.
    assert not page.is_shown(new_output("display_data", data={"text/plain": "", "text/html": ""}))


def test_a_picture_is_a_file_that_says_its_size(page: ModuleType) -> None:
    from nbformat.v4 import new_output

    output = new_output("display_data", {"image/png": "YWI="}, metadata={"image/png": {"width": 9, "height": 4}})
    pictures = {"notebook/1.png": b""}
    (shown,) = page.rendered(output, 'a = 1\nplot("b")', pictures)
    assert pictures["notebook/2.png"] == b"ab"
    assert '<img src="notebook/2.png" alt="The picture that plot(&quot;b&quot;) gives" width="9" height="4">' in shown
    output.metadata["image/png"]["width"] = 1000
    (shown,) = page.rendered(output, "a", pictures)
    assert 'class="notebook-wide" width="1000"' in shown
