"""The two sides' projections of example vectors, one per factor of the recurrence, as pure functions.

Parameters are a flat mapping from names to tensors stacked by factor (alpha_1 ... alpha_n, beta).
``linear`` is an affine map; ``mlp`` is Linear-ReLU-Linear, as in the paper's public code.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from gptfl.estimators.gptfluence.update_rule import UpdateRule

SPREAD = 0.005
"""Standard deviation of a fresh projection's entries, relative to its mean vector's."""


@dataclass(frozen=True, slots=True)
class Form:
    """What the parameters look like: how many factors, which map, how wide, shared by both sides or not."""

    factor: int
    projection: str
    shared: bool
    inputs: int
    width: int

    @property
    def sides(self) -> tuple[str, str]:
        """The prefix of the training side's parameters and of the test side's."""
        return ("both", "both") if self.shared else ("train", "test")

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every parameter's name and shape."""
        maps = {"out": self.inputs} if self.projection == "linear" else {"hidden": self.inputs, "out": self.width}
        found: dict[str, tuple[int, ...]] = {}
        for side in dict.fromkeys(self.sides):
            for name, inputs in maps.items():
                found[f"{side}.{name}.weight"] = (self.factor, inputs, self.width)
                found[f"{side}.{name}.bias"] = (self.factor, 1, self.width)
        return found


def fresh(form: Form, law: UpdateRule, random: torch.Generator) -> dict[str, Tensor]:
    """Random parameters near persistence: alpha_1 is about 1 for a batch of the usual size (0 where the law is
    anchored, which keeps the last score anyway), the rest 0.
    """
    parameters: dict[str, Tensor] = {}
    for name, shape in form.shapes().items():
        if name.endswith("weight"):
            gain = math.sqrt(2.0) if ".hidden." in name else SPREAD / math.sqrt(law.modal * form.width)
            scale = gain / math.sqrt(shape[1])
            parameters[name] = torch.randn(shape, generator=random) * scale
        else:
            parameters[name] = torch.zeros(shape)
    if law.anchored:
        return parameters
    anchor = torch.randn(form.width, generator=random)
    anchor /= anchor.norm() * math.sqrt(law.modal)
    for side in dict.fromkeys(form.sides):
        parameters[f"{side}.out.bias"][0, 0] = anchor
    return parameters


def uninformed(form: Form, random: torch.Generator) -> dict[str, Tensor]:
    """Random parameters as PyTorch fills a linear layer, and so as in the paper's public code: uniform within
    one over the root of the layer's inputs, biases too. Nothing makes the first roll-outs sound.
    """
    parameters: dict[str, Tensor] = {}
    for name, shape in form.shapes().items():
        inputs = form.inputs if ".hidden." in name or form.projection == "linear" else form.width
        parameters[name] = (2 * torch.rand(shape, generator=random) - 1) / math.sqrt(inputs)
    return parameters


def project(
    vectors: Float[Tensor, "example d"], parameters: Mapping[str, Tensor], side: str
) -> Float[Tensor, "factor example width"]:
    """Project every example once, for all factors."""
    inner = hidden(vectors, parameters, side)
    return torch.baddbmm(parameters[f"{side}.out.bias"], inner, parameters[f"{side}.out.weight"])


def hidden(
    vectors: Float[Tensor, "example d"], parameters: Mapping[str, Tensor], side: str
) -> Float[Tensor, "factor example inner"]:
    """What the last layer sees, for all factors: the hidden layer's output, or the vectors themselves."""
    inner = vectors.expand(len(parameters[f"{side}.out.weight"]), *vectors.shape)
    if f"{side}.hidden.weight" not in parameters:
        return inner
    return torch.baddbmm(parameters[f"{side}.hidden.bias"], inner, parameters[f"{side}.hidden.weight"]).relu()
