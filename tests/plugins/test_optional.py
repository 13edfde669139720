"""Optional members of parts are found by protocol, of plugins' parts through their guard, too."""

import inspect
from typing import Any

import pytest

from gptfl.core import silent
from gptfl.errors import PluginError
from gptfl.plugins import EncoderTags
from gptfl.plugins.guards import make_task
from gptfl.plugins.optional import (
    CountsOperations,
    EncodesNew,
    HasFitNotes,
    HasNotes,
    KnowsSeconds,
    KnowsSizes,
    MayMakeUpExamples,
    ReportsProgress,
)
from gptfl.plugins.registry import build


class Late:
    """An encoder that sets its optional attributes as it goes."""

    name, tags = "late", EncoderTags(per_example=True)

    def __init__(self) -> None:
        self.progress = silent

    def identity(self) -> dict[str, Any]:
        return {}

    def encode(self, pool: Any, test: Any) -> dict[str, Any]:
        self.notes = [*getattr(self, "notes", ()), 1]
        return {}

    @property
    def seconds(self) -> float:
        return self.spent  # type: ignore[attr-defined, no-any-return]


def test_optional_attributes_are_found_when_they_are_there_and_read_each_time() -> None:
    found = build([])
    found.claim("acme 1.0", "encoder", "late", Late)
    made: Any = found.make("encoder", "late")
    assert isinstance(made, ReportsProgress)
    made.progress = len
    assert vars(made)["_made"].progress is len
    assert made.progress("abc") == 3
    assert not isinstance(made, HasNotes)
    assert not isinstance(made, EncodesNew)
    for count in (1, 2):
        made.encode((), ())
        # The second is how Python 3.12 and later look.
        assert isinstance(made, HasNotes)
        assert inspect.getattr_static(made, "notes", "absent") is None
        assert made.notes == ("1",) * count
    with pytest.raises(PluginError, match=r"encoder 'late' of acme 1.0 raised AttributeError in seconds"):
        _ = made.seconds
    made.spent = 2
    assert isinstance(made, KnowsSeconds)
    assert made.seconds == 2.0


def test_optional_members_are_looked_for_by_protocol() -> None:
    own = build([])
    mean_run, paper = own.make("estimator", "mean-run"), own.make("estimator", "gptfluence")
    assert isinstance(mean_run, CountsOperations)
    assert isinstance(mean_run, HasFitNotes)
    assert isinstance(paper, HasFitNotes)
    assert not isinstance(paper, CountsOperations)
    assert isinstance(own.make("encoder", "tfidf-svd"), EncodesNew)
    assert not isinstance(own.make("encoder", "minilm"), EncodesNew)
    errands, rte = make_task(own, "errands", data=None), make_task(own, "rte", data=None)
    assert isinstance(errands, MayMakeUpExamples)
    assert not isinstance(rte, MayMakeUpExamples)
    assert isinstance(rte, KnowsSizes)
    assert not isinstance(errands, KnowsSizes)
