"""What featurize came to shows itself."""

from pathlib import Path

from gptfl.features.result import FeaturizeResult


def test_it_lists_what_was_made() -> None:
    made = FeaturizeResult(Path("a.minilm.features.h5"), "minilm", {"text": 384}, 3, 5, ("a note",))
    assert "a.minilm.features.h5" in str(made)
    assert made.notes == ("a note",)
