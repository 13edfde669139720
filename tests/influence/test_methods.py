"""Which way influence is told."""

import numpy as np
import pytest

import gptfl
from gptfl.errors import DataError
from tests.ranked import (
    FEATURES,
    TESTS,
)


def test_what_an_estimator_says_itself_is_taken_by_default(ranked_space) -> None:
    gptfl.fit("teller", workspace=ranked_space)
    vectors, tests = (np.asarray(one, float) for one in (FEATURES.sets["vectors"].train, FEATURES.sets["vectors"].test))
    ranked = gptfl.rank(workspace=ranked_space, on="self").rankings[0]
    assert (ranked.how, ranked.step) == ("derivative", None)
    np.testing.assert_allclose(ranked.influence, (vectors**2).sum(axis=1))
    group = gptfl.rank(workspace=ranked_space, on=TESTS[:2]).rankings[0]
    np.testing.assert_allclose(group.influence, (vectors @ tests[:2].T).mean(axis=1))
    ids = ranked_space / "ids.txt"
    ids.write_text("\n".join(TESTS[:2]))
    filed = gptfl.rank(workspace=ranked_space, on=f"group:{ids}", how="derivative").rankings[0]
    assert np.array_equal(filed.influence, group.influence)
    assert gptfl.rank(workspace=ranked_space, how="replace").rankings[0].step == 8


def test_examples_set_aside_from_the_fit_are_ranked_with_the_others(ranked_space) -> None:
    vectors, tests = (np.asarray(one, float) for one in (FEATURES.sets["vectors"].train, FEATURES.sets["vectors"].test))
    gptfl.fit("teller", workspace=ranked_space, unseen="both")
    for on, truth in (("mean", vectors @ tests.mean(axis=0)), ("self", (vectors**2).sum(axis=1))):
        influence = gptfl.rank(workspace=ranked_space, on=on, how="replace", orders=40).rankings[0].influence
        assert np.corrcoef(influence, truth)[0, 1] > 0.9
        with pytest.raises(DataError, match=r"was fitted with examples set aside.*use --how replace"):
            gptfl.rank(workspace=ranked_space, on=on)
