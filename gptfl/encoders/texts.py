"""What an encoder reads of an example."""

from gptfl.core import Example

PARTS = ("both", "prompt", "target")


def text_of(example: Example, part: str) -> str:
    """The prompt, the target, or the one followed by the other."""
    return example.text if part == "both" else example.prompt if part == "prompt" else example.target
