"""Shell completion offers what there is to choose from."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("gptfl coll", {"collect"}),
        ("gptfl collect --model pythia-1", {"pythia-14m", "pythia-160m", "pythia-1b", "pythia-1.4b"}),
        ("gptfl collect --task s", {"sst2"}),
        ("gptfl fit --estimator me", {"mean-run"}),
        ("gptfl featurize --encoder t", {"tfidf-svd"}),
    ],
)
def test_names_are_completed(words: str, offered: set[str]) -> None:
    environment = {**os.environ, "_GPTFL_COMPLETE": "complete_bash", "COMP_WORDS": words}
    environment["COMP_CWORD"] = str(len(words.split()) - 1)
    done = subprocess.run([sys.executable, "-m", "gptfl"], env=environment, capture_output=True, text=True)
    assert set(done.stdout.split()) == offered
