"""A config.json against the weights beside it: what can't belong to them is refused before anything is built."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gptfl.errors import DataError
from gptfl.training.model_config import check_config, longest_input
from gptfl.training.weight_files import Tensor, WeightFiles


def test_a_models_length() -> None:
    def config(**more: object) -> Any:
        made = SimpleNamespace(**more)
        made.get_text_config = lambda: made
        return made

    assert longest_input(config(max_position_embeddings=128)) == 128
    assert longest_input(config(max_position_embeddings=-1)) is None
    assert longest_input(config(max_position_embeddings=None)) is None
    assert longest_input(config()) is None


def files(folder: Path, **tensors: tuple[tuple[int, ...], str]) -> WeightFiles:
    made = {name: Tensor(folder / "x", name, *one) for name, one in tensors.items()}
    return WeightFiles("here", (), made or {"w": Tensor(folder / "x", "w", (8, 4), "F32")})


def check(folder: Path, config: dict[str, Any], **tensors: tuple[tuple[int, ...], str]) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "gpt2", **config}))
    check_config(folder, "here", files(folder, **tensors))


def test_what_is_in_proportion_to_the_weights_is_taken(tmp_path: Path) -> None:
    check(tmp_path, {"hidden_size": 4, "n_layer": 64, "max_position_embeddings": 2**20, "pad_token_id": -1})
    check(tmp_path, {"vocab_size": 2**20, "layer_types": ["full"] * 3, "rope": {"factor": 10**12}})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": None}, "names no model_type, but None"),
        ({"hidden_size": 0}, "hidden_size is 0, not a whole number of at least 1"),
        ({"n_head": 2.0}, "n_head is 2.0, not a whole number"),
        ({"text_config": {"vocab_size": -5}}, "vocab_size is -5"),
        ({"n_layer": 65}, "n_layer is 65, and the files hold 1 weights"),
        ({"intermediate_size": 2**20 + 1}, "intermediate_size is 1048577, and no weight has a side longer than 8"),
        ({"n_positions": 2**27 + 1}, "n_positions is 134217729, and no text is as long"),
        ({"other": {"mlp_dims": [10**9]}}, "mlp_dims is 1000000000"),
        ({"kernels": [[2**20 + 1]]}, "kernels is 1048577, and the files hold 1 weights"),
        ({"quantization_config": {"quant_method": "gptq"}}, "is quantised: config.json has a quantization_config"),
    ],
)
def test_what_is_out_of_all_proportion_is_refused(tmp_path: Path, config: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        check(tmp_path, config)
    assert str(caught.value).startswith("here")


def test_adapters_and_quantised_weights_are_known_by_their_files(tmp_path: Path) -> None:
    for name, dtype in (("a.weight", "F8_E4M3"), ("a.qweight", "I32"), ("a.weight_scale", "F32"), ("a.SCB", "I8")):
        with pytest.raises(DataError, match=rf"here is quantised: .*{re.escape(name)}"):
            check(tmp_path, {}, **{name: ((2,), dtype)})
    check(tmp_path, {}, **{"a.absmax": ((2,), "F32")})
    (tmp_path / "adapter_config.json").touch()
    with pytest.raises(DataError, match=r"here holds an adapter \(adapter_config.json\): merge it into its model"):
        check(tmp_path, {})
