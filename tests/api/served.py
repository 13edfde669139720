"""A server of a page, and questions to it as a browser would send them."""

import base64
import http.client
import json
import threading

import numpy as np

from gptfl.api.serve import page_server
from gptfl.options.base import make
from gptfl.options.report import ServeOptions
from tests.api.sides import POOL


def running(space, **options):
    """A server of a workspace, and the thread that it answers in."""
    server = page_server(make(ServeOptions, workspace=space, no_comparison=True, **options))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    return server


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
