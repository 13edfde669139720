"""What a simulated trajectory costs, measured on the machine at hand."""

import statistics
import time
from collections.abc import Sequence

from gptfl.core import MetricInfo, Run
from gptfl.core.queries import query_for, same_steps
from gptfl.plugins.optional import CountsOperations
from gptfl.scores.comparison import Cost
from gptfl.simulation.requirements import NamedEstimator
from gptfl.simulation.run_predictions import predict_trajectories
from gptfl.simulation.unseen import Scope

REPEATS = 5
ENOUGH = 2.0
"""Seconds after which no further repetition is timed."""


def measure_cost(named: NamedEstimator, runs: Sequence[Run], metric: MetricInfo, scope: Scope | None = None) -> Cost:
    """What the fitted estimator's answers about these runs cost: seconds and operations a trajectory.

    Seconds are the median of up to five repetitions after one that isn't counted, over the number of
    trajectories (runs times test examples). Operations are what the estimator's own ``flops(query)`` says, else
    those of PyTorch's matrix products while it predicts (twice the multiplications); None where neither tells.

    Args:
        named: the fitted estimator and its name.
        runs: that it is asked about.
        metric: that was fitted.
        scope: the examples that the runs are about, where these aren't just those fitted.
    """
    trajectories = sum(run.metrics[metric.name].shape[1] for run in runs)
    predict_trajectories(named, runs, metric, scope)
    times: list[float] = []
    while len(times) < REPEATS and sum(times) < ENOUGH:
        started = time.perf_counter()
        predict_trajectories(named, runs, metric, scope)
        times.append(time.perf_counter() - started)
    operations = _operations(named, runs, metric, scope)
    return Cost(statistics.median(times) / trajectories, None if operations is None else operations / trajectories)


def _operations(named: NamedEstimator, runs: Sequence[Run], metric: MetricInfo, scope: Scope | None) -> float | None:
    if isinstance(named.estimator, CountsOperations):
        flops = named.estimator.flops
        queries = [query_for([runs[place] for place in places], metric) for places in same_steps(runs)]
        return float(sum(flops(query if scope is None else scope.about(query)) for query in queries))
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        predict_trajectories(named, runs, metric, scope)
    counted: int = counter.get_total_flops()
    return float(counted) if counted else None
