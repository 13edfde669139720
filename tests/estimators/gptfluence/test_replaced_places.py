"""What others count, and whoever takes the places, against the counts of the curricula themselves."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gptfl.estimators.gptfluence.asked import asked_of
from gptfl.estimators.gptfluence.estimator import GPTfluence
from gptfl.estimators.gptfluence.recurrence import factors
from gptfl.estimators.gptfluence.replaced_places import places_of
from tests.estimators.gptfluence.test_estimator import POOL, fit_data, recording
from tests.estimators.gptfluence.test_replacements import CANDIDATES, REPLACED, asked


@pytest.mark.parametrize("weighted", [False, True])
def test_others_and_who_takes_the_places_make_up_the_factors(weighted: bool) -> None:
    runs, features = recording(runs=8, every=4)
    data = fit_data(runs, features)
    if weighted:
        weights = np.random.default_rng(5).uniform(1, 9, size=POOL)
        pool = tuple(replace(one, weight=float(w)) for one, w in zip(data.pool, weights, strict=True))
        data = replace(data, pool=pool)
    fitted = GPTfluence(epochs=2, start="random", step_size=True).fit(data)
    query = asked(4, np.linspace(1.0, 0.2, 16))
    made = asked_of(query, fitted.sides_, fitted.parameters_, fitted.law_, fitted.scale_, None, None)
    with torch.inference_mode():
        counts = fitted.law_.counts(query.batches, query.learning_rates, query.steps, POOL)
        places = places_of(made, counts, REPLACED)
        others = torch.stack(factors(made.train, made.test, places.others)).double()
        for name in CANDIDATES.tolist():
            batches = np.where(query.batches == 11, name, query.batches)
            whole = fitted.law_.counts(batches, query.learning_rates, query.steps, POOL)
            expected = torch.stack(factors(made.train, made.test, whole)).double()
            found = others.clone()
            pulls = (made.train[:, name, None] * made.test).sum(dim=-1).double()
            relative = None if not weighted else torch.from_numpy(fitted.law_.relative[[name]])
            for run, shares in enumerate(places.shares):
                for interval, share in shares.items():
                    own, beside = share.of(relative)
                    found[:, run * 4 + interval] += own.squeeze() * pulls
                    if beside is not None:
                        found[:, run * 4 + interval] += torch.einsum("s,fst->ft", beside[0], share.beside)
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert [sorted(one) for one in places.shares] == [[1], [0, 2, 3], [0, 1]]
