"""``gptfl.rank`` with test examples that must not get worse."""

import json
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest

import gptfl
from gptfl.errors import DataError, UsageError
from gptfl.report.kept import kept_line
from gptfl.report.ranking import to_csv, to_json
from tests.api.sides import POOL, write


@pytest.fixture(scope="module")
def space(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("sides"))


def groups(space):
    return f"group:{space / 'target.txt'}", f"group:{space / 'retain.txt'}"


def test_the_other_side_is_what_a_ranking_on_it_alone_says(space):
    on, keep = groups(space)
    result = gptfl.rank(workspace=space, on=on, keep=keep)
    alone = gptfl.rank(workspace=space, on=keep).rankings[0]
    ranking = result.rankings[0]
    kept = ranking.kept
    for name in ("influence", "low", "high"):
        np.testing.assert_array_equal(getattr(kept, name), getattr(alone, name))
    assert [kept.verdicts.of(place) for place in range(POOL)] == [alone.verdicts.of(place) for place in range(POOL)]
    # The joint probability is no more than that of either side.
    for one, other in ((ranking.influence, ranking.high), (kept.influence, kept.high)):
        above = one / (other - one) * 1.6448536
        assert (kept.both <= [NormalDist().cdf(z) + 1e-3 for z in above]).all()
    assert kept.known.any()
    assert (1 - kept.both[kept.known]).mean() <= ranking.verdicts.fdr
    row = json.loads(to_json(result))["rankings"][0]["examples"][0]
    assert {"retained", "retained_low", "retained_high", "retained_verdict", "both", "both_verdict"} <= row.keys()
    assert "retained_verdict,both,both_verdict" in to_csv(result).splitlines()[0]
    assert kept_line(ranking).startswith("Both sides: ")
    known = {one.id for one, is_known in zip(result.pool, kept.known, strict=True) if is_known}
    lines = to_csv(result, only="both").splitlines()[1:]
    assert {line.split(",")[2] for line in lines} == known
    same = gptfl.open_simulator(workspace=space).influence(on=on, keep=keep).rankings[0]
    np.testing.assert_array_equal(same.kept.both, kept.both)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"keep": "mean"}, "are on both sides"),
        ({"keep": "self"}, "--keep self names no test examples"),
        ({"only": "both"}, "is both, without --keep"),
        ({"keep": "test:test-7", "by": "source"}, "--by and --keep were given together"),
        ({"keep": "test:test-7", "purpose": "cleaning"}, "--for cleaning and --keep were given together"),
        ({"keep": "test:test-7", "only": "none"}, "'none' is unknown"),
        ({"keep": "test:test-7", "only": "both", "how": "closed-form"}, "has no verdicts"),
    ],
)
def test_what_does_not_go_together_is_said_in_one_line(space, options, says):
    on, _ = groups(space)
    with pytest.raises((UsageError, DataError), match=says) as caught:
        gptfl.rank(workspace=space, on=on, **options)
    assert "\n" not in str(caught.value)


def test_without_verdicts_the_influences_stand_alone(space):
    on, keep = groups(space)
    ranking = gptfl.rank(workspace=space, on=on, keep=keep, how="closed-form").rankings[0]
    assert ranking.kept.verdicts is None
    assert ranking.kept.both is None
    assert "no verdicts on both sides" in kept_line(ranking)
