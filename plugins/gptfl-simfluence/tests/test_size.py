"""A fit of parameters for each pair of examples says how large it is, and is refused before it fills the memory."""

import dataclasses

import numpy as np
import pytest

from gptfl import testing
from gptfl.errors import ResourceError
from gptfl_simfluence import size
from gptfl_simfluence.estimator import Simfluence
from gptfl_simfluence.size import memory_needed, told_size
from tests.simfluence import recording


def test_what_a_fit_takes_is_counted_by_its_arrays() -> None:
    data = recording("linear", runs=2)
    pool, test = len(data.pool), len(data.test)
    intervals = sum(len(run.steps) - 1 for run in (*data.fit_runs, *data.validation_runs))
    ridge = memory_needed(data, 7, 4, 2, False)
    assert ridge == 8 * (3 * intervals * pool + 14 * pool * test + 6 * (2 * pool) ** 2)
    assert memory_needed(data, 1, 1, 2, True) == 8 * (3 * intervals * pool + 10 * pool * test)


def test_a_large_pool_is_told_or_refused_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    data = recording("linear", runs=4)
    large = dataclasses.replace(data, pool=testing.make_examples(50_000))
    monkeypatch.setattr(size, "free_memory", lambda: 2**34)
    with pytest.raises(
        ResourceError,
        match=r"simfluence-linear has parameters for each of 50000 x \d+ pairs .* GB of memory, where 17 GB are free: "
        r"give simfluence-linear fit=gradient, .*or take an estimator that reads vectors",
    ) as told:
        Simfluence().fit(large)
    assert "\n" not in str(told.value)
    monkeypatch.setattr(size, "free_memory", lambda: None)
    monkeypatch.setattr(size, "WORTH_TELLING", 1)
    (line,) = told_size("simfluence-linear", data, 3_000_000_000, "")
    assert line.endswith("and takes up to 3 GB of memory")
    assert any("GB of memory" in note for note in Simfluence(strength=1.0).fit(data).notes_)
    monkeypatch.undo()
    assert Simfluence(strength=1.0).fit(data).notes_ == ()
    assert np.isfinite(Simfluence(strength=1.0).fit(data).beta_).all()
