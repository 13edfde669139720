"""The built-in model: a small GPT-NeoX, built and briefly pre-trained on generated text, then kept."""

import os
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerFast

from gptfl.core import Progress, fingerprint, silent
from gptfl.core.curriculum import TinyStream, generator
from gptfl.tasks.errands import corpus
from gptfl.training.models import build_folder, cache_folder, is_built
from gptfl.training.quiet import quiet

SHAPE = {"hidden_size": 96, "intermediate_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4}
VOCABULARY = 768
CONTEXT = 512
TEXTS = 6000
STEPS = 400
BATCH = 16
LENGTH = 96
LEARNING_RATE = 3e-3
SEED = 17
VERSION = 1
END = "<|end|>"


def build_tiny(progress: Progress = silent) -> Path:
    """The folder of the built-in model; builds it the first time (about 20 seconds on two cores).

    It reads and writes any text (byte-level tokens), and knows a little of the world that the task
    ``errands`` is about, so that fine-tuning it shows real, curriculum-dependent dynamics.
    """
    identity = fingerprint(VERSION, SHAPE, VOCABULARY, CONTEXT, TEXTS, STEPS, BATCH, LENGTH, LEARNING_RATE, SEED)
    target = cache_folder() / "models" / f"tiny-{identity}"
    if is_built(target):
        return target
    texts = corpus(SEED, TEXTS)
    with quiet(), build_folder(target) as folder:
        tokenizer = train_tokenizer(texts)
        tokenizer.save_pretrained(folder)
        model = pretrain(tokenizer, texts, progress)
        model.save_pretrained(folder)
    return target


def train_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of these texts."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=[END], initial_alphabet=alphabet, show_progress=False
    )
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token=END, bos_token=END, pad_token=END)


def pretrain(tokenizer: Any, texts: list[str], progress: Progress) -> GPTNeoXForCausalLM:
    """Train the model from scratch on the texts, one after the other in a long stream."""
    stream: list[int] = []
    for ids in tokenizer(texts)["input_ids"]:
        stream += [*ids, tokenizer.eos_token_id]
    tokens = torch.tensor(stream)
    random = generator(SEED, TinyStream.WINDOWS)
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        config = GPTNeoXConfig(
            vocab_size=len(tokenizer),
            max_position_embeddings=CONTEXT,
            rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25},
            use_parallel_residual=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            tie_word_embeddings=False,
            **SHAPE,
        )
        model = GPTNeoXForCausalLM(config)
    optimiser = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.01)
    warmup = max(1, STEPS // 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min((step + 1) / warmup, (STEPS - step) / (STEPS - warmup))
    )
    for step in range(STEPS):
        starts = random.integers(0, len(tokens) - LENGTH - 1, size=BATCH)
        window = torch.stack([tokens[start : start + LENGTH + 1] for start in starts])
        logits = model(input_ids=window[:, :-1], use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), window[:, 1:].flatten())
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        progress("pre-train tiny", step + 1, STEPS, f"loss {loss.item():.2f}, once")
    return model.eval()
