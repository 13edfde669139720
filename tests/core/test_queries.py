from dataclasses import replace

import numpy as np

from gptfl.core import Curriculum
from gptfl.core.queries import query_for, same_steps, stacked
from tests.synthetic import LOSS, synthetic


def test_queries_pad_shorter_and_narrower_curricula():
    runs = synthetic(2)[0].runs
    short = replace(runs[1], curriculum=Curriculum(np.array([[1, 2], [3, 4]]), np.array([0.5, 0.25])))
    query = query_for([runs[0], short], LOSS)
    np.testing.assert_array_equal(query.batches[0], runs[0].curriculum.batches)
    np.testing.assert_array_equal(query.batches[1, :2], [[1, 2, -1, -1], [3, 4, -1, -1]])
    assert (query.batches[1, 2:] == -1).all()
    assert query.learning_rates[1].sum() == 0.75
    np.testing.assert_array_equal(query.first[1], runs[1].metrics["loss"][0])


def test_runs_are_grouped_by_their_steps_and_stacked_with_padding():
    runs = list(synthetic(3)[0].runs)
    runs[1] = replace(runs[1], steps=runs[1].steps[:2], metrics={"loss": runs[1].metrics["loss"][:2]})
    assert same_steps(runs) == [[0, 2], [1]]
    whole = stacked([run.metrics["loss"] for run in runs])
    assert whole.shape == (3, 7, 8)
    assert np.isnan(whole[1, 2:]).all()
    np.testing.assert_array_equal(whole[2], runs[2].metrics["loss"])


def test_a_query_has_the_derivatives_that_all_runs_have():
    runs = [
        replace(run, derivatives=dict.fromkeys(names, run.metrics["loss"]))
        for run, names in zip(synthetic(2)[0].runs, (("gradient", "update"), ("update",)), strict=True)
    ]
    query = query_for(runs, LOSS)
    assert list(query.derivatives) == ["update"]
    np.testing.assert_array_equal(query.derivatives["update"][1], runs[1].metrics["loss"])
    assert query_for(synthetic(2)[0].runs, LOSS).derivatives == {}
