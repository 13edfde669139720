"""A sum over presentations, against loops over every place of every batch."""

import numpy as np
import pytest

from gptfl.core.links import Link
from gptfl.core.presentation_form import PresentationForm

EXAMPLES = np.array([1, 3, 4, 8, 9])
BATCHES = np.array([[[3, 1], [8, -1], [1, 3], [8, 8]], [[8, 3], [1, 8], [-1, -1], [3, 3]]])
MEMBERS = np.array([8, 1, 3])
"""In another order than that of their places."""


def form(link="log", trials=0):
    random = np.random.default_rng(0)
    return PresentationForm(
        link=Link(link),
        trials=trials,
        learning_rates=np.array([0.4, 0.3, 0.2, 0.1]),
        examples=EXAMPLES,
        base=random.normal(size=4),
        channels=random.random((4, 3)),
        row_channels=np.array([0, 2]),
        rows=random.normal(size=(5, 2, 6)).astype(np.float32),
        columns=random.normal(size=(6, 4)),
        direct_channels=np.array([1, 2]),
        direct=random.normal(size=(5, 2, 4)).astype(np.float32),
    )


def term(made, example, step, share):
    """What one place does to each test example."""
    place = int(np.searchsorted(EXAMPLES, example))
    row = sum(made.channels[step, one] * made.rows[place, at] for at, one in enumerate(made.row_channels))
    straight = sum(made.channels[step, one] * made.direct[place, at] for at, one in enumerate(made.direct_channels))
    return made.learning_rates[step] * share * (row @ made.columns + straight)


def looped(made, batches):
    found = np.stack([made.base] * len(batches))
    for order, run in enumerate(batches):
        for step, batch in enumerate(run):
            filled = [one for one in batch if one >= 0]
            for example in filled:
                found[order] += term(made, example, step, 1 / len(filled))
    return found


def test_runs_end_where_the_terms_of_all_places_add_up_to() -> None:
    made = form()
    found = made.ends(made.counts(BATCHES, MEMBERS), np.searchsorted(EXAMPLES, MEMBERS))
    np.testing.assert_allclose(found, looped(made, BATCHES), rtol=1e-6)


def test_an_exchange_changes_the_sum_by_two_terms() -> None:
    made = form()
    counts = made.counts(BATCHES, MEMBERS)
    for turn, member in enumerate(MEMBERS):
        effects = made.effects(counts[:, turn], np.searchsorted(EXAMPLES, [member, 4, 9]))
        for place, other in enumerate((4, 9), start=1):
            changed = looped(made, np.where(member == BATCHES, other, BATCHES)) - looped(made, BATCHES)
            np.testing.assert_allclose(effects[:, place] - effects[:, 0], changed, rtol=1e-5, atol=1e-7)


def test_what_all_examples_do_to_a_sum_of_test_examples_is_told_at_once() -> None:
    made = form()
    counts, weights = made.counts(BATCHES, MEMBERS), np.random.default_rng(1).normal(size=(2, 4))
    along = made.along(weights)
    for turn in range(len(MEMBERS)):
        effects = made.effects(counts[:, turn], np.arange(5))
        found = np.einsum("oc,onc->on", counts[:, turn], along)
        np.testing.assert_allclose(found, np.einsum("ont,ot->on", effects, weights), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("link", "trials"), [("identity", 0), ("log", 0), ("odds", 0), ("identity", 7)])
def test_slopes_are_those_of_the_values(link, trials) -> None:
    made, even = form(link, trials), np.array([[0.2, 0.4], [0.5, 0.9]])
    near = (made.values(even + 1e-6) - made.values(even - 1e-6)) / 2e-6
    np.testing.assert_allclose(made.slopes(even), near, rtol=1e-6)
    if trials:
        np.testing.assert_allclose(made.values(np.array([-1.0, 0.5, 2.0])), [0.5 / 8, 0.5, 7.5 / 8])
