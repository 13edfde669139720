"""What ``gptfl serve`` answers, to whom, and that it is what ``gptfl simulate`` says."""

import base64
import http.client
import json
import shutil
import socket
import threading
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest

import gptfl
from gptfl.api.page_server import MOST_BYTES, PageServer
from gptfl.api.serve import page_server
from gptfl.errors import DataError, ResourceError, UsageError
from gptfl.options.base import make
from gptfl.options.report import ServeOptions
from tests.api.sides import POOL, write


@pytest.fixture(scope="module")
def space(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("served"))


def running(space, **options):
    """A server of a workspace, and the thread that it answers in."""
    server = page_server(make(ServeOptions, workspace=space, no_comparison=True, **options))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    return server


@pytest.fixture(scope="module")
def server(space):
    made = running(space)
    yield made
    made.shutdown()
    made.server_close()


def ask(server, name="", method="GET", token=None, headers=None, body=None):
    """The status, the headers and the content of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    connection.request(method, f"/{server.token if token is None else token}/{name}", body=body, headers=headers or {})
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return found


def asked(server, name, body=None):
    """What a known question is answered."""
    code, _, content = ask(
        server, name, "GET" if body is None else "POST", body=None if body is None else json.dumps(body)
    )
    assert code == 200, content
    return json.loads(content)


def bits(members):
    on = np.zeros(POOL, dtype=bool)
    on[list(members)] = True
    return base64.b64encode(np.packbits(on, bitorder="little").tobytes()).decode()


def values(one):
    return np.frombuffer(base64.b64decode(one["data"]), dtype="<f4").reshape(one["shape"])


def test_answers_are_those_of_simulate(server, space):
    simulator = gptfl.open_simulator(workspace=space)
    ids = [one.id for one in gptfl.open_recording(workspace=space).pool]
    for members in ([0], [1, 5, 9, 20], range(POOL)):
        truth = simulator.simulate([ids[one] for one in members], every_order=True)
        found = asked(server, "what-if", {"on": bits(members), "against": None})
        np.testing.assert_array_equal(values(found["values"]), truth.values[0].astype(np.float32))
        for name, bound in zip(("low", "high"), truth.prediction.intervals[0.9], strict=True):
            np.testing.assert_array_equal(values(found[name]), bound[0].astype(np.float32))
        assert found["novelty"] == pytest.approx(truth.novelty[0])
        assert found["count"] == len(members)
    rest = [one for one in range(POOL) if one not in (3, 4)]
    found = asked(server, "what-if", {"on": bits(rest), "against": bits(range(POOL))})
    dropped = simulator.simulate(drop=[ids[3], ids[4]])
    assert values(found["mean"])[-1] - found["than"] == pytest.approx(dropped.mean_change, abs=1e-6)
    low, high = dropped.change_intervals[0.9]
    reach = server.page.parts.form.reach
    assert 2 * reach * found["spread"] == pytest.approx(high - low, rel=1e-3)
    assert asked(server, "what-if", {"on": bits([]), "against": None}) == {"count": 0}


def test_an_estimator_without_every_order_answers_in_random_ones(space, tmp_path):
    copy = Path(shutil.copytree(space, tmp_path / "copy"))
    gptfl.fit("gptfluence", workspace=copy, settings={"epochs": 5})
    other = running(copy, estimator="gptfluence")
    ids = [one.id for one in gptfl.open_recording(workspace=copy).pool]
    truth = gptfl.open_simulator(workspace=copy, estimator="gptfluence").simulate(ids[:5], orders=4)
    found = asked(other, "what-if", {"on": bits(range(5)), "against": None})
    np.testing.assert_allclose(values(found["values"]), truth.values.mean(axis=0), rtol=1e-5)
    assert found["spread"] is None
    assert "4 random orders" in ask(other)[2].decode()
    other.shutdown()
    other.server_close()


def test_the_page_holds_no_rows_and_may_ask_its_own_server_alone(server):
    code, headers, content = ask(server)
    text = content.decode()
    assert code == 200
    assert "connect-src 'self'; base-uri" in text
    data = json.loads(text.partition('id="data">')[2].partition("</script>")[0])
    assert data["pool"] == {"count": POOL}
    assert data["form"].keys() == {"kind", "steps", "reach", "bounds", "tests"}
    assert data["matrix"].keys() == {"has_spread", "rows", "columns"}
    assert "Made by <code>gptfl serve</code>" in text
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    assert "Python" not in headers["Server"]


def test_rows_texts_effects_and_searches_come_in_parts(server):
    pool, matrix = server.page.parts.pool, server.page.parts.matrix
    rows = asked(server, "rows?from=20&count=200")["rows"]
    assert [one["id"] for one in rows] == [one.id for one in pool[20:]]
    assert set(rows[0]) == {"id", "written", "short"}
    assert asked(server, "texts?rows=3,1")["rows"][1]["prompt"] == pool[1].prompt
    block = asked(server, "matrix?from=2&count=3")
    np.testing.assert_array_equal(values(block["mean"]), matrix.mean[matrix.rows[2:5]].astype(np.float32))
    found = base64.b64decode(asked(server, "search?q=TRAIN-1")["rows"])
    on = np.unpackbits(np.frombuffer(found, np.uint8), bitorder="little")[:POOL]
    assert [pool[row].id for row in np.flatnonzero(on)] == [one.id for one in pool if "train-1" in one.id]
    assert asked(server, "ids", {"on": bits([2, 0])})["text"] == "train-0\ntrain-2\n"


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
        page_server(make(ServeOptions, workspace=space, no_comparison=True, port=other.server_port))
    other.shutdown()
    other.server_close()


def test_what_cannot_be_shown_is_said_in_one_line(space, tmp_path):
    with pytest.raises(UsageError, match="port is 70000: give a number from 0 to 65535"):
        gptfl.serve(70000, workspace=space)
    with pytest.raises(DataError):
        gptfl.serve(workspace=tmp_path)
    copy = Path(shutil.copytree(space, tmp_path / "copy"))
    for path in copy.glob("*.simulator.h5"):
        path.unlink()
    with pytest.raises(DataError, match="there is no simulator to ask: gptfl featurize, then gptfl fit"):
        gptfl.serve(workspace=copy)


def test_it_ends_by_ctrl_c(space, monkeypatch, capsys):
    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(PageServer, "serve_forever", interrupted)
    told = []
    assert gptfl.serve(workspace=space, no_comparison=True, announce=lambda url, notes: told.append(url)) == 0
    assert told[0].startswith("http://127.0.0.1:")
    gptfl.serve(workspace=space, no_comparison=True)
    assert capsys.readouterr().out.startswith("http://127.0.0.1:")
