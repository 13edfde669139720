"""Where a fit begins: each test example's own average recurrence, found in closed form.

Most of what a recording shows is common to all runs. Starting there leaves to the optimiser only what the
batches add, and its first roll-outs are sound; from a random start the first ones collapse or explode.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from gptfl.estimators.gptfluence.projection import fresh, hidden, uninformed
from gptfl.estimators.gptfluence.sides import StreamedSides, VectorSides
from gptfl.estimators.gptfluence.training import TeacherRows
from gptfl.estimators.gptfluence.update_rule import UpdateRule

PRIOR = 1e-6
"""How much persistence weighs against the data, where these leave a coefficient open."""
RIDGE = 1e-3
"""Penalty of the regression on test vectors, in units of their mean square."""


def average_recurrence(parts: Sequence[TeacherRows], law: UpdateRule) -> Float[Tensor, "factor test"]:
    """For every test example the alpha_1 ... alpha_n and beta of a batch of the usual size, whichever.

    Least squares of the recorded metric (where the law is anchored, of its change) on its own history, over all runs
    and steps.
    """
    order, tests = len(parts[0].history), parts[0].target.shape[1]
    gram = torch.zeros(tests, order + 1, order + 1, dtype=torch.float64)
    right = torch.zeros(tests, order + 1, dtype=torch.float64)
    for rows in parts:
        share = (rows.counts.totals() / law.modal).unsqueeze(1).double()
        inputs = torch.cat([rows.history * share, share.expand_as(rows.target)[None]]) * rows.known
        gram += torch.einsum("frz,grz->zfg", inputs, inputs)
        right += torch.einsum("frz,rz->zf", inputs, rows.target.double())
    known = torch.stack([rows.known.sum(dim=0) for rows in parts]).sum(dim=0).clamp(min=1.0)
    persistence = torch.zeros(order + 1, dtype=torch.float64)
    persistence[0] = 0.0 if law.anchored else 1.0
    gram = gram / known[:, None, None] + PRIOR * torch.eye(order + 1, dtype=torch.float64)
    solved: Tensor = torch.linalg.solve(gram, right / known[:, None] + PRIOR * persistence)
    return solved.T


def start(
    sides: VectorSides | StreamedSides, parts: Sequence[TeacherRows], law: UpdateRule, random: torch.Generator
) -> dict[str, Tensor]:
    """Parameters whose factors are about those of the average recurrence, whatever the batch holds.

    The training side's bias and the test side's last layer share one direction per factor; along it the test
    side's map is a ridge regression of the coefficients on the test vectors (on the random hidden layer
    where there is one). A shared projection can't tell the sides apart and starts near persistence.

    Args:
        sides: the vectors of training and test examples.
        parts: the one-step-ahead objective of the runs fitted.
        law: how factors enter the recurrence.
        random: draws what isn't fitted.
    """
    form = sides.form
    parameters = fresh(form, law, random)
    if form.shared:
        return parameters
    coefficients = average_recurrence(parts, law) / math.sqrt(law.modal)
    for factor, (inputs, target) in enumerate(zip(hidden(sides.test, parameters, "test"), coefficients, strict=True)):
        direction = torch.randn(form.width, generator=random)
        direction /= direction.norm()
        slope, level = _ridge(inputs.double(), target)
        parameters["train.out.bias"][factor, 0] = direction / math.sqrt(law.modal)
        parameters["test.out.bias"][factor, 0] = level * direction
        parameters["test.out.weight"][factor] += torch.outer(slope, direction)
    return parameters


def _ridge(
    inputs: Float[Tensor, "test d"], target: Float[Tensor, " test"]
) -> tuple[Float[Tensor, " d"], Float[Tensor, ""]]:
    """Slope and intercept of the regression."""
    centre, mean = inputs.mean(dim=0), target.mean()
    inputs = inputs - centre
    gram = inputs.T @ inputs
    penalty = RIDGE * gram.diagonal().mean() + torch.finfo(torch.float32).tiny
    slope = torch.linalg.solve(gram + penalty * torch.eye(len(gram), dtype=gram.dtype), inputs.T @ (target - mean))
    return slope.float(), (mean - centre @ slope).float()


STARTS: Mapping[
    str, Callable[[VectorSides | StreamedSides, Sequence[TeacherRows], UpdateRule, torch.Generator], dict[str, Tensor]]
] = {
    "average": start,
    "persistence": lambda sides, parts, law, random: fresh(sides.form, law, random),
    "random": lambda sides, parts, law, random: uninformed(sides.form, random),
}
"""The values of the setting ``start``."""
