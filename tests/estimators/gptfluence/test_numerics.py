"""Settings of the arithmetic, changed for a while."""

import pytest
import torch

from gptfl.estimators.gptfluence.numerics import flushed_denormals, flushes_denormals, one_thread


@pytest.mark.parametrize("before", [False, True])
def test_flushing_ends_with_the_block_whatever_happens(before: bool) -> None:
    torch.set_flush_denormal(before)
    try:
        with flushed_denormals():
            assert flushes_denormals()
        assert flushes_denormals() is before
        with pytest.raises(KeyError), flushed_denormals():
            raise KeyError
        assert flushes_denormals() is before
    finally:
        torch.set_flush_denormal(False)


@pytest.mark.parametrize("when", [True, False])
def test_threads_are_as_many_afterwards_as_before(when: bool) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with one_thread(when):
            assert torch.get_num_threads() == (1 if when else 2)
        assert torch.get_num_threads() == 2
        with pytest.raises(KeyError), one_thread(when):
            raise KeyError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
