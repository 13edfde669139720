"""Questions that lie beyond the recording are called so."""

from dataclasses import replace

import numpy as np

from gptfl.core import MetricInfo
from gptfl.simulation.caveats import beyond_note, range_note, share_note
from gptfl.testing import make_dynamics

LOSS = MetricInfo("loss", higher_is_better=False, low=0.0)


def test_values_outside_the_range_are_counted() -> None:
    assert range_note(np.array([0.0, 0.5]), LOSS) == ()
    (line,) = range_note(np.array([-0.1, 0.5, -2.0]), LOSS)
    assert line == "final predictions outside the range of loss: 2 of 3"


def test_a_mean_beyond_that_of_every_recorded_run_is_reported() -> None:
    dynamics = make_dynamics(runs=5, missing=0.0)
    step = int(dynamics.runs[0].steps[-1])
    ends = np.array([run.metrics["loss"][-1] for run in dynamics.runs])
    low, high = ends.mean(axis=1).min(), ends.mean(axis=1).max()
    assert beyond_note(np.full(5, (low + high) / 2), dynamics, LOSS, step) == ()
    (line,) = beyond_note(np.full(5, low - 0.25), dynamics, LOSS, step)
    assert line.startswith(
        f"the predicted mean loss of {low - 0.25:.4g} is below that of every recorded run ({low:.4g} to {high:.4g} at "
    )
    (line,) = beyond_note(np.full(5, high + 0.25), dynamics, LOSS, step)
    assert " is above that of every recorded run" in line
    # Of one test example by itself.
    alone = ends[:, 2]
    assert beyond_note(np.array([alone.max()]), dynamics, LOSS, step, np.array([2])) == ()
    assert beyond_note(np.array([alone.max() + 1.0]), dynamics, LOSS, step, np.array([2]))


def test_where_no_run_was_recorded_nothing_is_said_to_lie_beyond() -> None:
    dynamics = make_dynamics(runs=5)
    final, step = np.full(5, -9.0), int(dynamics.runs[0].steps[-1])
    assert beyond_note(final, dynamics, LOSS, step + 1) == ()
    assert beyond_note(final, replace(dynamics, runs=dynamics.runs[:1]), LOSS, step) == ()


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


def test_a_class_is_the_text_of_a_choice_and_there_is_none_where_choices_differ() -> None:
    dynamics = make_dynamics()
    labels = np.array([example.label for example in dynamics.pool])
    batches = np.resize(np.flatnonzero(labels == 0), dynamics.runs[0].curriculum.batches.shape)[None]
    (line,) = share_note(dynamics, batches)
    assert f"has the class {dynamics.pool[0].choices[0].strip()!r}," in line
    turned = tuple(
        replace(e, choices=e.choices[::-1], label=1 - (e.label or 0)) if place % 3 else e
        for place, e in enumerate(dynamics.pool)
    )
    assert share_note(replace(dynamics, pool=turned), batches) == (line,)
    mixed = (replace(dynamics.pool[0], choices=("other", "words", "here")), *dynamics.pool[1:])
    assert share_note(replace(dynamics, pool=mixed), batches) == ()


def test_class_numbers_of_any_size_take_no_room() -> None:
    dynamics = make_dynamics()
    huge = replace(
        dynamics, pool=tuple(replace(e, choices=(), label=(e.label or 0) * 10**15 + 7) for e in dynamics.pool)
    )
    batches = np.full((1, 1, 4), int(np.argmax([e.label for e in huge.pool])))
    assert f"has the class number {max(e.label or 0 for e in huge.pool)}," in share_note(huge, batches)[0]


def test_in_a_mixture_the_class_is_named_with_its_task_and_a_task_without_classes_by_itself() -> None:
    dynamics = make_dynamics()
    pool = tuple(
        replace(e, fields={"task": "one"}) if place % 2 else replace(e, choices=(), label=None, fields={"task": "two"})
        for place, e in enumerate(dynamics.pool)
    )
    mixed = replace(dynamics, pool=pool)
    shape = dynamics.runs[0].curriculum.batches.shape
    (line,) = share_note(mixed, np.zeros((1, *shape), dtype=int))
    assert line.startswith("100% of what is trained on is of the task two, in the recorded runs ")
    (line,) = share_note(mixed, np.ones((1, *shape), dtype=int))
    assert f"has the class {pool[1].choices[pool[1].label or 0].strip()!r} of one, in the recorded" in line
