"""Loading without a look for cycles."""

import gc

import pytest

from gptfl.cli.loading import uncollected


@pytest.mark.parametrize("before", [True, False])
def test_cycles_are_looked_for_afterwards_as_before(before: bool) -> None:
    was = gc.isenabled()
    try:
        (gc.enable if before else gc.disable)()
        with uncollected():
            assert not gc.isenabled()
        assert gc.isenabled() == before
        with pytest.raises(ImportError), uncollected():
            raise ImportError("no such library")
        assert gc.isenabled() == before
    finally:
        (gc.enable if was else gc.disable)()
