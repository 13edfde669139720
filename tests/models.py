"""Small random models, made on the spot."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

WORDS = "the a sun moon is was red blue yes no . , ? who sees it shine on sea and land"


MODELS: dict[tuple[object, ...], Any] = {}
"""The models that were loaded last, by their files as they were then."""


def loaded_once(load: Callable[..., Any]) -> Callable[..., Any]:
    """``load_weights`` that gives a copy where these very files were loaded before, which takes a tenth of the time."""

    def load_or_copy(auto: Any, folder: Path, files: Any) -> Any:
        try:
            stats = [(path.name, path.stat()) for path in sorted(folder.iterdir())]
        except OSError:  # a file that isn't there
            return load(auto, folder, files)
        key = (auto, folder, *((name, one.st_ino, one.st_mtime_ns, one.st_size) for name, one in stats))
        if key not in MODELS:
            MODELS[key] = load(auto, folder, files)
            if len(MODELS) > 8:
                del MODELS[next(iter(MODELS))]
        return copy.deepcopy(MODELS[key])

    return load_or_copy


def small_tokenizer(words: str = WORDS) -> Any:
    """A byte-level tokenizer that knows a few words."""
    from gptfl.training.tiny import train_tokenizer

    return train_tokenizer([words] * 20)


def save_small(folder: Path, family: str, blocks: int = 2, width: int = 32, words: str = WORDS) -> Path:
    """Save a random model of a few narrow blocks, and a tokenizer that knows a few words."""
    import torch
    import transformers as hf

    tokenizer = small_tokenizer(words)
    common: dict[str, Any] = {"vocab_size": len(tokenizer), "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    wide = {"hidden_size": width, "intermediate_size": 48, "num_hidden_layers": blocks, "num_attention_heads": 4}
    no_dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    configs = {
        "gpt-neox": lambda: hf.GPTNeoXConfig(**common, **wide, max_position_embeddings=128),
        "llama": lambda: hf.LlamaConfig(
            **common, **wide, num_key_value_heads=2, tie_word_embeddings=True, max_position_embeddings=128
        ),
        "gemma2": lambda: hf.Gemma2Config(
            **common,
            **wide,
            num_key_value_heads=2,
            head_dim=8,
            final_logit_softcapping=1.0,
            max_position_embeddings=128,
        ),
        "gpt2": lambda: hf.GPT2Config(**common, n_embd=width, n_layer=blocks, n_head=4, n_positions=128, **no_dropout),
    }
    config = configs[family]()
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = hf.AutoModelForCausalLM.from_config(config)
        for parameter in model.parameters():
            # Random models start so flat that every answer is as likely: make them opinionated.
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.25)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session", params=["gpt-neox", "llama", "gpt2"])
def any_model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small random model of each family."""
    return save_small(tmp_path_factory.mktemp(request.param), request.param, blocks=3)


@pytest.fixture(scope="session")
def neox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small random GPT-NeoX."""
    return save_small(tmp_path_factory.mktemp("neox") / "small-neox", "gpt-neox")


@pytest.fixture
def quick_tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """The built-in model with hardly any pre-training, so that it is there at once."""
    from gptfl.training import tiny

    monkeypatch.setattr(tiny, "STEPS", 4)
    monkeypatch.setattr(tiny, "TEXTS", 300)
    monkeypatch.setattr(tiny, "SHAPE", {**tiny.SHAPE, "hidden_size": 32, "num_hidden_layers": 2})
