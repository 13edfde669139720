"""``gptfl.select`` between two sides, and by shares of groups."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import gptfl
from gptfl.errors import DataError, UsageError
from gptfl.influence.frontier import target_rows
from gptfl.influence.targets import influence_target
from gptfl.report.frontier import frontier_csv, frontier_json, frontier_table, frontier_words
from gptfl.report.mixture import better_words, mixture_csv, mixture_json, mixture_table
from gptfl.simulation.forms import linear_form_of
from tests.api.sides import POOL, SOURCES, write


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("sides"))


@pytest.fixture
def space(made, tmp_path) -> Path:
    return Path(shutil.copytree(made, tmp_path, dirs_exist_ok=True))


@pytest.fixture
def sides(space) -> dict[str, object]:
    return {"workspace": space, "on": f"group:{space / 'target.txt'}", "keep": f"group:{space / 'retain.txt'}"}


def test_the_ends_of_the_frontier_are_what_select_finds_for_each_side(space, sides):
    found = gptfl.select(8, **sides, search=400, frontier=5)
    alone = gptfl.select(8, workspace=space, on=sides["on"], search=400)
    other = gptfl.select(8, workspace=space, on=sides["keep"], search=400)
    ends = [set(one.ids) for one in found.points]
    first, last = found.points[0], found.points[-1]
    # Where another weight finds what is better for both, an end is left out.
    assert set(alone.ids) in ends or last.on <= alone.predicted
    assert set(other.ids) in ends or first.keep <= other.predicted
    gains = [(one.gain.value, one.retained.value) for one in found.points]
    assert gains == sorted(gains)
    assert [one[1] for one in gains] == sorted((one[1] for one in gains), reverse=True)
    assert found.reference[0] - last.on == pytest.approx(last.gain.value)


def test_intervals_are_the_joint_posteriors(space, sides):
    found = gptfl.select(8, **sides, search=200, frontier=3)
    source = gptfl.open_simulator(workspace=space).opened
    dynamics = source.recording.dynamics
    targets = [influence_target(str(sides[name]), dynamics) for name in ("on", "keep")]
    form = linear_form_of(source, target_rows(source, targets))
    for one in found.points:
        members = np.array([source.pool.places[id] for id in one.ids])
        covariance = form.joint_change(members).covariance
        reach = form.intervals.reach[0.9]
        for side, gain in enumerate((one.gain, one.retained)):
            assert gain.high - gain.value == pytest.approx(reach * np.sqrt(covariance[side, side]))
        # Simulated in a few orders, the centre is near the mean over all of them.
        change = form.joint_change(members).mean
        np.testing.assert_allclose(-change, [one.gain.value, one.retained.value], atol=0.1)
        assert 0 <= one.both <= 1


def test_a_points_ids_are_written_and_named(space, sides):
    found = gptfl.select(8, **sides, search=200, frontier=3, point=1, output=space / "one.txt")
    lines = (space / "one.txt").read_text().splitlines()
    assert lines[0].startswith("# gptfl select: 8 of 24 examples of worths.dynamics.h5, by exposure-gp, point 1 of ")
    assert lines[1:] == list(found.points[0].ids)
    assert found.figure is not None
    assert found.figure.read_bytes().startswith(b"\x89PNG")
    document = json.loads(frontier_json(found))
    assert [one["ids"] for one in document["points"]] == [list(one.ids) for one in found.points]
    assert document["chosen"] == 1
    rows = frontier_csv(found).splitlines()
    assert len(rows) == 1 + 8 * len(found.points)
    assert rows[0].startswith("estimator,point,weight,on,keep,gain,gain_low")
    assert frontier_table(found).row_count == len(found.points)
    assert "clearly better for the target: " in frontier_words(found)
    frame = found.to_frame()
    assert list(frame["ids"].iloc[0]) == list(found.points[0].ids)
    for name in ("a.json", "a.csv", "a.txt"):
        gptfl.save(found, space / name)
    gptfl.plot(found, space / "a.png")
    assert "frontier" not in found._repr_html_()
    gptfl.simulate(workspace=space, subset=space / "one.txt", figure=False)


def test_without_intervals_the_frontier_says_so(space, sides):
    gptfl.fit("gptfluence", workspace=space, metric="loss")
    simulator = gptfl.open_simulator(workspace=space, estimator="gptfluence")
    found = simulator.select(8, on=sides["on"], keep=sides["keep"], search=0, frontier=3, orders=1)
    assert (found.output, found.figure) == (None, None)
    assert all(one.both is None and one.gain.low is None for one in found.points)
    assert "no intervals, and no verdicts: gptfluence is not linear in what a run sees" in found.notes
    assert frontier_words(found) == "no interval says whether any of this is more than chance"
    assert "90% interval" not in found._repr_html_()
    with pytest.raises(DataError, match="gptfluence is not linear in what a run sees: fit exposure-gp"):
        simulator.select(8, by="source")
    with pytest.raises(DataError, match="--cautious 1: gptfluence doesn't say how sure it is"):
        simulator.select(8, on=sides["on"], keep=sides["keep"], cautious=1.0, orders=1)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"keep": "mean"}, "3 test examples are on both sides, test-0 the first"),
        ({"keep": "self"}, "--keep self names no test examples"),
        ({"keep": "test:nobody"}, "'nobody' is not an id of the test set"),
        ({"keep": "nobody"}, "keep 'nobody' is unknown"),
        ({"frontier": 1}, "frontier is 1: give 2 or more"),
        ({"keep": None, "frontier": 4}, "frontier is 4, without --keep: give --keep with it"),
        ({"keep": None, "point": 1}, "point is 1, without --keep"),
        ({"point": 99}, "point is 99: the frontier has "),
        ({"by": "source"}, "--by and --keep were given together"),
        ({"keep": None, "figure": "x.png"}, "--figure x.png: a subset has no picture"),
        ({"keep": None, "by": "colour"}, "--by colour: no row of the pool has it: there is number, source"),
        ({"keep": None, "by": "source", "diversity": 1.0}, "--diversity 1.0 is about rows"),
        ({"keep": None, "by": "source", "how": "drop"}, "--how drop is about rows"),
        ({"keep": None, "by": "source", "max_share_per_class": 0.25}, "leaves 6 of the --size 8 rows"),
    ],
)
def test_what_does_not_go_together_is_said_in_one_line(space, sides, options, says):
    given = {**sides, "search": 0, **options}
    with pytest.raises((UsageError, DataError), match=says) as caught:
        gptfl.select(8, **{name: value for name, value in given.items() if value is not None})
    assert "\n" not in str(caught.value)
    assert not list(space.glob("*.ids.txt"))


def test_a_mixture_is_of_shares_and_its_rows_are_drawn(space):
    found = gptfl.select(9, workspace=space, by="source", seed=4)
    assert found.names == SOURCES
    assert found.chosen.sum() == found.usual.sum() == len(found.ids) == 9
    assert found.usual.tolist() == [3, 3, 3]
    counts = dict.fromkeys(SOURCES, 0)
    for example in found.examples:
        counts[example.fields["source"]] += 1
    assert list(counts.values()) == found.chosen.tolist()
    assert found.predicted <= found.predicted_usual + 1e-9
    assert found.gain.low < found.gain.value < found.gain.high
    assert gptfl.select(9, workspace=space, by="source", seed=4).ids == found.ids
    assert gptfl.select(9, workspace=space, by="source", seed=5).ids != found.ids
    capped = gptfl.select(9, workspace=space, by="source", max_share_per_class=0.34)
    assert capped.chosen.tolist() == [3, 3, 3]
    assert better_words(capped).startswith("these are the pool's own shares")
    gptfl.simulate(workspace=space, subset=found.output, figure=False)


def test_a_mixture_holds_between_draws_what_single_draws_give(space):
    """The mean over draws and their spread, against many draws one by one."""
    found = gptfl.select(9, workspace=space, by="source")
    source = gptfl.open_simulator(workspace=space).opened
    form = linear_form_of(source, np.full((1, len(source.scope.test)), 1 / len(source.scope.test)))
    random = np.random.default_rng(0)
    groups = [np.flatnonzero(np.arange(POOL) % 3 == one) for one in range(3)]
    ends = []
    for _ in range(400):
        rows = [random.permutation(one)[:count] for one, count in zip(groups, found.chosen, strict=True)]
        ends.append(form.predict(np.concatenate(rows)).values[-1].mean())
    error = np.std(ends) / np.sqrt(64)
    assert found.predicted == pytest.approx(np.mean(ends), abs=5 * error)
    assert found.drawn == pytest.approx(np.std(ends), rel=0.5)
    # The interval is wider than that of what the examples do alone, by the draws.
    alone = np.sqrt(form.joint_change(np.concatenate(rows)).covariance[0, 0]) * form.intervals.reach[0.9]
    assert found.gain.high - found.gain.value > 0.5 * alone


def test_a_mixture_is_shown_and_saved(space):
    found = gptfl.select(9, workspace=space, by="source", cautious=1.0)
    document = json.loads(mixture_json(found))
    assert sum(one["chosen"] for one in document["groups"]) == 9
    assert document["words"] == better_words(found)
    assert mixture_csv(found).splitlines()[0] == "estimator,group,rows,pool_share,share,chosen"
    assert mixture_table(found, 2).row_count == 2
    assert len(found.to_frame()) == 3
    gptfl.plot(found, space / "m.svg")
    assert "source" in found._repr_html_()
    among = gptfl.select(4, workspace=space, by="source", among=[one.id for one in found.examples])
    assert set(among.ids) <= set(found.ids)
