"""What trainers call the settings of a recipe, and which of them gptfl takes, refuses or can do without."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

RENAMED: Mapping[str, str] = {
    "learning_rate": "lr",
    "lr_scheduler_type": "schedule",
    "lr_scheduler": "schedule",
    "warmup_steps": "warmup",
    "warmup_ratio": "warmup",
    "max_grad_norm": "clip_norm",
    "num_train_epochs": "epochs",
    "num_epochs": "epochs",
    "max_steps": "steps",
    "adam_beta1": "beta1",
    "adam_beta2": "beta2",
    "adam_epsilon": "eps",
    "weight_decay": "weight_decay",
    "optim": "optimiser",
    "optimizer": "optimiser",
    "max_seq_length": "max_length",
    "max_length": "max_length",
    "sequence_len": "max_length",
    "cutoff_len": "max_length",
    "per_device_train_batch_size": "batch_size",
    "micro_batch_size": "batch_size",
    "gradient_accumulation_steps": "accumulate",
    "model_name_or_path": "model",
    "base_model": "model",
}
"""The option that each key is, but that a step's examples are those of all accumulated passes."""
ALIKE = 0.87
"""How alike two keys are of which one may be the other misspelt; those for evaluation and for training are less."""
PACKING = ("packing", "packing_strategy", "neat_packing", "sample_packing")
GROUPING = ("group_by_length", "train_sampling_strategy")
BITS = ("load_in_4bit", "load_in_8bit", "quantization_bit", "bnb_4bit_quant_type", "quantization_type")
OTHERS = (
    *PACKING,
    *GROUPING,
    *BITS,
    *("assistant_only_loss", "dataset_text_field"),
    *("bf16", "fp16", "adapter", "use_peft", "finetuning_type", "stage"),
    *("lora_r", "lora_rank", "lora_alpha", "lora_dropout", "lora_target_modules", "lora_target", "lora_target_linear"),
)
"""Further keys that are read."""
SCHEDULES = {
    **{name: name for name in ("linear", "cosine", "constant", "polynomial", "inverse_sqrt")},
    "constant_with_warmup": "constant",
}
OPTIMISERS = {
    **dict.fromkeys(("adamw", "adamw_torch", "adamw_torch_fused", "adamw_hf", "adamw_apex_fused"), "adamw"),
    # What is paged lies elsewhere, and is computed alike.
    **dict.fromkeys(("adamw_8bit", "adamw_bnb_8bit", "paged_adamw_8bit"), "adamw-8bit"),
    **dict.fromkeys(("paged_adamw", "paged_adamw_32bit"), "adamw"),
    **{name: name for name in ("sgd", "adafactor", "muon")},
}


@dataclass(frozen=True, slots=True)
class Refused:
    """A key that would change what is trained, unless ``is_usual`` says so of its value; ``remedy`` is the way out."""

    why: str
    remedy: str
    is_usual: Callable[[Any], bool] = lambda value: not value


def _is(*usual: Any) -> Callable[[Any], bool]:
    return lambda value: value in usual


HIDDEN = "<EOS_TOKEN>"
"""What a configuration that trainers save has for any token, whether one was given or not."""
_LORA = Refused("gptfl has plain LoRA", "leave it out")
_BEGUN = Refused("gptfl begins with new adapters", "leave it out; --model may be a folder with the adapters merged in")
_OPTIMISER = Refused("gptfl has no such optimiser", "use optim: adamw_torch")
_LAYERS = Refused(
    "gptfl trains all weights, the top blocks or adapters", "leave it out; --train-layers K trains the top"
)
_PROMPTS = Refused("the loss would be on prompts, too", "leave it out, or say with --loss-on all that it is")
_RATES = Refused("the schedule would be another", "leave it out")
_ORDER = Refused("batches are drawn at random", "leave it out")
REFUSED: Mapping[str, Refused] = {
    **dict.fromkeys(("disable_shuffling", "curriculum_sampling"), _ORDER),
    **dict.fromkeys(("use_dora", "use_rslora", "peft_use_dora", "peft_use_rslora", "loraplus_lr_ratio"), _LORA),
    **dict.fromkeys(("lora_modules_to_save", "modules_to_save", "additional_target", "loftq_config"), _LORA),
    **dict.fromkeys(("pissa_init", "relora", "lora_target_parameters", "peft_layer_replication"), _LORA),
    "peft_init_lora_weights": Refused(_LORA.why, _LORA.remedy, _is(True, None)),
    **dict.fromkeys(("lora_model_dir", "adapter_name_or_path"), _BEGUN),
    **dict.fromkeys(("unfrozen_parameters", "freeze_trainable_layers", "freeze_trainable_modules"), _LAYERS),
    **dict.fromkeys(("peft_layers_to_transform", "lora_layers_to_transform", "layers_to_transform"), _LAYERS),
    **dict.fromkeys(("train_on_prompt", "train_on_inputs"), _PROMPTS),
    "mask_history": Refused("the loss would be on last answers alone", "leave it out, and give --loss-on last"),
    "chat_template_path": Refused(
        "gptfl takes no template by a recipe", "leave it out, and give the template with --chat-template FILE"
    ),
    "eos_token": Refused(
        "gptfl ends answers by the tokenizer's own token",
        "leave it out, or take a tokenizer whose eos_token it is",
        _is(None, "", HIDDEN),
    ),
    "pure_bf16": Refused("gptfl keeps weights in float32", "use bf16: true"),
    "completion_only_loss": Refused(_PROMPTS.why, _PROMPTS.remedy, lambda value: value is not False),
    **dict.fromkeys(("lr_scheduler_kwargs", "cosine_min_lr_ratio", "cosine_constant_lr_ratio"), _RATES),
    **dict.fromkeys(("embedding_lr", "embedding_lr_scale", "lr_groups"), _RATES),
    "optim_args": Refused("gptfl has no other settings of optimisers", "leave it out"),
    **dict.fromkeys(
        ("neftune_noise_alpha", "noisy_embedding_alpha"),
        Refused("gptfl adds no noise to embeddings (NEFTune)", "leave it out"),
    ),
    "label_smoothing_factor": Refused("gptfl smooths no labels", "leave it out"),
    "loss_type": Refused("gptfl's loss is the negative log-likelihood", "use nll", _is("nll", None)),
    "rl": Refused("gptfl fine-tunes on targets alone", "leave it out"),
    **dict.fromkeys(("use_galore", "use_badam", "use_apollo", "use_adam_mini"), _OPTIMISER),
    "use_muon": Refused(_OPTIMISER.why, "use optim: muon"),
    **dict.fromkeys(("use_llama_pro", "lisa_n_layers"), _LAYERS),
}
AXOLOTL = ("base_model", "micro_batch_size", "sequence_len", "num_epochs", "lr_scheduler", "sample_packing", "adapter")
LLAMA_FACTORY = (
    "finetuning_type",
    "stage",
    "cutoff_len",
    "lora_target",
    "lora_rank",
    "neat_packing",
    "quantization_bit",
)
TRL = (
    *("max_length", "max_seq_length", "packing", "assistant_only_loss", "completion_only_loss", "dataset_text_field"),
    *("eos_token", "dataset_num_proc", "loss_type", "chat_template_path", "use_peft", "dataset_name"),
    *("packing_strategy", "padding_free", "dataset_kwargs", "eval_packing"),
)
"""Keys that only files of these trainers have."""


def meant_by(key: str) -> str | None:
    """What a key that isn't known may have been meant to be: the known one that it nearly is, None where it is near none."""
    return next(iter(get_close_matches(key, (*RENAMED, *OTHERS, *REFUSED), 1, ALIKE)), None)
