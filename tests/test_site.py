"""The documentation builds as a site, strictly, and nothing on it is fetched from elsewhere."""

import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest

import gptfl
import gptfl.plugins
from gptfl import testing
from gptfl.cli.commands import COMMANDS
from tests.pages import script

ROOT = Path(__file__).parents[1]
TOOLS = ("mkdocs", "material", "mkdocstrings", "mkdocstrings_handlers", "jupytext", "nbclient", "ipykernel")
pytestmark = pytest.mark.timeout(
    900
)  # the site has a report and a notebook that are made once for each state of the code
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
"""What a browser fetches by itself, and where it reads from where."""
ELSEWHERE = re.compile(r"(?:[a-z]+:)?//", re.IGNORECASE)


class Fetched(HTMLParser):
    """Collects the addresses that a page makes a browser fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        address = dict(attrs).get(LOADED.get(tag, ""))
        if address:
            self.found.append(address)


def fetched(html: str) -> list[str]:
    reader = Fetched()
    reader.feed(html)
    return reader.found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as ``make docs`` does."""
    missing = [name for name in TOOLS if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed (pip install --group docs)")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_there_and_can_be_searched(site: Path) -> None:
    pages = {path.name for path in site.glob("*.html")}
    assert pages == {
        "404.html",
        "notebook.html",
        *(path.with_suffix(".html").name for path in (ROOT / "docs").glob("*.md")),
    }
    assert (site / "repository" / "plugins" / "gptfl-tracin" / "index.html").is_file()
    assert "what each source or class of rows does" in (site / "search" / "search_index.json").read_text("utf-8")


def test_every_public_name_is_documented(site: Path) -> None:
    for page, modules in {"python": (gptfl,), "python-plugins": (gptfl.plugins, testing)}.items():
        html = (site / f"{page}.html").read_text("utf-8")
        for module in modules:
            lacking = [name for name in module.__all__ if f'id="{module.__name__}.{name}"' not in html]
            assert lacking == []
    assert "Tell the influence of every training example" in (site / "python.html").read_text("utf-8")


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    pages = {path: fetched(path.read_text("utf-8")) for path in site.rglob("*.html")}
    assert any(pages.values())
    for path, addresses in pages.items():
        assert [one for one in addresses if ELSEWHERE.match(one)] == [], path
    for path in site.rglob("*.css"):
        assert re.findall(r"(?:url\(|@import)\s*[\"']?(?:[a-z]+:)?//", path.read_text("utf-8")) == [], path


def test_a_link_of_the_pages_outside_leads_where_it_did(site: Path) -> None:
    changes = (site / "repository" / "CHANGELOG.html").read_text("utf-8")
    assert 'href="../ranking.html#new-rows"' in changes
    page = (site / "baselines.html").read_text("utf-8")
    assert 'href="repository/plugins/gptfl-tracin/index.html"' in page


def test_the_gallery_opens_a_live_report(site: Path) -> None:
    page = (site / "gallery.html").read_text("utf-8")
    (button,) = re.findall(r"<a [^>]*>Open the live report</a>", page)
    assert 'href="live/report.html"' in button
    assert 'target="_blank"' in button
    assert "has a button here" not in page
    live = (site / "live" / "report.html").read_text("utf-8")
    assert live.startswith("<!doctype html>\n<!-- gptfl report -->\n")
    assert "default-src 'none'" in live
    assert "errands-tiny.dynamics.h5" in live
    assert str(ROOT) not in live


def test_the_notebook_is_a_page_with_its_outputs(site: Path) -> None:
    page = (site / "notebook.html").read_text("utf-8")
    source = (site / "notebook.py").read_text("utf-8")
    assert page.count('class="notebook-output"') > 10
    assert 'id="3-compare-before-you-believe"' in page
    assert "Trained on 12 examples" in page
    pictures = re.findall(r'<img src="(notebook/\d+\.png)"', page)
    assert len(pictures) == source.count(".plot()") + source.count("plt.subplots")
    for said in (str(ROOT), "Traceback", "Warning", "<progress", "Figure size"):
        assert said not in page
    sizes = [(site / name).stat().st_size for name in ("notebook.html", *pictures)]
    assert sum(sizes) < 2e6
    assert str(ROOT) not in (site / "notebook.ipynb").read_text("utf-8")
    for other in ("tutorial.html", "index.html"):
        assert 'href="notebook.html"' in (site / other).read_text("utf-8").partition("<article")[2]


@pytest.fixture
def live() -> ModuleType:
    pytest.importorskip("mkdocs", reason="mkdocs is not installed (pip install --group docs)")
    return script("live_report")


def test_a_live_report_is_made_once_for_each_state(
    live: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[list[str]] = []

    def carried_out(lines: list[str], folder: Path) -> Path:
        made.append(lines)
        (folder / "page.html").write_text(f"page {len(made)}")
        return folder / "page.html"

    monkeypatch.setattr(live, "carried_out", carried_out)
    kept = tmp_path / "live"
    assert [live.live_report(kept), live.live_report(kept)] == [b"page 1", b"page 1"]
    assert [line.split()[1] for line in made[0]] == ["collect", "featurize", "fit", "report"]
    monkeypatch.setattr(live, "digest", lambda lines: "another")
    assert live.live_report(kept) == b"page 2"
    assert [path.name for path in kept.iterdir()] == ["another.html"]


def test_a_state_is_the_commands_and_every_file_of_the_code(live: ModuleType, tmp_path: Path) -> None:
    def state(*lines: str, **files: str) -> str:
        code = tmp_path / str(len(list(tmp_path.iterdir())))
        (code / "__pycache__").mkdir(parents=True)
        (code / "__pycache__" / "a.pyc").write_text(code.name)
        for name, text in files.items():
            (code / name).write_text(text)
        return live.digest(lines, code)

    assert state("a", b="c") == state("a", b="c")
    assert len({state("a", b="c"), state("d", b="c"), state("a", b="d"), state("a", c="b"), state("a")}) == 5


def test_a_live_report_that_cant_be_made_says_why(live: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(live.PluginError, match=r"can't be made, 'gptfl fit' ends with 3: .*run gptfl collect"):
        live.carried_out(["gptfl fit"], tmp_path)
    with pytest.raises(live.PluginError, match=r"gallery\.md has no block of shell after <!-- live report -->"):
        live.commands("```sh\ngptfl report\n```\n")


def test_what_is_fetched_would_be_found() -> None:
    html = '<link rel=stylesheet href="//a.b/c.css"><script src="x.js"></script><a href="https://d.e">f</a>'
    assert fetched(html) == ["//a.b/c.css", "x.js"]


def test_the_front_page_names_commands_that_there_are() -> None:
    page = (ROOT / "docs" / "index.md").read_text("utf-8")
    named = set(re.findall(r"`gptfl ([a-z-]+)", page))
    assert named <= set(COMMANDS)
    # Those that only serve others, or are parts of a study.
    beside = {"featurize", "fit", "demo", "unlock", "export", "relabel-study", "select-study", "sweep"}
    assert set(COMMANDS) - named <= beside
