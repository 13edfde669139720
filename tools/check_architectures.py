"""Holds what gptfl makes of every causal language model of the installed transformers against the model's own forward pass.

    python tools/check_architectures.py            # every architecture; takes minutes
    python tools/check_architectures.py gemma2 gpt_oss

Each is made tiny and at random, with rows longer than its windows. A cell is ``ok``, ``refused`` (the line is printed
below the table), or names what is wrong; then the exit status is 1.
"""

import argparse
import inspect
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import CONFIG_MAPPING, AutoModelForCausalLM
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.utils import logging

from gptfl.errors import DataError
from gptfl.training.forward import arguments
from gptfl.training.gradients.directional import Slopes
from gptfl.training.gradients.sides import Side
from gptfl.training.gradients.tape import Tape
from gptfl.training.models import LoadedModel
from gptfl.training.names import ModelSource
from gptfl.training.network import Batch, Network
from gptfl.training.reference_run import check_against_autograd
from gptfl.training.token_rows import TokenRow

WIDTH, BLOCKS, WORDS, WINDOW = 32, 4, 96, 6
LENGTHS = (23, 3, 11)
LARGEST = 8_000_000
SECONDS = 40
TOLERANCE = 2e-3
SHAPE: dict[str, Any] = {
    **dict.fromkeys(("vocab_size", "vocab_size_per_layer_input"), WORDS),
    **dict.fromkeys(
        ("hidden_size", "d_model", "n_embd", "emb_dim", "dim", "lru_width", "attention_hidden_size"), WIDTH
    ),
    **dict.fromkeys(("embedding_size", "word_embed_proj_dim"), WIDTH),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "decoder_ffn_dim", "encoder_ffn_dim", "n_inner", "d_ff"), 48),
    **dict.fromkeys(("ffn_hidden_size", "dim_ff"), 48),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers"), BLOCKS),
    **dict.fromkeys(("num_decoder_layers",), BLOCKS),
    **dict.fromkeys(("encoder_layers", "num_encoder_layers"), 1),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("encoder_attention_heads", "num_decoder_attention_heads", "num_encoder_attention_heads"), 4),
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads", "n_mamba_heads"), 2),
    **dict.fromkeys(("head_dim", "d_kv", "attention_head_dim", "qk_nope_head_dim", "v_head_dim"), 8),
    **dict.fromkeys(("qk_rope_head_dim",), 8),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len"), 256),
    **dict.fromkeys(("sliding_window", "window_size", "attention_window", "attention_window_size"), WINDOW),
    **dict.fromkeys(("sliding_window_size", "attention_chunk_size"), WINDOW),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_topk", "moe_k", "top_k"), 2),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size", "expert_dim"), 16),
    **dict.fromkeys(("n_shared_experts", "num_shared_experts", "n_group", "topk_group", "first_k_dense_replace"), 1),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank", "mamba_headdim"), 16),
    **dict.fromkeys(("rotary_dim", "laurel_rank", "mamba_dt_rank", "conv_kernel"), 4),
    **dict.fromkeys(("mamba_n_heads", "mamba_d_head", "mamba_d_state", "mamba_chunk_size", "mamba_num_heads"), 8),
    **dict.fromkeys(("mamba_head_dim", "ssm_state_size", "state_size", "chunk_size", "hidden_size_per_layer_input"), 8),
    **dict.fromkeys(("mamba_n_groups", "mamba_ngroups", "n_groups"), 1),
    **dict.fromkeys(("mamba_expand", "expand", "linear_num_key_heads"), 2),
    "mamba_d_ssm": 64,
    "is_decoder": True,
    "linear_num_value_heads": 4,
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim"), 8),
    **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"), 0),
    **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop", "hidden_dropout", "attention_dropout", "dropout"), 0.0),
    **dict.fromkeys(
        ("hidden_dropout_prob", "attention_probs_dropout_prob", "activation_dropout", "resid_dropout"), 0.0
    ),
}
"""Sizes by the names that configurations call them by; each takes those it knows."""
SPECIAL: dict[str, dict[str, Any]] = {
    "gemma2": {"final_logit_softcapping": 1.0},
    "gemma3_text": {"layer_types": ["full_attention", "sliding_attention", "sliding_attention", "full_attention"]},
    "qwen2": {"use_sliding_window": True, "max_window_layers": 2},
    "qwen3": {"use_sliding_window": True, "max_window_layers": 2},
    "bamba": {"attn_layer_indices": [1, 3]},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "use_mamba_kernels": False},
    "granitemoehybrid": {"layer_types": ["mamba", "attention", "mamba", "attention"]},
    "gemma3n_text": {
        "layer_types": ["full_attention", "sliding_attention", "full_attention", "sliding_attention"],
        "num_kv_shared_layers": 1,
        "activation_sparsity_pattern": [0.0] * 4,
    },
    "gpt_neo": {"attention_types": [[["global", "local"], 2]]},
    "mamba2": {"num_heads": 8, "head_dim": 8},
    "zamba": {"num_hidden_layers": 6, "attn_layer_period": 2, "attn_layer_offset": 1, "use_mamba_kernels": False},
    "xlm": {"causal": True},
    "granite": {"logits_scaling": 3.0, "embedding_multiplier": 2.0},
    "cohere": {"logit_scale": 0.5},
}
"""What single architectures are given beside."""


