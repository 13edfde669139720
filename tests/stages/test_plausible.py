"""Questions that lie beyond the recording are called so."""

from dataclasses import replace

import numpy as np

from gptfl.records import MetricInfo
from gptfl.stages.plausible import range_note, share_note
from gptfl.testing import make_dynamics

LOSS = MetricInfo("loss", higher_is_better=False, low=0.0)


def test_values_outside_the_range_are_counted() -> None:
    assert range_note(np.array([0.0, 0.5]), LOSS) == ()
    (line,) = range_note(np.array([-0.1, 0.5, -2.0]), LOSS)
    assert line.startswith("final predictions outside the range of loss: 2 of 3;")


def test_a_class_share_that_no_run_had_is_named() -> None:
    dynamics = make_dynamics()
    batches = dynamics.runs[0].curriculum.batches
    assert share_note(dynamics, batches[None]) == ()
    labels = np.array([example.label for example in dynamics.pool])
    only = np.flatnonzero(labels == 0)
    one_class = np.resize(only, batches.shape)[None]
    (line,) = share_note(dynamics, one_class)
    assert line.startswith("100% of what is trained on has the class ")
    assert "extrapolates" in line
    padded = np.where(np.arange(batches.shape[1]) == 0, one_class, -1)
    assert share_note(dynamics, padded) == (line,)


def test_without_classes_there_is_nothing_to_say() -> None:
    dynamics = make_dynamics()
    plain = replace(dynamics, pool=tuple(replace(e, choices=(), label=None) for e in dynamics.pool))
    assert share_note(plain, dynamics.runs[0].curriculum.batches[None]) == ()
