"""Recordings whose tokens are others than those of prompt and target tokenized apart, and older ones."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from transformers import AutoTokenizer

import gptfl
from gptfl.core import Example, RecordingSettings
from gptfl.errors import DataError
from gptfl.plugins.guards import make_metric
from gptfl.plugins.registry import get_registry
from gptfl.recording.recording import open_recording
from gptfl.recording.result import CollectResult
from gptfl.recording.tokens import WHOLE, check_tokens, mark_tokens
from gptfl.recording.trainers import measure_first
from gptfl.store.recordings import read_dynamics, write_dynamics
from gptfl.studies.retraining import Retrainer
from tests.tokenizers import pieces

SMALL: dict[str, Any] = {"pool": 4, "test": 3, "subset_size": 2, "batch_size": 2, "steps": 2, "lr": 1e-3}
APART = [(f"who sees it {word}", " yes") for word in ("on", "and", "is", "sea", "land", "a", "the")]
MERGED = [(f"{prompt} ", "yes") for prompt, _ in APART]
PLAIN = [("", f" the sun is red {prompt}") for prompt, _ in APART]


def data(folder: Path, pairs: list[tuple[str, str]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, some in (("train", pairs[:4]), ("test", pairs[4:])):
        lines = (json.dumps({"id": f"{name}-{i}", "prompt": p, "target": t}) for i, (p, t) in enumerate(some))
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    return folder


def record(model: Path, folder: Path, pairs: list[tuple[str, str]], **changed: Any) -> CollectResult:
    settings = {"data": data(folder / "data", pairs), "workspace": folder, "runs": 1, **SMALL, **changed}
    return gptfl.collect(str(model), "jsonl", **settings)


def older(path: Path) -> None:
    """Rewrite a recording as if it had been made before there was the setting."""
    found = read_dynamics(path)
    kept = {name: value for name, value in found.settings.items() if name != "tokenization"}
    path.unlink()
    write_dynamics(path, replace(found, settings=kept))


def test_the_setting_is_there_only_where_it_makes_a_difference(neox: Path, tmp_path: Path) -> None:
    same = record(neox, tmp_path / "same", APART)
    other = record(neox, tmp_path / "other", MERGED)
    assert "tokenization" not in read_dynamics(same.path).settings
    assert read_dynamics(other.path).settings["tokenization"] == "whole text"
    assert other.estimate is not None
    assert other.estimate.notes[-1].startswith("the prompt ends inside a token in 7 of 7 examples (pool 'train-")
    # The same texts, the same tokens, whoever has the space: the same recording.
    ends = [run.metrics["loss"] for path in (same.path, other.path) for run in read_dynamics(path).runs]
    np.testing.assert_array_equal(ends[0], ends[1])


def test_both_kinds_go_on_as_they_began(neox: Path, tmp_path: Path) -> None:
    for name, pairs in (("same", APART), ("other", MERGED)):
        once = record(neox, tmp_path / name, pairs)
        if name == "same":
            older(once.path)
        planned = record(neox, tmp_path / name, pairs, runs=2, dry_run=True).estimate
        assert planned is not None
        assert planned.runs_left == 1
        assert record(neox, tmp_path / name, pairs, runs=2).recorded_now == 1


def test_an_older_recording_with_other_tokens_is_no_start(neox: Path, tmp_path: Path) -> None:
    made = record(neox, tmp_path, MERGED)
    older(made.path)
    assert record(neox, tmp_path, MERGED).recorded_now == 0, "what is finished is read as ever"
    with pytest.raises(
        DataError, match="was recorded with other tokens: some of its prompts and targets are tokenized"
    ):
        record(neox, tmp_path, MERGED, runs=2)
    recording = open_recording(made.path, tmp_path)
    metric = make_metric(get_registry(), "loss")
    pool, test = recording.dynamics.pool, recording.dynamics.test
    trainer = Retrainer(
        recording, pool, test, (metric,), str(neox), "cpu", 2, 2, 0, tmp_path / "x.jsonl", lambda *one: None
    )
    refusal = "with prompt and target tokenized apart, which gives other tokens for 7 of its examples, such as 'train-"
    with pytest.raises(DataError, match=refusal):
        trainer.open()
    with pytest.raises(DataError, match=f"the recording was recorded {refusal}"):
        measure_first(str(neox), test, recording, metric.info, lambda *one: None)


def test_new_examples_of_an_older_recording_are_measured_where_its_own_are_the_same(neox: Path, tmp_path: Path) -> None:
    made = record(neox, tmp_path, APART)
    dynamics = read_dynamics(made.path)
    metric = dynamics.metrics["loss"]
    new = tuple(replace(one, prompt=f"{one.prompt} ", target="yes", digest="") for one in dynamics.test)
    found = measure_first(str(neox), new, open_recording(made.path), metric, lambda *one: None)
    np.testing.assert_allclose(found, dynamics.runs[0].metrics["loss"][0], atol=1e-5)


def test_losses_are_those_of_the_whole_texts_tokens(tmp_path: Path) -> None:
    """A model with Llama's tokenizer, held against its own loss with the prompt's labels left out."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = pieces()
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4}
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=12, **shape)).eval()
    model.save_pretrained(tmp_path / "llama")
    tokenizer.save_pretrained(tmp_path / "llama")
    long = "is it red? no, " * 5 + "Answer:"
    pairs = [("Answer:", " no")] * 4 + [("Answer:</s>", " no"), ("Answer: ", "no"), (long, " no")]
    made = record(tmp_path / "llama", tmp_path, pairs)
    assert made.estimate is not None
    assert "1 prompt does not fit into 12 tokens, all that the model reads" in made.estimate.notes[0]
    dynamics = read_dynamics(made.path)
    for got, one in zip(dynamics.runs[0].metrics["loss"][0], dynamics.test, strict=True):
        ids = tokenizer.encode(one.text)
        ids = ids[:1] + ids[-11:] if len(ids) > 12 else ids
        assert tokenizer.convert_ids_to_tokens(ids[-1]) == "▁no"
        labels = torch.tensor([[-100] * (len(ids) - 1) + ids[-1:]])
        assert got == pytest.approx(model(input_ids=torch.tensor([ids]), labels=labels).loss.item(), abs=1e-4)