def build(family: str, **more: Any) -> Any:
    """A tiny random model of an architecture, by its ``model_type``."""
    made = CONFIG_MAPPING[family]
    inner = getattr(made, "sub_configs", {}).get("text_config")
    given = {**SPECIAL.get(family, {}), **more}
    if inner is not None and "num_hidden_layers" not in _names(made):
        config = made(text_config={**_known(inner), **given})
    else:
        config = made(**{**_known(made), **given})
    with torch.device("meta"):
        size = sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())
    if size > LARGEST:
        raise ValueError(f"not tiny: {size} weights")
    with torch.random.fork_rng():
        torch.manual_seed(4)
        model = AutoModelForCausalLM.from_config(config)
        for weight in model.parameters():
            if weight.dim() > 1:
                torch.nn.init.normal_(weight, std=0.2)
    return model.eval()


def _names(config: type) -> set[str]:
    found = set(inspect.signature(config.__init__).parameters)  # type: ignore[misc]
    for kind in config.__mro__:
        found |= set(getattr(kind, "__annotations__", {}))
    return found | set(getattr(config, "attribute_map", {}))


def _known(config: type) -> dict[str, Any]:
    names = _names(config)
    latent = {"num_key_value_heads": 4} if "kv_lora_rank" in names else {}  # each head has keys of its own
    return {name: value for name, value in SHAPE.items() if name in names} | latent


def some_rows(words: int = WORDS) -> list[TokenRow]:
    """Rows of several lengths, the last three tokens of each asked for (of the shortest, two)."""
    random = np.random.default_rng(8)
    rows = []
    for length in LENGTHS:
        targets = min(3, length - 1)
        ids = random.integers(5, words, length)
        positions = np.arange(length - targets, length)
        tokens = np.array([*ids[length - targets + 1 :], 7])
        rows.append(TokenRow(tuple(ids.tolist()), positions, tokens, np.zeros(targets, dtype=np.int64)))
    return rows


def network_of(model: Any, name: str, train_layers: int | None = None, lora: str | None = None) -> Network:
    """A network of this model, checked as a trainer does."""
    loaded = LoadedModel(model, None, ModelSource(name, "folder", name), "")
    network = Network(loaded, train_layers, "fp32", lora=lora)
    network.check(some_rows())
    return network


def own_log_probs(model: Any, rows: Sequence[TokenRow]) -> Tensor:
    """The asked log-probabilities by the model's own forward pass, row by row, all logits computed."""
    found = []
    for row in rows:
        logits = model(input_ids=torch.tensor([row.input_ids]), **arguments(model)).logits[0].log_softmax(-1)
        found.append(logits[torch.from_numpy(row.positions), torch.from_numpy(row.tokens)])
    return torch.cat(found)


