"""Small tokenizers of every kind, made on the spot."""

from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

TEXTS = [
    "it is no",
    "Answer: no",
    "Answer: yes, so it is",
    "is it red? no, it is blue: 12",
    "a café, un thé",
    "答案是对的",
] * 9
SPECIAL = ["<unk>", "<s>", "</s>", "<|user|>"]


def fast(made: Tokenizer, *, bos: bool = False, eos: bool = False, **named: str) -> Any:
    """The tokenizer as transformers wraps it, with what it puts around a text."""
    from transformers import PreTrainedTokenizerFast

    template = f"{'<s> ' if bos else ''}$A{' </s>' if eos else ''}"
    marks = [(token, made.token_to_id(token)) for token in ("<s>", "</s>")]
    own = [] if made.post_processor is None else [made.post_processor]
    around = processors.TemplateProcessing(single=template, special_tokens=marks)
    made.post_processor = processors.Sequence([*own, around])
    named = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"} | named
    return PreTrainedTokenizerFast(tokenizer_object=made, **{key: value for key, value in named.items() if value})


def pieces(scheme: str = "first", **more: Any) -> Any:
    """Like Llama's: a space before the first word, and spaces at the beginning of words."""
    made = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    made.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme=scheme)])
    letters = [*"abcdefghijklmnopqrstuvwxyzA▁.,:?"]
    fall_back = [f"<0x{byte:02X}>" for byte in range(256)]
    made.train_from_iterator(
        TEXTS,
        trainers.BpeTrainer(
            vocab_size=600, special_tokens=SPECIAL + fall_back, initial_alphabet=letters, show_progress=False
        ),
    )
    return fast(made, **({"bos": True} | more))


def byte_level(prefix: bool = False, trim: bool = True, regex: bool = True, nfc: bool = False, **more: Any) -> Any:
    """Like GPT-2's and GPT-NeoX's."""
    made = Tokenizer(models.BPE())
    made.normalizer = normalizers.NFC() if nfc else None
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=regex)
    made.post_processor = processors.ByteLevel(trim_offsets=trim)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        TEXTS,
        trainers.BpeTrainer(vocab_size=420, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False),
    )
    return fast(made, **({"unk_token": ""} | more))


def words(**more: Any) -> Any:
    """Like BERT's: whole words, unknown ones in one token, spaces for nothing."""
    known = {token: number for number, token in enumerate([*SPECIAL, "answer", ":", "no", "yes", "it", "is"])}
    made = Tokenizer(models.WordPiece(known, unk_token="<unk>"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    return fast(made, **({"bos": True, "eos": True} | more))


def without_offsets(made: Any) -> Any:
    """The same tokenizer as one written in Python: it gives no offsets."""

    class Slow:
        is_fast = False

        def __getattr__(self, name: str) -> Any:
            if name == "backend_tokenizer":
                raise AttributeError(name)
            return getattr(made, name)

        def __call__(self, *args: Any, **settings: Any) -> Any:
            return made(*args, **settings)

    return Slow()
