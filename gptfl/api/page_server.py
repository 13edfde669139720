"""Serves one page to a browser of this machine.

The standard library's ``ThreadingHTTPServer`` does it: there is one reader, answers are computed one at a time anyway, and
nothing need be installed. What that server leaves to others is done here: it listens on 127.0.0.1 alone, every address
begins with a token that is drawn anew at each start, the Host that a browser names has to be this machine (else a page of
another site could come to be read as ours, by DNS rebinding), and sizes and times are bounded. Nothing can be written, no
file is ever opened, and every address that isn't known is refused alike.
"""

import json
import secrets
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from gptfl.core.texts import json_text
from gptfl.core.versions import installed_version
from gptfl.errors import GptflError, ResourceError, UsageError
from gptfl.report.page.remote import RemotePage

HOST = "127.0.0.1"
SECONDS = 30
"""A request that takes longer to arrive is given up."""
MOST_BYTES = 4 * 2**20
"""Of a question; a bit a row of twelve million rows."""
WhatIf = Callable[[Any, Any], Mapping[str, Any]]
"""Answers about a subset, and another that it is held against or None."""


class PageServer(ThreadingHTTPServer):
    """Serves a page, and answers what it asks. Raises ``ResourceError`` where the port can't be had.

    ``url`` is the page's, with its token; ``answered`` counts the questions about subsets.
    """

    daemon_threads = True
    allow_reuse_address = False

    def __init__(self, page: RemotePage, what_if: WhatIf, port: int) -> None:
        self.page, self.what_if, self.answered = page, what_if, 0
        self.token = secrets.token_urlsafe(24)
        self.lock = threading.Lock()
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise ResourceError(
                f"port {port} can't be listened on ({error.strerror})", "give another --port"
            ) from error

    @property
    def url(self) -> str:
        """The page's address."""
        return f"http://{HOST}:{self.server_port}/{self.token}/"

    @property
    def hosts(self) -> tuple[str, ...]:
        """What a browser of this machine calls it."""
        return tuple(f"{name}:{self.server_port}" for name in (HOST, "localhost"))

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that hangs up is no mistake of anyone's; what else goes wrong was answered already."""


class _Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: PageServer
    server_version = "gptfl"
    sys_version = ""
    timeout = SECONDS

    def version_string(self) -> str:
        return f"gptfl/{installed_version('gptfl')}"

    def do_GET(self) -> None:
        """The page, rows, texts, effects, and what holds words."""
        asked = self._asked()
        if asked is None:
            return
        name, query = asked
        page = self.server.page
        answers: dict[str, Callable[[], Mapping[str, Any]]] = {
            "rows": lambda: page.rows(_whole(query, "from"), _whole(query, "count")),
            "texts": lambda: page.texts(_wholes(query, "rows")),
            "matrix": lambda: page.block(_whole(query, "from"), _whole(query, "count")),
            "search": lambda: page.search(query.get("q", "")),
        }
        if name == "":
            self._send(200, page.html.encode(), "text/html; charset=utf-8")
        elif name in answers:
            self._answer(answers[name])
        else:
            self._refuse(404, "there is nothing here")

    def do_POST(self) -> None:
        """What a subset would give, or its ids."""
        asked = self._asked()
        if asked is None:
            return
        name, _ = asked
        if self.headers.get("Origin", f"http://{self.headers.get('Host')}") != f"http://{self.headers.get('Host')}":
            self._refuse(403, "another site asks")
            return
        if name not in ("what-if", "ids"):
            self._refuse(404, "there is nothing here")
            return
        body = self._body()
        if body is not None:
            self._answer(lambda: self._what_if(body) if name == "what-if" else self._ids(body))

    def _what_if(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        page, against = self.server.page, body.get("against")
        on = page.subset(body.get("on"))
        other = None if against is None else page.subset(against)
        with self.server.lock:
            self.server.answered += 1
            return self.server.what_if(on, other)

    def _ids(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        return self.server.page.ids(self.server.page.subset(body.get("on")))

    def _asked(self) -> tuple[str, dict[str, str]] | None:
        """What is asked for, and with which values; None where it was refused."""
        host = self.headers.get_all("Host") or []
        parts = urlsplit(self.path)
        token, slash, name = parts.path.removeprefix("/").partition("/")
        # Compared as bytes, since only ASCII text may be.
        is_known = secrets.compare_digest(token.encode("utf-8", "replace"), self.server.token.encode())
        if len(host) != 1 or host[0] not in self.server.hosts or not (is_known and slash):
            self._refuse(403, "this address is not known: take the one that gptfl serve printed")
            return None
        given = parse_qs(parts.query, max_num_fields=8)
        return name, {name: values[-1] for name, values in given.items()}

    def _body(self) -> Mapping[str, Any] | None:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MOST_BYTES:
            self._refuse(413, f"a question has at most {MOST_BYTES} bytes, and says how many")
            return None
        try:
            found = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            self._refuse(400, "a question is a JSON object")
            return None
        return found

    def _answer(self, answer: Callable[[], Mapping[str, Any]]) -> None:
        try:
            text = json_text(answer())
        except UsageError as error:
            self._refuse(400, error.line)
        except GptflError as error:
            self._refuse(500, error.line)
        else:
            self._send(200, text.encode(), "application/json")

    def _refuse(self, code: int, problem: str) -> None:
        self.close_connection = True
        self._send(code, json_text({"error": problem}).encode(), "application/json")

    def _send(self, code: int, content: bytes, kind: str) -> None:
        self.send_response(code)
        for name, value in {
            "Content-Type": kind,
            "Content-Length": str(len(content)),
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Other methods and what is no HTTP: refused without a word of what came."""
        self._refuse(code, "this is not answered")

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is written of what is asked: addresses hold the token."""


def _whole(query: Mapping[str, str], name: str) -> int:
    text = query.get(name, "")
    if not (text.isascii() and text.isdecimal() and len(text) <= 9):
        raise UsageError(f"{name} is no number", f"give {name}=0 or more")
    return int(text)


def _wholes(query: Mapping[str, str], name: str) -> list[int]:
    parts = query.get(name, "").split(",")
    return [_whole({name: part}, name) for part in parts]
