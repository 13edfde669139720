"""The estimators and the encoder that are taken unless others are named."""

from gptfl.options.defaults import FEW_RUNS, ON_GRADIENTS, PAPER
from gptfl.plugins.registry import build


def test_they_are_gptfls_own_parts() -> None:
    registry = build([])
    assert registry.make("estimator", PAPER).name == PAPER
    assert registry.make("estimator", FEW_RUNS).name == FEW_RUNS
    assert registry.find("encoder", ON_GRADIENTS).owner == registry.find("estimator", PAPER).owner
    assert PAPER != FEW_RUNS


def test_the_one_for_few_runs_can_do_what_it_is_recommended_for() -> None:
    tags = build([]).make("estimator", FEW_RUNS).tags
    assert tags.every_order, "closed form over all orders"
    assert tags.conditions, "goes on from observed scores"
