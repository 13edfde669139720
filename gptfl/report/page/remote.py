"""What a page asks for that doesn't hold it itself: pages of rows, texts, blocks of effects, and which rows hold words."""

import base64
import binascii
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool

from gptfl.core.texts import written_id
from gptfl.errors import UsageError
from gptfl.report.page.content import PageParts, examples_json, matrix_block
from gptfl.report.page.render import html_of

MOST_ROWS, MOST_TEXTS, MOST_BLOCK = 500, 50, 1000
"""At most so many are given at once."""
MOST_WORDS = 1000
"""Characters of a search."""


@dataclass(frozen=True)
class RemotePage:
    """A page without its rows, texts and effects, and these on request.

    All places are checked: ``UsageError`` is raised for those that aren't there.
    """

    parts: PageParts

    @cached_property
    def html(self) -> str:
        """The page."""
        return html_of(replace(self.parts, is_remote=True))

    def rows(self, start: int, count: int) -> dict[str, Any]:
        """The ids and beginnings of the rows from ``start`` on."""
        self._check(start, "from")
        found = examples_json(self.parts.pool[start : start + min(count, MOST_ROWS)])
        return {"rows": [{name: one[name] for name in ("id", "written", "short")} for one in found]}

    def texts(self, rows: list[int]) -> dict[str, Any]:
        """The whole texts of some rows."""
        if len(rows) > MOST_TEXTS:
            raise UsageError(f"{len(rows)} rows were asked for", f"ask for at most {MOST_TEXTS} at once")
        for row in rows:
            self._check(row, "rows")
        return {"rows": examples_json([self.parts.pool[row] for row in rows])}

    def block(self, start: int, count: int) -> dict[str, Any]:
        """The effects of some rows of the matrix, in its order, on every test example."""
        matrix = self.parts.matrix
        if matrix is None or not 0 <= start < len(matrix.rows) or count < 1:
            raise UsageError("no such rows of effects", "ask for rows that the page names")
        return matrix_block(matrix, start, start + min(count, MOST_BLOCK))

    def search(self, words: str) -> dict[str, Any]:
        """Which rows hold all of some words, as a bit a row."""
        asked = words[:MOST_WORDS].lower().split()
        found = np.array([all(word in text for word in asked) for text in self._searchable], dtype=bool)
        return {"rows": base64.b64encode(np.packbits(found, bitorder="little").tobytes()).decode()}

    def ids(self, on: Bool[np.ndarray, " pool"]) -> dict[str, Any]:
        """The ids of a subset, one a line."""
        return {"text": "".join(f"{written_id(self.parts.pool[row].id)}\n" for row in np.flatnonzero(on))}

    def subset(self, bits: object) -> Bool[np.ndarray, " pool"]:
        """A subset from a bit a row, in base64. Raises ``UsageError`` for anything else."""
        count = len(self.parts.pool)
        size = (count + 7) // 8
        try:
            data = base64.b64decode(bits, validate=True) if isinstance(bits, str) else b""
        except (binascii.Error, ValueError):
            data = b""
        if len(data) != size:
            raise UsageError("a subset is no bit a row", f"send {size} bytes as base64")
        found = np.unpackbits(np.frombuffer(data, dtype=np.uint8), bitorder="little")
        return found[:count].astype(bool)

    @cached_property
    def _searchable(self) -> list[str]:
        """Ids and texts in small letters; of a conversation those of its turns."""
        return [
            " ".join(
                [one.id, *([turn.content for turn in one.turns] if one.turns else [one.prompt, one.target])]
            ).lower()
            for one in self.parts.pool
        ]

    def _check(self, row: int, name: str) -> None:
        if not 0 <= row < len(self.parts.pool):
            raise UsageError(f"{name} is {row}", f"there are {len(self.parts.pool)} rows, from 0 on")
