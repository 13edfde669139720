"""To whom ``gptfl serve`` answers: not to another token, another host or another site, and nothing that isn't known."""

import http.client
import json
import socket
from pathlib import Path
from urllib.parse import quote

import pytest

from gptfl.api.page_server import MOST_BYTES, PageServer
from gptfl.errors import ResourceError
from tests.api.served import ask, bits, running
from tests.api.sides import write


@pytest.fixture(scope="module")
def space(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def server(space):
    made = running(space)
    yield made
    made.shutdown()
    made.server_close()


@pytest.mark.parametrize("token", ["", "wrong", "é", "../etc", "%2e%2e", "a" * 5000])
def test_another_token_is_refused(server, token):
    assert ask(server, token=quote(token))[0] == 403
    assert ask(server, "what-if", "POST", token=quote(token), body="{}")[0] == 403


def test_part_of_the_token_is_refused(server):
    for token in (server.token[:-1], server.token + "a", server.token.swapcase()):
        assert ask(server, token=token)[0] == 403
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    connection.request("GET", f"/{server.token}")
    assert connection.getresponse().status == 403, "without the slash that relative addresses need"
    connection.close()


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "evil.example:{port}", "127.0.0.1:1", "localhost.evil.example:{port}", ""]
)
def test_another_host_is_refused(server, host):
    given = host.format(port=server.server_port)
    for name, method in (("", "GET"), ("what-if", "POST")):
        assert ask(server, name, method, headers={"Host": given}, body="{}" if method == "POST" else None)[0] == 403
    assert ask(server, headers={"Host": f"localhost:{server.server_port}"})[0] == 200


def test_a_request_without_a_host_or_with_two_is_refused(server):
    def raw(lines):
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=20) as line:
            line.sendall(lines.encode())
            return line.makefile("rb").readline()

    ours = f"Host: 127.0.0.1:{server.server_port}\r\n"
    assert b"403" in raw(f"GET /{server.token}/ HTTP/1.1\r\n\r\n")
    assert b"403" in raw(f"GET /{server.token}/ HTTP/1.1\r\n{ours}Host: evil.example\r\n\r\n")
    assert b"200" in raw(f"GET /{server.token}/ HTTP/1.1\r\n{ours}\r\n")


def test_another_site_may_not_ask(server):
    body = json.dumps({"on": bits([0]), "against": None})
    assert ask(server, "what-if", "POST", headers={"Origin": "http://evil.example"}, body=body)[0] == 403
    assert ask(server, "what-if", "POST", headers={"Origin": "null"}, body=body)[0] == 403
    own = f"http://127.0.0.1:{server.server_port}"
    assert ask(server, "what-if", "POST", headers={"Origin": own}, body=body)[0] == 200


@pytest.mark.parametrize(
    "name", ["index.html", "..", "../", "rows/", "worths.dynamics.h5", "%2e%2e/%2e%2e/etc/passwd", "ids"]
)
def test_there_is_nothing_else(server, name):
    code, _, content = ask(server, name)
    assert code == 404
    assert json.loads(content) == {"error": "there is nothing here"}


@pytest.mark.parametrize("method", ["PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE"])
def test_nothing_can_be_written(server, method):
    assert ask(server, method=method)[0] in (403, 501)


@pytest.mark.parametrize(
    ("name", "body", "code"),
    [
        ("rows?from=-1&count=2", None, 400),
        ("rows?from=99&count=2", None, 400),
        ("rows?from=0", None, 400),
        ("rows?from=٣&count=1", None, 400),
        ("texts?rows=1,x", None, 400),
        ("texts?rows=" + ",".join(["1"] * 51), None, 400),
        ("matrix?from=99&count=1", None, 400),
        ("what-if", "[]", 400),
        ("what-if", "{", 400),
        ("what-if", "[" * 100000, 400),
        ("what-if", '{"on": "AA"}', 400),
        ("what-if", '{"on": 3}', 400),
        ("what-if", '{"on": "!!!"}', 400),
        ("what-if", json.dumps({"on": bits([1]), "against": bits([])}), 400),
        ("ids", '{"on": null}', 400),
    ],
)
def test_what_cannot_be_answered_is_refused_with_a_reason(server, name, body, code):
    found, _, content = ask(server, quote(name, safe="?=&,-"), "GET" if body is None else "POST", body=body)
    assert found == code
    assert json.loads(content)["error"]


def test_a_question_has_a_bounded_size(server):
    assert ask(server, "what-if", "POST", headers={"Content-Length": str(MOST_BYTES + 1)})[0] == 413
    assert ask(server, "what-if", "POST", headers={"Content-Length": "-5"})[0] == 413


def test_it_listens_on_this_machine_alone_and_each_start_has_its_token(space, server):
    assert server.server_address[0] == "127.0.0.1"
    assert len(server.token) >= 32
    other = running(space)
    assert other.token != server.token
    with pytest.raises(ResourceError, match=f"port {other.server_port} can't be listened on"):
        PageServer(other.page, other.what_if, other.server_port)
    other.shutdown()
    other.server_close()
