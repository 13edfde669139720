"""The losses of a model that is being trained, which leave the training as it was."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf

import gptfl
from gptfl.core import Example
from gptfl.recorder.losses import LossMeter, label_losses, model_fingerprint, row_losses, undisturbed
from gptfl.recorder.rows import IGNORED, examples_of, token_rows
from gptfl.store.recordings import read_dynamics


def test_losses_in_batches_are_those_of_single_rows(small: Path, tokenizer: Any) -> None:
    model = hf.AutoModelForCausalLM.from_pretrained(small).eval()
    examples = [Example(str(number), "the sun is", " red" * number) for number in range(1, 6)]
    rows = token_rows(examples, examples, tokenizer)
    measured = LossMeter(rows, 2)(model)
    with torch.no_grad():
        single = [
            model(input_ids=torch.tensor([list(row.ids)]), labels=torch.tensor([list(row.labels)])).loss.item()
            for row in rows
        ]
    np.testing.assert_allclose(measured, single, rtol=1e-5)


def test_a_recorder_measures_the_losses_of_its_model(small: Path, tokenizer: Any, tmp_path: Path) -> None:
    model = hf.AutoModelForCausalLM.from_pretrained(small)
    test = [{"prompt": "the sun is", "target": " red"}]
    own = gptfl.Recorder(
        "lm",
        pool=[{"id": "a", "text": "the moon"}],
        test=test,
        model=model,
        tokenizer=tokenizer,
        workspace=tmp_path,
        say=lambda line: None,
    )
    with own.run():
        own.step(["a"], 0.1)
    examples = examples_of(test, "row")
    model.eval()
    losses = LossMeter(token_rows(test, examples, tokenizer), 1)(model)
    np.testing.assert_allclose(read_dynamics(own.path).runs[0].metrics["loss"][-1], losses, rtol=1e-5)


def test_losses_of_labels_are_those_of_a_loop() -> None:
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 5, generator=random)
    labels = torch.tensor([[3, 1, IGNORED, 4], [IGNORED, IGNORED, IGNORED, IGNORED]])
    each, is_label = label_losses(logits, labels)
    for row in range(2):
        for place in range(3):
            label = int(labels[row, place + 1])
            expected = 0.0 if label == IGNORED else -float(logits[row, place].double().log_softmax(-1)[label])
            assert float(each[row, place]) == pytest.approx(expected, rel=1e-5)
            assert bool(is_label[row, place]) is (label != IGNORED)
    means = row_losses(logits, labels)
    assert float(means[0]) == pytest.approx(float(each[0].sum()) / 2)
    assert bool(means[1].isnan())


def test_what_happens_undisturbed_changes_no_stream_and_no_mode() -> None:
    import random

    model = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Dropout())
    model[1].eval()

    def drawn() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = drawn()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    with pytest.raises(ZeroDivisionError), undisturbed(model):
        drawn()[0] / 0 if not (model.training or model[0].training or torch.is_grad_enabled()) else None
    assert drawn() == expected
    assert (model.training, model[0].training, model[1].training) == (True, True, False)


def test_the_fingerprint_is_of_the_weights_but_not_of_adapters() -> None:
    model = torch.nn.Linear(2, 2)
    before = model_fingerprint(model)
    model.lora_A = torch.nn.Linear(2, 1)
    assert model_fingerprint(model) == before
    assert model_fingerprint(model.to(torch.bfloat16)) != before
    other = torch.nn.Linear(2, 2)
    other.load_state_dict({name: value for name, value in model.float().state_dict().items() if "lora" not in name})
    with torch.no_grad():
        other.weight[0, 0] += 1
    assert model_fingerprint(other) != model_fingerprint(model)
