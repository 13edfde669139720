from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from huggingface_hub import constants

from gptfl.errors import DataError, ResourceError
from gptfl.hub import explained, fetch_file, require_hub
from gptfl.training.hub_models import fetch_model
from tests.hub import add_file, use_cache

REQUEST = {"revision": "2" * 40, "repo_type": "model", "where": "--model x", "instead": "pass a folder"}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    use_cache(monkeypatch, tmp_path)
    return tmp_path


def online(monkeypatch, endpoint):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")


def test_a_cached_file_is_taken_without_asking_the_network(cache):
    add_file(cache, "a/b", "2" * 40, "config.json", repo_type="model").write_text("{}")
    assert fetch_file("a/b", "config.json", **REQUEST).read_text() == "{}"


def test_offline_it_says_so_and_what_to_do_instead(cache):
    with pytest.raises(ResourceError, match="--model x: a/b is not in the cache, and HF_HUB_OFFLINE is set") as caught:
        fetch_file("a/b", "config.json", **REQUEST)
    assert "pass a folder" in caught.value.remedy


def test_a_hub_out_of_reach_is_reported_after_one_try(cache, monkeypatch):
    online(monkeypatch, "http://127.0.0.1:9")
    with pytest.raises(ResourceError, match=r"can't be reached .*: check the network, .* or pass a folder"):
        fetch_file("a/b", "config.json", **REQUEST)


@pytest.fixture
def hub():
    """A server that answers every request as its ``status`` and ``code`` say."""

    class Handler(BaseHTTPRequestHandler):
        status, code = 404, "RepoNotFound"

        def do_HEAD(self):
            self.send_response(200 if self.path == "/" else Handler.status)
            self.send_header("X-Error-Code", Handler.code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_HEAD

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield Handler, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "code", "kind", "problem"),
    [
        (404, "RepoNotFound", DataError, "is not on the Hub, or is private"),
        (404, "RevisionNotFound", DataError, "is not on the Hub, or is private"),
        (404, "EntryNotFound", DataError, "is not on the Hub, or is private"),
        (403, "GatedRepo", ResourceError, "is gated: accept its terms"),
        (418, "", ResourceError, "can't be had"),
    ],
)
def test_what_the_hub_refuses_is_one_line(cache, monkeypatch, hub, status, code, kind, problem):
    handler, endpoint = hub
    handler.status, handler.code = status, code
    online(monkeypatch, endpoint)
    with pytest.raises(kind, match=problem) as caught:
        fetch_file("a/b", "config.json", **REQUEST)
    assert str(caught.value).startswith("--model x: a/b/config.json")
    assert "\n" not in str(caught.value)


def test_a_reachable_hub_raises_nothing(monkeypatch, hub):
    online(monkeypatch, hub[1])
    require_hub("x", "y")


def test_a_full_disk_is_explained():
    with pytest.raises(ResourceError, match="no room"), explained("a file", "free some"):
        raise OSError(28, "no room")


MODEL = {"where": "--model a/b", "instead": "pass a folder"}


def in_cache(cache, **files):
    for name, content in files.items():
        folder = add_file(cache, "a/b", "2" * 40, name, repo_type="model", ref="main")
        folder.write_text(content)
    return folder.parent


def test_a_cached_model_is_taken_in_one_file_or_several(cache):
    folder = in_cache(
        cache, **{"config.json": "{}", "model.safetensors.index.json": '{"weight_map": {"x": "1.safetensors"}}'}
    )
    with pytest.raises(ResourceError, match="a/b is not in the cache, and HF_HUB_OFFLINE is set"):
        fetch_model("a/b", **MODEL)
    in_cache(cache, **{"1.safetensors": ""})
    assert fetch_model("a/b", **MODEL) == folder
    in_cache(cache, **{"model.safetensors": ""})
    assert fetch_model("a/b", **MODEL) == folder


@pytest.mark.parametrize("name", ["w.bin", "../outside.safetensors", "/outside.safetensors", "sub/w.safetensors"])
def test_an_index_of_the_hub_names_plain_safetensors_alone(cache, name):
    index = f'{{"weight_map": {{"x": "{name}"}}}}'
    in_cache(cache, **{"config.json": "{}", "model.safetensors.index.json": index})
    with pytest.raises(DataError, match=f"--model a/b: model.safetensors.index.json names '{name}': only .safetensors"):
        fetch_model("a/b", **MODEL)


def test_a_repository_without_a_model_is_one_line(cache, monkeypatch, hub):
    handler, endpoint = hub
    handler.code = "EntryNotFound"
    online(monkeypatch, endpoint)
    in_cache(cache, **{"config.json": "{}"})
    with pytest.raises(DataError, match=r"--model a/b: a/b is not on the Hub, or is private: pass a folder"):
        fetch_model("a/b", **MODEL)
