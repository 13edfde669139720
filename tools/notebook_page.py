"""The executed tutorial: docs/notebook.py run as a notebook, once for each state of the code, and made a page of the site.

What was run lies in ``build/notebook``, named by a digest of gptfl's own files and of the notebook. The page is Markdown with
the outputs in it, so that it has the site's look, menu, search and checks of links.
"""

import base64
import re
import tempfile
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from live_report import ROOT, digest, environment
from mkdocs.exceptions import PluginError
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from traitlets.config import Config

SOURCE = "docs/notebook.py"
"""The notebook, in the percent format of jupytext."""
KEPT = ROOT / "build" / "notebook"
ADDRESS = "notebook.md"
DOWNLOAD = "notebook.ipynb"
PICTURES = "notebook"
"""The folder of the page's pictures, on the site."""
WIDE = 700
"""A picture that is so many pixels wide is not made as narrow as a phone."""
SECONDS = 900
"""No cell takes longer."""
BUTTONS = (
    f'<p class="notebook-download"><a class="md-button md-button--primary" href="{DOWNLOAD}" '
    'download="gptfl-tutorial.ipynb">Download as .ipynb</a> <a class="md-button md-button--primary" href="notebook.py" '
    'download="gptfl-tutorial.py">Download as .py</a></p>'
)
LINK = re.compile(r"\[([^\]]*)\]\([^):\s]*\)")


def executed(source: str | None = None, kept: Path = KEPT) -> Any:
    """The notebook with its outputs, run if there is none of this state of the code; earlier ones are removed then.

    Args:
        source: in the percent format; by default that of the repository.
        kept: the folder of notebooks that were run.

    Raises:
        PluginError: a cell fails, or nothing can run it.
    """
    text = (ROOT / SOURCE).read_text(encoding="utf-8") if source is None else source
    path = kept / f"{digest([text])}.ipynb"
    if not path.is_file():
        kept.mkdir(parents=True, exist_ok=True)
        notebook = jupytext.reads(text, fmt="py:percent")
        with tempfile.TemporaryDirectory(dir=kept) as folder:
            run(notebook, Path(folder))
            made = Path(folder) / "run.ipynb"
            nbformat.write(notebook, made)
            # A build beside this one may have been quicker; its notebook is as good.
            made.replace(path)
        for other in kept.glob("*.ipynb"):
            if other != path:
                other.unlink(missing_ok=True)
    return nbformat.read(path, as_version=4)


def run(notebook: Any, folder: Path) -> None:
    """Run a notebook's cells in order, with this tree's gptfl and without a network; it gets their outputs.

    Args:
        notebook: the cells.
        folder: where they are run.

    Raises:
        PluginError: a cell fails, or takes longer than ``SECONDS``.
    """
    notebook.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    offline = {**environment(), "HF_HUB_OFFLINE": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    # Sockets of the file system, whose paths must be short, so that no port is open while it runs.
    with tempfile.TemporaryDirectory(prefix="nb") as sockets:
        kernel = {"transport": "ipc", "connection_file": str(Path(sockets) / "kernel.json")}
        client = NotebookClient(
            notebook,
            config=Config(KernelManager=kernel),
            kernel_name="python3",
            timeout=SECONDS,
            record_timing=False,
            resources={"metadata": {"path": str(folder)}},
        )
        try:
            client.execute(env=offline)
        except CellExecutionError as error:
            last = f"{error.ename}: {error.evalue}"
            raise PluginError(f"{SOURCE} can't be run, a cell ends with {last}") from error
        except (CellTimeoutError, DeadKernelError) as error:
            raise PluginError(f"{SOURCE} can't be run: {str(error).strip().splitlines()[0]}") from error
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs = [one for one in cell.outputs if is_shown(one)]


def is_shown(output: Any) -> bool:
    """Whether an output is for readers: no bar of what is finished, and nothing that a library says beside it."""
    if output.output_type == "stream":
        return output.name == "stdout"
    return any("".join(value).strip() for value in output.data.values())


def files_of(notebook: Any) -> dict[str, str | bytes]:
    """The page, its pictures and the notebook to download, by their address on the site.

    Args:
        notebook: with its outputs.
    """
    pictures: dict[str, bytes] = {}
    parts: list[str] = []
    for cell in notebook.cells:
        if cell.cell_type != "code":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        parts += (shown for output in cell.outputs for shown in rendered(output, cell.source, pictures))
    first, _, rest = "\n\n".join(parts).partition("\n")
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            # Where it is downloaded to, there are no pages beside it.
            cell.source = LINK.sub(r"\1", cell.source)
    page = f"{first}\n\n{BUTTONS}\n{rest}\n"
    return {ADDRESS: page, DOWNLOAD: nbformat.writes(notebook), **pictures}


def rendered(output: Any, source: str, pictures: dict[str, bytes]) -> Iterator[str]:
    """An output as HTML that Markdown leaves alone.

    Args:
        output: of a cell.
        source: the cell's code.
        pictures: gets its picture, if it is one, by address.
    """
    data = {} if output.output_type == "stream" else output.data
    if "image/png" in data:
        address = f"{PICTURES}/{len(pictures) + 1}.png"
        pictures[address] = base64.b64decode(data["image/png"])
        size = output.metadata.get("image/png", {})
        # After pyplot was imported, it is matplotlib that shows figures, and says no size; that of a PNG stands at its head.
        pixels = size.get("width") or int.from_bytes(pictures[address][16:20])
        wide = ' class="notebook-wide"' if pixels > WIDE else ""
        sized = wide + "".join(f' {name}="{size[name]}"' for name in ("width", "height") if name in size)
        drawn = escape(source.splitlines()[-1])
        shown = f'<a href="{address}"><img src="{address}" alt="The picture that {drawn} gives"{sized}></a>'
    elif "text/html" in data:
        shown = data["text/html"]
    else:
        shown = f"<pre>{escape(data.get('text/plain', output.get('text', '')))}</pre>"
    yield f'<div class="notebook-output" data-search-exclude>\n{shown}\n</div>'
