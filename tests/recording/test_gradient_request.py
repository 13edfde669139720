"""What is asked of gradients: whether it makes sense, and what it takes."""

from pathlib import Path
from typing import Any

import pytest

from gptfl.errors import GptflError, UsageError
from gptfl.recording.gradient_request import POINTS, Request, check_size, products_bytes, read_request
from gptfl.store.safety import MAX_BYTES
from tests.recording.test_collect import record


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"gradients": "foo"}, "gradients 'foo' is unknown: use reference, own, both"),
        ({"gradients": "reference", "gradient_points": 0}, "gradient_points is 0: give at least 1"),
        ({"gradients": "reference", "gradient_points": 6}, "gradient_points is 6: give 1 to 5: a run of 4 steps"),
        ({"gradient_points": 3}, "--gradient-points 3 counts points of the reference run.*add --gradients reference"),
        ({"gradients": "own", "gradient_points": 3}, "--gradient-points 3 counts points of the reference run"),
        (
            {"gradients": "own", "metrics": ("accuracy",)},
            "--gradients own: gradients are of the loss, and only --metric accuracy is recorded: add --metric loss",
        ),
        ({"gradients": "reference", "pool": 10**6, "test": 10**4, "subset_size": 6}, "lower --gradient-points"),
    ],
)
def test_requests_that_make_no_sense(neox: Path, tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    error: type[GptflError] = UsageError
    with pytest.raises(error, match=message):
        record(neox, tmp_path, **changed)
    assert list(tmp_path.iterdir()) == []


def test_what_is_asked_for_by_kind() -> None:
    assert read_request(None, None, 4, ["accuracy"]) == Request(0, False)
    assert read_request("reference", None, 4, ["loss"]) == Request(POINTS, False)
    assert read_request("own", None, 4, ["loss"]) == Request(0, True)
    assert read_request("both", 5, 4, ["f1", "loss"]) == Request(5, True)
    assert read_request("reference", None, 2, ["loss"]) == Request(3, False)


def test_products_are_refused_from_the_pool_on_that_no_file_holds() -> None:
    assert products_bytes(2, 12, 5) == 2 * 12 * 6 * 2 * 4
    most = MAX_BYTES // products_bytes(2, 1, 5)
    check_size(2, most, 5)
    with pytest.raises(UsageError, match=f"--gradients at 2 points for --pool {most + 1} and --test 5 take .* GiB"):
        check_size(2, most + 1, 5)
