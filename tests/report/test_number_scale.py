"""Numbers of very different sizes in one table."""

import numpy as np
import pytest

from gptfl.report.number_scale import NumberScale


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.5, "0.5"),
        (0.00123456, "0.001235"),
        (2.2e-05, "< 0.001"),
        (-2.2e-05, "> -0.001"),
        (0.0, "0"),
        (8123.4, "8123"),
        (3e12, "> 10000"),
        (-3e12, "< -10000"),
    ],
)
def test_a_number_far_from_the_size_of_the_others_is_said_to_lie_beyond(value: float, shown: str) -> None:
    assert NumberScale.of(np.array([3.2, 0.001, np.nan])).number(value) == shown


def test_an_interval_over_many_powers_of_ten_reads_as_one() -> None:
    scale = NumberScale.of(np.array([0.9, 2.5]))
    assert scale.span(2.7e-13, 7.5) == "< 0.001 to 7.5"
    assert scale.span(0.25, 7.5, "+.3g") == "+0.25 to +7.5"


def test_small_numbers_among_small_ones_keep_their_digits() -> None:
    assert NumberScale.of(np.array([2e-6, -5e-6])).span(1.5e-6, 2.5e-6) == "1.5e-06 to 2.5e-06"
    assert NumberScale.of(np.array([2e-6])).number(1e-12) == "< 1e-9"


@pytest.mark.parametrize("values", [[], [np.nan, np.nan], [0.0]])
def test_without_a_size_all_numbers_are_shown(values: list[float]) -> None:
    assert NumberScale.of(np.array(values)).span(1e-12, 1e12) == "1e-12 to 1e+12"
