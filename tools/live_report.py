"""The live report page of the gallery: made by the very commands that docs/gallery.md shows, once for each state of the code.

What is made lies in ``build/live``, named by a digest of gptfl's own files and of the commands. A site that is built again
takes it from there.
"""

import hashlib
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mkdocs.exceptions import PluginError

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "gallery.md"
KEPT = ROOT / "build" / "live"
MARK, END = "<!-- live report -->", "<!-- end of live report -->"
"""Around what the gallery says where it is read as Markdown; the site has the button that opens the page instead."""
ADDRESS = "live/report.html"
"""The page's address on the site."""
BUTTON = f"[Open the live report]({ADDRESS}){{ .md-button .md-button--primary target=_blank rel=noopener }}"


def with_button(text: str) -> str:
    """A page's Markdown with the button where the gallery has the marks."""
    return re.sub(f"{MARK}.*?{END}", BUTTON, text, flags=re.DOTALL)


def commands(text: str) -> list[str]:
    """The commands that make the page: the first block of shell after the mark.

    Args:
        text: the gallery's Markdown.

    Raises:
        PluginError: there is no mark, or no block after it.
    """
    block = re.search(r"^```sh\n(.*?)^```", text.partition(MARK)[2], re.MULTILINE | re.DOTALL)
    if block is None:
        raise PluginError(f"{PAGE.name} has no block of shell after {MARK}: put there what makes the live report")
    return block[1].replace("\\\n", " ").splitlines()


def digest(lines: Sequence[str], code: Path = ROOT / "gptfl") -> str:
    """What tells two states of the page apart: the commands, and every file of gptfl by its path.

    Args:
        lines: the commands.
        code: the package's folder.
    """
    found = hashlib.sha256("\n".join(lines).encode())
    for path in sorted(path for path in code.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        content = path.read_bytes()
        found.update(f"\n{path.relative_to(code).as_posix()} {len(content)}\n".encode() + content)
    return found.hexdigest()[:16]


def environment() -> dict[str, str]:
    """The environment of what this tree's gptfl makes for the site."""
    # Settings of the reader's own (a workspace, a configuration) have no say in a page that everyone sees.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GPTFL_")}
    paths = [str(ROOT), *filter(None, [inherited.get("PYTHONPATH")])]
    return {**inherited, "PYTHONPATH": os.pathsep.join(paths)}


def carried_out(lines: Sequence[str], folder: Path) -> Path:
    """Carry out the commands with this tree's gptfl; returns the page of the last one.

    Args:
        lines: the commands, each of gptfl.
        folder: where they are run; it gets their workspace.

    Raises:
        PluginError: a command fails, for instance as gptfl's dependencies aren't installed.
    """
    for line in lines:
        command = [sys.executable, "-m", *shlex.split(line)]
        done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
        if done.returncode:
            why = (done.stderr.strip() or "it says nothing").splitlines()[-1]
            fix = " (make install)" if "No module named" in why else ""
            raise PluginError(f"the live report can't be made, {line!r} ends with {done.returncode}: {why}{fix}")
    return folder / "gptfl-work" / "report.html"


def live_report(kept: Path = KEPT) -> bytes:
    """The page, made if there is none of this state of the code; earlier ones are removed then.

    Args:
        kept: the folder of pages that were made.

    Raises:
        PluginError: it can't be made.
    """
    lines = commands(PAGE.read_text(encoding="utf-8"))
    path = kept / f"{digest(lines)}.html"
    if not path.is_file():
        kept.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept) as folder:
            made = carried_out(lines, Path(folder))
            # A build beside this one may have been quicker; its page is the same.
            made.replace(path)
        for other in kept.glob("*.html"):
            if other != path:
                other.unlink(missing_ok=True)
    return path.read_bytes()
