"""The weights of a checkpoint in a network, and what its optimiser divides gradients by."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file

from gptfl.errors import DataError
from gptfl.recorder.checkpoint_weights import changed_names, denominator_of_file, weights_of
from gptfl.training.load import load_model
from gptfl.training.network import Network
from gptfl.training.optimisers import decayed


@pytest.fixture
def network(small: Path) -> Network:
    return Network(load_model(str(small)), None, "fp32")


@pytest.fixture
def saved(small: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small, tmp_path / "checkpoint-1"))


def change(folder: Path, alter: Any) -> None:
    save_file(alter(load_file(folder / "model.safetensors")), folder / "model.safetensors", metadata={"format": "pt"})


def test_weights_are_those_of_the_file_and_only_changed_ones_differ(
    network: Network, saved: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    assert changed_names(network, weights_of(saved, network, adapters=False)) == set()
    assert capfd.readouterr().err == "", "no bar of the libraries"
    change(saved, lambda all: {name: one + ("c_attn.bias" in name) for name, one in all.items()})
    found = weights_of(saved, network, adapters=False)
    assert list(found) == network.names
    (name,) = changed_names(network, found)
    assert name.endswith("attn.c_attn.bias")
    before = dict(zip(network.names, network.trainable, strict=True))[name]
    torch.testing.assert_close(found[name], before.detach() + 1)


def test_weights_that_are_not_of_this_model_are_named(network: Network, saved: Path, tmp_path: Path) -> None:
    network.names.append("extra")
    with pytest.raises(DataError, match=r"checkpoint-1 has no weight extra: name the --model that was fine-tuned"):
        weights_of(saved, network, adapters=False)
    network.names.pop()
    network.trainable[0] = torch.nn.Parameter(torch.zeros(2, 3))
    with pytest.raises(DataError, match=r"has shape \(.*\), in --model \(2, 3\)"):
        weights_of(saved, network, adapters=False)


def test_adapters_have_the_names_of_the_network(small: Path, tmp_path: Path) -> None:
    network = Network(load_model(str(small)), None, "fp32", lora="r=2")
    plain = {
        "base_model.model." + name.replace(".default.weight", ".weight"): weight.detach() + 1
        for name, weight in zip(network.names, network.trainable, strict=True)
    }
    save_file(plain, tmp_path / "adapter_model.safetensors")
    found = weights_of(tmp_path, network, adapters=True)
    for name, weight in zip(network.names, network.trainable, strict=True):
        torch.testing.assert_close(found[name], weight.detach() + 1)
    first = next(iter(plain))
    save_file({**plain, first: plain[first] * torch.nan}, tmp_path / "adapter_model.safetensors")
    with pytest.raises(DataError, match="NaN or infinity in"):
        weights_of(tmp_path, network, adapters=True)
    (tmp_path / "adapter_model.safetensors").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"adapter_model\.safetensors can't be read"):
        weights_of(tmp_path, network, adapters=True)


def optimised(small: Path, network: Network, folder: Path, **options: Any) -> dict[str, torch.Tensor]:
    """Saves what a Trainer's AdamW kept after two steps; gives the gradients' running second moments by name."""
    model = hf.AutoModelForCausalLM.from_pretrained(small)
    kept, named = decayed(model), dict(model.named_parameters())
    groups = [{"params": [one for name, one in named.items() if (name in kept) == part]} for part in (True, False)]
    optimiser = torch.optim.AdamW(groups, **{"lr": 1e-3, "betas": (0.9, 0.75), "eps": 0.5, **options})
    for _ in range(2):
        for number, one in enumerate(named.values()):
            one.grad = torch.full_like(one, 1.0 + number)
        optimiser.step()
    torch.save(optimiser.state_dict(), folder / "optimizer.pt")
    return {name: torch.full_like(one, 1.0 + number) ** 2 for number, (name, one) in enumerate(named.items())}


def test_gradients_are_divided_as_adamw_divided_them(small: Path, network: Network, tmp_path: Path) -> None:
    seconds = optimised(small, network, tmp_path)
    denominator = denominator_of_file(tmp_path, network, 0.5)
    alone = denominator_of_file(tmp_path, network, None)
    for place, (name, weight) in enumerate(zip(network.names, network.trainable, strict=True)):
        # Gradients that never change have their own square as the corrected second moment.
        expected = seconds[name].sqrt() + 0.5
        gradients = torch.arange(2.0)[:, None].expand(2, weight.numel())
        torch.testing.assert_close(alone(place, slice(0, len(weight)), gradients), expected.flatten())
        torch.testing.assert_close(alone(place, slice(1, 2), gradients), expected[1:2].flatten())
        # After a third step, in which half of the example's gradient counts.
        moment = 0.75 * (1 - 0.75**2) * seconds[name].flatten() + 0.25 * (0.5 * gradients) ** 2
        found = denominator(place, slice(0, len(weight)), gradients)
        torch.testing.assert_close(found, (moment / (1 - 0.75**3)).sqrt() + 0.5)


def test_an_optimiser_of_other_weights_is_refused(small: Path, network: Network, tmp_path: Path) -> None:
    optimised(small, network, tmp_path)
    network.train_only(network.names[:3])
    with pytest.raises(
        DataError, match=r"optimizer\.pt can't be read \(ValueError: it is of groups of .* 3 are trained"
    ):
        denominator_of_file(tmp_path, network, 0.5)


def test_a_file_that_would_run_code_is_not_read(network: Network, tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> Any:
            return (tmp_path.joinpath("harmed").touch, ())

    torch.save({"state": Harm(), "param_groups": []}, tmp_path / "optimizer.pt")
    with pytest.raises(DataError, match=r"optimizer\.pt can't be read"):
        denominator_of_file(tmp_path, network, 0.5)
    assert not (tmp_path / "harmed").exists()
