"""What a plugin's own tests call: each check holds one part against everything its interface promises.

A check raises ``AssertionError`` with a message that says which promise was broken and how.
Nothing here loads torch or another heavy library; the part under test may.
"""

from gptfl.testing.encoders import check_encoder
from gptfl.testing.estimators import check_estimator
from gptfl.testing.executors import check_executor
from gptfl.testing.metrics import check_metric
from gptfl.testing.synthetic import make_dynamics, make_examples, make_features, make_gradients, make_query
from gptfl.testing.tasks import check_task

__all__ = [
    "check_encoder",
    "check_estimator",
    "check_executor",
    "check_metric",
    "check_task",
    "make_dynamics",
    "make_examples",
    "make_features",
    "make_gradients",
    "make_query",
]
