"""A config.json against the weights beside it: what can't belong to them is refused before anything is built."""

from types import SimpleNamespace
from typing import Any

from gptfl.training.model_config import longest_input


def test_a_models_length() -> None:
    def config(**more: object) -> Any:
        made = SimpleNamespace(**more)
        made.get_text_config = lambda: made
        return made

    assert longest_input(config(max_position_embeddings=128)) == 128
    assert longest_input(config(max_position_embeddings=-1)) is None
    assert longest_input(config(max_position_embeddings=None)) is None
    assert longest_input(config()) is None
