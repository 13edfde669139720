"""Which way influence is told."""

import numpy as np
import pytest

import gptfl
from gptfl.errors import DataError, PluginError
from gptfl.influence.methods import compute_influence, direct_influence
from gptfl.influence.targets import influence_target
from gptfl.simulation.simulator import open_fitted
from tests.ranked import (
    DYNAMICS,
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


def source_of(space, name):
    gptfl.fit(name, workspace=space)
    return open_fitted(None, None, space, name, None)


def told(source, on, how):
    return compute_influence(source, influence_target(on, DYNAMICS), how, None, None, 1, 5, lambda *_: None)


@pytest.mark.parametrize(
    ("name", "on", "usual"),
    [
        ("bayes", "mean", "closed-form"),
        ("bayes", "self", None),
        ("teller", "mean", "derivative"),
        ("teller", "self", "derivative"),
        ("kin", "mean", "replace"),
        ("kin", "self", "replace"),
    ],
)
def test_each_estimator_tells_it_the_most_direct_way_that_it_can(ranked_space, name, on, usual) -> None:
    source = source_of(ranked_space, name)
    if usual is None:
        with pytest.raises(DataError, match="bayes can't tell influence on self"):
            told(source, on, None)
        return
    found = told(source, on, None)
    assert found.how == usual
    assert (found.spread is not None) == (usual == "closed-form")
    assert (found.step is None) == (usual == "derivative")


def test_to_first_order_it_is_what_the_estimator_says_of_the_tests_chosen(ranked_space) -> None:
    source = source_of(ranked_space, "teller")
    whole = source.named.estimator.influence()
    np.testing.assert_allclose(
        direct_influence(source, influence_target(TESTS[1:3], DYNAMICS)), whole[:, 1:3].mean(axis=1)
    )
    np.testing.assert_allclose(
        direct_influence(source, influence_target("self", DYNAMICS)), source.named.estimator.self_influence()
    )


def test_what_can_not_be_told_so_says_what_can(ranked_space) -> None:
    for name, on, how, remedy in (
        ("kin", "mean", "closed-form", "use --how replace, or an estimator such as exposure-gp"),
        ("kin", "mean", "derivative", "use --how replace or drop, or another estimator"),
        ("bayes", "self", "closed-form", "use --on mean or test:ID"),
        ("witness", "mean", "replace", "use another estimator"),
    ):
        with pytest.raises(DataError) as caught:
            told(source_of(ranked_space, name), on, how)
        assert caught.value.remedy == remedy
    with pytest.raises(PluginError, match=r"told influences of shape \(2, 2\), not finite ones of"):
        told(source_of(ranked_space, "liar"), "mean", "derivative")
