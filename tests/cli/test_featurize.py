"""``gptfl featurize`` from the command line."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gptfl.cli.featurize import next_command
from gptfl.encoders import minilm
from tests.hub import use_cache


def test_what_is_embedded_already_is_reused(gptfl: Callable, study: Path) -> None:
    again = gptfl("featurize", "--encoder", "tfidf-svd", "-w", str(study))
    assert again.code == 0, again.err
    line, following = again.out.splitlines()
    assert ".tfidf-svd.features.h5: tfidf-svd, text (" in line
    assert line.endswith(" numbers an example); 0 embedded, 18 reused")
    assert following == "next: gptfl fit"
    other = gptfl(
        "featurize", "--encoder", "tfidf-svd", "--set", "dims=3", "--output", str(study / "small.h5"), "-w", str(study)
    )
    assert other.out.startswith(
        f"{study / 'small.h5'}: tfidf-svd, text (3 numbers an example); 18 embedded, 0 reused\n"
    )


def test_rows_of_a_file_are_embedded_as_the_recordings(gptfl: Callable, study: Path, tmp_path: Path) -> None:
    more = tmp_path / "more rows.jsonl"
    more.write_text('{"prompt": "Who lends the spade?", "target": " yes"}\n')
    found = gptfl(
        "featurize", "--encoder", "tfidf-svd", "--new", str(more), "--output", str(tmp_path / "n.h5"), "-w", str(study)
    )
    assert found.code == 0, found.err
    line, following = found.out.splitlines()
    assert line.startswith(f"{tmp_path / 'n.h5'}: tfidf-svd, text (")
    assert line.endswith("; 1 embedded, 0 reused")
    assert following == f"next: gptfl simulate --new-train '{more}'"


def test_what_comes_next_is_an_encoder_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert next_command(sketched=True) == "gptfl featurize"
    monkeypatch.setattr(minilm, "find_spec", lambda name: None)
    use_cache(monkeypatch, tmp_path)
    assert next_command(sketched=False).startswith("gptfl featurize --encoder tfidf-svd (the weights of the default")
