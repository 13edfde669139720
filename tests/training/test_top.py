"""The top blocks of a decoder by themselves: the states that enter them, and what can't be taken apart."""

from pathlib import Path

import pytest

from gptfl.errors import DataError
from tests.training.test_trainer import make


def test_train_layers_out_of_range_is_refused(neox: Path) -> None:
    with pytest.raises(DataError, match="--train-layers 4: the model has 2 blocks"):
        make(neox, train_layers=4)
