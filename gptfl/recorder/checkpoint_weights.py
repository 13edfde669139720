"""Puts the weights of a checkpoint into a network, and what its optimiser divides gradients by."""

from pathlib import Path

import torch
from torch import Tensor

from gptfl.errors import DataError
from gptfl.recorder.checkpoint_folder import ADAPTER_WEIGHTS, OPTIMISER
from gptfl.training.gradients.denominators import Denominator, adam_divisor
from gptfl.training.loading import blamed, load_weights
from gptfl.training.network import Network
from gptfl.training.optimisers import decayed
from gptfl.training.quiet import quiet
from gptfl.training.weight_files import read_weight_files

AGAIN = "get the whole checkpoint again"


def weights_of(folder: Path, network: Network, adapters: bool) -> dict[str, Tensor]:
    """The trained weights of a checkpoint, by the network's names. Raises ``DataError`` where they aren't of this model."""
    found = _adapters(folder) if adapters else _whole(folder)
    lost = [name for name in network.names if name not in found]
    if lost:
        raise DataError(f"{folder} has no weight {lost[0]}", "name the --model that was fine-tuned")
    for name, weight in zip(network.names, network.trainable, strict=True):
        if found[name].shape != weight.shape:
            raise DataError(
                f"{folder}: {name} has shape {tuple(found[name].shape)}, in --model {tuple(weight.shape)}",
                "name the --model that was fine-tuned",
            )
        if not torch.isfinite(found[name]).all():
            raise DataError(f"{folder}: NaN or infinity in {name}", AGAIN)
    return {name: found[name].float() for name in network.names}


def _whole(folder: Path) -> dict[str, Tensor]:
    from transformers import AutoModelForCausalLM

    where = str(folder)
    with quiet():
        model = load_weights(AutoModelForCausalLM, folder, read_weight_files(folder, where))
    return {name: weight.detach() for name, weight in model.named_parameters()}


def _adapters(folder: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    path = folder / ADAPTER_WEIGHTS
    with blamed(f"{path} can't be read", AGAIN):
        found = load_file(str(path))
    named = {}
    for name, value in found.items():
        plain = name.removeprefix("base_model.model.")
        for part in ("lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B"):
            plain = plain.replace(f".{part}.weight", f".{part}.default.weight")
        named[plain] = value
    return named


def changed_names(network: Network, weights: dict[str, Tensor]) -> set[str]:
    """The names of the weights that differ from the network's own."""
    pairs = zip(network.names, network.trainable, strict=True)
    return {name for name, weight in pairs if not torch.equal(weight.detach().cpu(), weights[name].cpu())}


def denominator_of_file(folder: Path, network: Network, share: float | None) -> Denominator:
    """By what AdamW would divide after this checkpoint, from its ``optimizer.pt``, which is read without any code.

    Args:
        folder: the checkpoint.
        network: with its weights.
        share: of an example's gradient in its batch's, as in ``adam_divisor``.

    Raises ``DataError`` where the file isn't that of torch's AdamW over just the weights that are trained.
    """
    path = folder / OPTIMISER
    with blamed(f"{path} can't be read", "leave --optimiser-state out, or get the file again"):
        state = torch.load(path, map_location="cpu", weights_only=True)
        groups, each = state["param_groups"], state["state"]
        order = _order(network, [len(group["params"]) for group in groups])
        numbers = [number for group in groups for number in group["params"]]
        decay, epsilon = {float(group["betas"][1]) for group in groups}, {float(group["eps"]) for group in groups}
        seconds = {}
        for name, number in zip(order, numbers, strict=True):
            one = each.get(number)
            if one is not None:
                seconds[name] = one["exp_avg_sq"], float(one["step"])
    if len(decay) > 1 or len(epsilon) > 1:
        raise DataError(f"{path}: groups of weights differ in betas or eps", "leave --optimiser-state out")
    for name, weight in zip(network.names, network.trainable, strict=True):
        if name in seconds and seconds[name][0].shape != weight.shape:
            raise DataError(
                f"{path}: its weights come in another order than the model's", "leave --optimiser-state out"
            )
    return _divisor(network, seconds, min(decay), min(epsilon), share)


def _order(network: Network, sizes: list[int]) -> list[str]:
    """The trained weights in the order of an optimiser with groups of these sizes: those that decay first.

    A weight that was never changed may be missing from the names; then the groups can't be told.
    """
    names = decayed(network.model)
    parts = [[one for one in network.names if (one in names) == kept] for kept in (True, False)]
    if [len(part) for part in parts if part] == [size for size in sizes if size]:
        return [*parts[0], *parts[1]]
    if sizes == [len(network.names)]:
        return list(network.names)
    raise ValueError(f"it is of groups of {', '.join(map(str, sizes))} weights, and {len(network.names)} are trained")


def _divisor(
    network: Network, seconds: dict[str, tuple[Tensor, float]], decay: float, epsilon: float, share: float | None
) -> Denominator:
    def denominator(place: int, rows: slice, gradients: Tensor) -> Tensor:
        second, steps = seconds.get(network.names[place], (None, 0.0))
        if second is not None:
            second = second[rows].to(gradients.device).flatten()
        return adam_divisor(second, steps, decay, epsilon, share, gradients)

    return denominator
