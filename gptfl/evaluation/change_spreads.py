"""How sure a fitted estimator is of what leaving each group of examples out changes, where held-out runs show that."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gptfl.core import MetricInfo, Run
from gptfl.core.queries import query_for
from gptfl.errors import DataError
from gptfl.plugins.optional import HasLinearForm
from gptfl.scores.removals import ChangeSpreads, Removals
from gptfl.simulation.requirements import NamedEstimator
from gptfl.simulation.unseen import Scope


def change_spreads(
    named: NamedEstimator, runs: Sequence[Run], removals: Removals, metric: MetricInfo, scope: Scope
) -> ChangeSpreads | None:
    """Of each group that was left out, of each test example and last of their mean; None where the estimator doesn't tell.

    Args:
        named: the fitted estimator.
        runs: those held out, which ``removals`` numbers.
        removals: the groups.
        metric: that was fitted.
        scope: the examples that the runs are about.
    """
    estimator = named.estimator
    if not isinstance(estimator, HasLinearForm) or not estimator.tags.every_order:
        return None
    found = []
    # Any whole set of one order stands for all: the recipe is the same.
    whole = runs[int(removals.pairs[0, 2])]
    query = query_for([whole], metric)
    try:
        form = estimator.linear_form(scope.about(replace(query, typical=query.batches)))
    except DataError:
        return None
    for group in range(len(removals)):
        _, run, pair = next(pair for pair in removals.pairs if pair[0] == group)
        without, full = (np.unique(one.curriculum.batches) for one in (runs[run], runs[pair]))
        _, spreads = form.differences(without[without >= 0], full[full >= 0])
        found.append(spreads)
    return ChangeSpreads(np.stack(found), dict(form.intervals.reach))
