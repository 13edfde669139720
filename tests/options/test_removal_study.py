"""What is left out and trained unless something else is said."""

import pytest

from gptfl.errors import UsageError
from gptfl.options.base import make, places
from gptfl.options.removal_study import RemovalStudyOptions


def test_two_orders_and_two_random_sets_are_trained() -> None:
    options = make(RemovalStudyOptions)
    assert (options.sizes, options.orders, options.random_sets) == ("5%,10%,20%", 2, 2)
    flags = {place.name: place.flags for place in places(RemovalStudyOptions)}
    assert (flags["random_sets"], flags["orders"]) == (("--random",), ("--orders",))


def test_test_examples_are_what_can_be_scored_on() -> None:
    (on,) = (place.option for place in places(RemovalStudyOptions) if place.name == "on")
    assert on.complete == ("mean", "test:", "group:")


@pytest.mark.parametrize(
    ("given", "says"),
    [({"orders": 0}, "--orders is 0: give 1 or more"), ({"random_sets": 0}, "--random is 0: give 1 or more")],
)
def test_nothing_to_train_is_refused(given: dict[str, int], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        make(RemovalStudyOptions, **given)
    assert caught.value.line == says
