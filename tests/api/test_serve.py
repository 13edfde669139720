"""What ``gptfl serve`` answers, to whom, and that it is what ``gptfl simulate`` says."""

import base64
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import gptfl
from gptfl.api.page_server import PageServer
from gptfl.api.serve import serve
from gptfl.errors import DataError, UsageError
from tests.api.served import ask, asked, bits, running, values
from tests.api.sides import POOL, write


@pytest.fixture(scope="module")
def space(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def server(space):
    made = running(space)
    yield made
    made.shutdown()
    made.server_close()


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
    assert serve(workspace=space, no_comparison=True, announce=lambda url, notes: told.append(url)) == 0
    assert told[0].startswith("http://127.0.0.1:")
    gptfl.serve(workspace=space, no_comparison=True)
    assert capsys.readouterr().out.startswith("http://127.0.0.1:")