def check_recording(model: Any, name: str, train_layers: int | None = None, lora: str | None = None) -> str:
    """Log-probabilities and gradients against the model's own, before and after the trained weights have moved."""
    network = network_of(model, name, train_layers, lora)
    rows = some_rows()
    batch = Batch(rows, network.lower(rows, [[0, 2], [1]]), network.device)
    random = torch.Generator().manual_seed(1)
    for moved in (False, True):
        if moved:
            with torch.no_grad():
                for weight in network.trainable:
                    weight.add_(torch.randn(weight.shape, generator=random), alpha=0.02)
        ours, own = network.log_probs(batch), own_log_probs(network.model, rows)
        if not torch.allclose(ours, own, atol=TOLERANCE, rtol=TOLERANCE):
            return f"WRONG by {float((ours - own).abs().max()):.2g}{' once trained' if moved else ''}"
        pair = [torch.autograd.grad(values.sum(), network.trainable, allow_unused=True) for values in (ours, own)]
        for mine, theirs in zip(*pair, strict=True):
            if mine is not None and theirs is not None:
                scale = 1e-4 + float(theirs.abs().max())
                if float((mine - theirs).abs().max()) > 0.02 * scale:
                    return "WRONG gradient"
            elif any(g is not None and float(g.abs().max()) > 0 for g in (mine, theirs)):
                return "WRONG: no gradient"
    network.switch(training=True)
    network.loss(batch).backward()  # type: ignore[no-untyped-call]
    return "ok"


def check_sketches(model: Any, name: str) -> str:
    """Whether the gradients of single examples can be told."""
    network = network_of(model, name)
    check_against_autograd(Tape(network), Side(some_rows()))
    return "ok"


def check_slopes(model: Any, name: str) -> str:
    """Whether losses' derivatives along a direction can be taken, and are right."""
    network = network_of(model, name)
    random = torch.Generator().manual_seed(2)
    side = Side(some_rows())
    slopes = Slopes(network, side)
    slopes.check()
    losses = [-network.log_probs(side.take([i]).batch(network)).mean() for i in range(len(side))]
    gradients = torch.autograd.grad(torch.stack(losses).sum(), network.trainable, allow_unused=True)
    # A weight without a gradient is never moved.
    directions = [
        torch.zeros_like(weight) if gradient is None else torch.randn(weight.shape, generator=random)
        for weight, gradient in zip(network.trainable, gradients, strict=True)
    ]
    found = slopes.along([weight.detach() for weight in network.trainable], directions).sum()
    expected = sum(float((g * d).sum()) for g, d in zip(gradients, directions, strict=True) if g is not None)
    return "ok" if np.isclose(found, expected, rtol=1e-2, atol=1e-2) else f"WRONG: {found:.4g}, not {expected:.4g}"


PATHS: dict[str, Callable[[Any, str], str]] = {
    "whole": check_recording,
    "top 1": lambda model, name: check_recording(model, name, 1),
    "top 2": lambda model, name: check_recording(model, name, 2),
    "lora": lambda model, name: check_recording(model, name, None, "r=2,dropout=0"),
    "sketches": check_sketches,
    "own": check_slopes,
}


def check(family: str) -> tuple[dict[str, str], list[str]]:
    """What each way of recording makes of an architecture, and the lines of those that it is refused in."""
    try:
        model = build(family)
    except Exception as error:
        return {}, [f"{family} isn't made tiny here: {type(error).__name__} {str(error).splitlines()[:1]}"]
    try:
        own_log_probs(model, some_rows())
    except Exception as error:
        return {}, [f"{family} made like this doesn't run: {type(error).__name__} {str(error).splitlines()[:1]}"]
    found, lines = {}, []
    for path, run in PATHS.items():
        try:
            found[path] = run(build(family), family)
        except DataError as error:
            found[path] = "refused"
            lines.append(f"{family}, {path}: {error}")
        except Exception as error:
            found[path] = f"TRACEBACK {type(error).__name__}: {str(error)[:150]}"
    return found, lines


def _slow(*_: Any) -> None:
    raise TimeoutError(f"over {SECONDS} s")


def main(families: Sequence[str]) -> int:
    """Print the table; 1 where anything is wrong."""
    logging.set_verbosity(50)
    warnings.filterwarnings("ignore")
    signal.signal(signal.SIGALRM, _slow)
    said, wrong = [], 0
    print(f"{'architecture':24}", *(f"{path:9}" for path in PATHS), flush=True)
    for family in families or MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        signal.alarm(SECONDS)
        found, lines = check(family)
        signal.alarm(0)
        said += lines
        bad = {path: cell for path, cell in found.items() if cell not in ("ok", "refused")}
        wrong += len(bad)
        if found:
            print(f"{family:24}", *(f"{'WRONG' if path in bad else found[path]:9}" for path in PATHS), flush=True)
        for path, cell in bad.items():
            print(f"    {path}: {cell}", flush=True)
    print(*said, sep="\n")
    return int(wrong > 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*")
    sys.exit(main(parser.parse_args().families))
