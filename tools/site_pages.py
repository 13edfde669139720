"""What mkdocs calls while it builds the site: it adds pages that lie outside docs/, leads links to them, and makes two.

The pages stay where a forge shows them, with links as files of the repository have them. On the site, a page of docs/
has the same name, and every other page lies in ``repository/`` under its path. The
gallery's live report page is in no repository: live_report.py makes it, and notebook_page.py the page of the notebook.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

import notebook_page
from live_report import ADDRESS, live_report, with_button
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
OUTSIDE = (
    "README.md",
    "CITATION.cff",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "benchmarks/README.md",
    "plugins/*/README.md",
)
FOLDER = "repository/"
FENCED = re.compile(r"^(```.*?^```)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<=\]\()([^)#\s:]+)(?=[)#])")
"""The path of a link to another page, without what follows ``#``."""


def outside_pages() -> list[str]:
    """The pages outside docs/ that the site has, by their path in the repository."""
    return sorted(path.relative_to(ROOT).as_posix() for pattern in OUTSIDE for path in ROOT.glob(pattern))


def in_repository(uri: str) -> str:
    """The path in the repository of what has this address on the site."""
    return uri.removeprefix(FOLDER) if uri.startswith(FOLDER) else f"docs/{uri}"


def site_address(path: str) -> str:
    """The address on the site of a file of the repository."""
    if path == notebook_page.SOURCE:
        return notebook_page.ADDRESS
    return path.removeprefix("docs/") if path.startswith("docs/") else FOLDER + path


def led(text: str, uri: str) -> str:
    """A page's text with its links as they lead on the site; what stands in blocks of code stays.

    Args:
        text: Markdown, with links as in the repository.
        uri: the page's address on the site.
    """
    here, there = posixpath.dirname(in_repository(uri)), posixpath.dirname(uri)

    def lead(found: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(here, found[1]))
        return posixpath.relpath(site_address(path), there or ".")

    parts = FENCED.split(text)
    return "".join(part if place % 2 else LINK.sub(lead, part) for place, part in enumerate(parts))


def on_files(files: Files, config: Any) -> Files:
    """Add the pages outside docs/, the live report page, and the notebook with its page and pictures."""
    for path in outside_pages():
        files.append(File.generated(config, FOLDER + path, abs_src_path=str(ROOT / path)))
    files.append(File.generated(config, ADDRESS, content=live_report()))
    for address, content in notebook_page.files_of(notebook_page.executed()).items():
        files.append(File.generated(config, address, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Lead the links of a page, and put the live report's button where it belongs."""
    return with_button(led(markdown, page.file.src_uri))