def test_plain_texts_are_recorded_whole(neox: Path, tmp_path: Path) -> None:
    """Without a prompt, every token of the text is learned, the first after the start token."""
    made = record(neox, tmp_path, PLAIN, metrics=("loss", "rougeL"), generate_tokens=2)
    dynamics = read_dynamics(made.path)
    assert all(not one.prompt for one in (*dynamics.pool, *dynamics.test))
    import torch
    from transformers import AutoModelForCausalLM

    model, tokenizer = AutoModelForCausalLM.from_pretrained(neox), AutoTokenizer.from_pretrained(neox)
    for place, one in enumerate(dynamics.test):
        ids = torch.tensor([[tokenizer.bos_token_id, *tokenizer.encode(one.target)]])
        expected = model(input_ids=ids, labels=ids).loss.item()
        assert dynamics.runs[0].metrics["loss"][0, place] == pytest.approx(expected, abs=1e-4)
    assert np.isfinite(dynamics.runs[0].metrics["rougeL"]).all()
    for encoder, settings in (
        ("tfidf-svd", {}),
        ("causal-lm", {"model": str(neox), "text": "prompt"}),
        ("answer-state", {}),
    ):
        assert gptfl.featurize(encoder, dynamics=made.path, settings=settings).embedded == 7
    with pytest.raises(DataError, match="encoder tfidf-svd: no word is in any prompt"):
        gptfl.featurize("tfidf-svd", dynamics=made.path, settings={"text": "prompt"})


class Tokens:
    """Stands for a tokenizer that reads these examples otherwise today."""

    def __init__(self, *others: str) -> None:
        self.others, self.asked = others, list[list[str]]()

    def differing(self, examples: Any, choices: bool = False) -> tuple[str, ...]:
        ids = [example.id for example in examples]
        self.asked.append(ids)
        return tuple(one for one in ids if one in self.others)


SIDES = (Example("a", "é", " x"), Example("b", "p", " y")), (Example("c", "q", " z"), Example("d", "", ""))


def test_only_examples_with_texts_are_held_against_their_tokens() -> None:
    tokens: Any = Tokens("b", "c", "d")
    with pytest.raises(DataError, match=r"^it was recorded with .* other tokens for 2 of its examples, such as 'b': "):
        check_tokens(RecordingSettings.of({}), tokens, *SIDES, False, "it")
    assert tokens.asked == [["a", "b"], ["c"]]
    check_tokens(RecordingSettings.of({"tokenization": WHOLE}), tokens, *SIDES, False)
    check_tokens(RecordingSettings.of({}), Tokens("d"), *SIDES, False)  # type: ignore[arg-type]


@pytest.mark.parametrize(("other", "marked"), [("a", True), ("c", True), ("nobody", False)])
def test_either_side_makes_the_setting(other: str, marked: bool) -> None:
    evaluator = SimpleNamespace(test=SIDES[1], choices=False)
    trainer: Any = SimpleNamespace(tokenizer=Tokens(other), evaluator=evaluator, pool=SIDES[0])
    settings = mark_tokens(RecordingSettings.of({"task": "rte"}), trainer)
    assert settings.get("tokenization") == (WHOLE if marked else None)
    assert settings["task"] == "rte"
