"""What is known before further runs."""

from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from gptfl.core.outlook import RunOutlook


def test_an_outlook_is_not_changed() -> None:
    known = RunOutlook(np.zeros((2, 2)), np.eye(2), np.ones(2), 0.5, np.eye(2), 1.0)
    with pytest.raises(FrozenInstanceError):
        known.level = 1.0  # type: ignore[misc]
