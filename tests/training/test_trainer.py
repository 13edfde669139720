"""The recorder against the model's own forward pass and a plain training loop."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from gptfl.core import Example, MetricInfo
from gptfl.core.curriculum import fill_batches, linear_decay
from gptfl.errors import DataError
from gptfl.metrics import Accuracy, Loss
from gptfl.plugins.interfaces import Observation, Plan
from gptfl.training.models import load_pretrained
from gptfl.training.names import resolve_model
from gptfl.training.trainer import DivergedError, RecordingTrainer, TrainerSettings

CHOICES = (" yes", " no", " red sea")
PROMPTS = ("the sun is red ?", "who sees it", "the moon was blue and the sea is", "is it", "a land", "shine on")
POOL = tuple(Example(f"p{i}", PROMPTS[i], CHOICES[i % 3], CHOICES, i % 3) for i in range(6))
TEST = tuple(Example(f"t{i}", "the " + PROMPTS[i], CHOICES[(i + 1) % 3], CHOICES, (i + 1) % 3) for i in range(5))
RATE = 1e-3


def make(folder: Path, **recipe: object) -> RecordingTrainer:
    torch.set_num_threads(1)
    loaded = load_pretrained(resolve_model(str(folder)), torch.device("cpu"))
    return RecordingTrainer(loaded, POOL, TEST, (Loss(), Accuracy()), TrainerSettings(RATE, **recipe))  # type: ignore[arg-type]


def plan(steps: int = 4) -> Plan:
    return Plan(0, 3, "fit", fill_batches(np.arange(6), 3, steps, 9))


def log_probs(model: torch.nn.Module, tokenizer: object, prompt: str, target: str) -> torch.Tensor:
    first, second = tokenizer.encode(prompt), tokenizer.encode(target, add_special_tokens=False)  # type: ignore[attr-defined]
    logits = model(input_ids=torch.tensor([first + second])).logits[0].log_softmax(-1)
    return torch.stack([logits[len(first) - 1 + i, token] for i, token in enumerate(second)])


def plain_run(folder: Path, top: int | None) -> tuple[np.ndarray, np.ndarray]:
    """The same recording with nothing clever: whole model, one example at a time, all logits."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if top is not None:
        model.requires_grad_(False)
        base = model.base_model
        blocks = base.layers if hasattr(base, "layers") else base.h
        norm = next(getattr(base, n) for n in ("norm", "final_layer_norm", "ln_f") if hasattr(base, n))
        for module in (*blocks[-top:], norm):
            module.requires_grad_(True)
    model.eval()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=RATE, eps=1e-6, weight_decay=0.001)
    losses, right = [], []
    batches = plan().batches
    rates = linear_decay(RATE, len(batches))
    for step in range(len(batches) + 1):
        with torch.no_grad():
            losses.append([-log_probs(model, tokenizer, e.prompt, e.target).mean().item() for e in TEST])
            best = [[log_probs(model, tokenizer, e.prompt, c).sum().item() for c in CHOICES] for e in TEST]
            right.append([float(np.argmax(b) == e.label) for b, e in zip(best, TEST, strict=True)])
        if step < len(batches):
            batch = [POOL[i] for i in batches[step]]
            optimiser.param_groups[0]["lr"] = rates[step]
            torch.stack([-log_probs(model, tokenizer, e.prompt, e.target).mean() for e in batch]).mean().backward()
            optimiser.step()
            optimiser.zero_grad()
    return np.array(losses), np.array(right)


@pytest.mark.parametrize("top", [None, 2])
def test_a_recording_equals_a_plain_training_loop(any_model: Path, top: int | None) -> None:
    run = make(any_model, train_layers=top).run(plan(), lambda done, total: None)
    losses, right = plain_run(any_model, top)
    np.testing.assert_allclose(run.metrics["loss"], losses, atol=2e-3, rtol=2e-3)
    np.testing.assert_array_equal(run.metrics["accuracy"], right)
    np.testing.assert_array_equal(run.steps, np.arange(5))
    assert abs(losses[-1] - losses[0]).max() > 0.05


def test_runs_start_from_the_same_weights_and_repeat_exactly(neox: Path) -> None:
    trainer = make(neox)
    first = trainer.run(plan(), lambda done, total: None)
    again = trainer.run(plan(), lambda done, total: None)
    np.testing.assert_array_equal(first.metrics["loss"], again.metrics["loss"])
    assert first.seconds is not None
    assert first.seconds > 0


def test_steps_are_recorded_as_asked_and_the_last_one_always(neox: Path) -> None:
    seen: list[tuple[int, int]] = []
    every = make(neox).run(plan(5), lambda done, total: None)
    third = make(neox, record_every=3).run(plan(5), lambda done, total: seen.append((done, total)))
    np.testing.assert_array_equal(third.steps, [0, 3, 5])
    np.testing.assert_array_equal(third.metrics["loss"], every.metrics["loss"][[0, 3, 5]])
    assert seen == [(step, 5) for step in range(1, 6)]


def test_a_long_prompt_loses_its_beginning_and_never_the_target(neox: Path) -> None:
    trainer = make(neox, max_length=5)
    tokenizer = AutoTokenizer.from_pretrained(neox)
    for row, example in zip(trainer.rows, POOL, strict=True):
        prompt = tokenizer.encode(example.prompt)
        target = tokenizer.encode(example.target, add_special_tokens=False)
        kept = prompt[-(5 - len(target)) :]
        assert list(row.input_ids) == [*kept, *target[:-1]]
        assert row.tokens.tolist() == target
    assert trainer.tokenizer.counts.cut > 0
    assert trainer.tokenizer.counts.lost >= trainer.tokenizer.counts.cut


def test_a_target_that_does_not_fit_is_refused(neox: Path) -> None:
    with pytest.raises(DataError, match="the target of pool example 'p2' has 2 tokens"):
        make(neox, max_length=2)


def test_a_choice_that_does_not_fit_is_refused(neox: Path) -> None:
    loaded = load_pretrained(resolve_model(str(neox)), torch.device("cpu"))
    yes = (POOL[0],)
    with pytest.raises(
        DataError, match="the choice ' red sea' of test example 'p0' has 2 tokens and --max-length is 2"
    ):
        RecordingTrainer(loaded, yes, yes, (Accuracy(),), TrainerSettings(RATE, max_length=2))
    RecordingTrainer(loaded, yes, yes, (Loss(),), TrainerSettings(RATE, max_length=2))


def test_a_batch_whose_loss_is_not_finite_is_named(neox: Path) -> None:
    trainer = make(neox)
    trainer.step = lambda *given: torch.tensor(float("inf"))  # type: ignore[method-assign]
    with pytest.raises(DivergedError, match="run-0000: the loss of the batch is inf at step 1 of 4") as caught:
        trainer.run(plan(), lambda done, total: None)
    np.testing.assert_array_equal(caught.value.run.steps, [0])


def test_a_loss_that_is_not_finite_names_the_step_and_keeps_what_was_recorded(neox: Path) -> None:
    trainer = make(neox)
    calm = trainer.step

    def diverge(optimiser: torch.optim.Optimizer, batch: object, rate: float) -> torch.Tensor:
        loss = calm(optimiser, batch, rate)  # type: ignore[arg-type]
        if rate < RATE * 0.6:
            with torch.no_grad():
                trainer.network.trainable[0].fill_(float("nan"))
        return loss

    trainer.step = diverge  # type: ignore[method-assign]
    problem = r"run-0000: the log-probability of test example 't0' is nan at step 3 of 4 \(batch: p\d"
    with pytest.raises(DivergedError, match=problem) as caught:
        trainer.run(plan(), lambda done, total: None)
    np.testing.assert_array_equal(caught.value.run.steps, [0, 1, 2])
    assert caught.value.run.curriculum.steps == 2
    assert np.isfinite(caught.value.run.metrics["loss"]).all()


@pytest.mark.parametrize("top", [None, 1])
def test_a_metric_can_read_what_the_model_generates(any_model: Path, top: int | None) -> None:
    class Echo:
        info = MetricInfo("echo", higher_is_better=True)
        needs = frozenset({"generated"})
        seen: tuple[str, ...] = ()

        def check(self, examples: object) -> None: ...

        def measure(self, observation: Observation) -> np.ndarray:
            assert observation.generated is not None
            self.seen = observation.generated
            return np.array([float(len(text)) for text in observation.generated])

    echo = Echo()
    loaded = load_pretrained(resolve_model(str(any_model)), torch.device("cpu"))
    recipe = TrainerSettings(RATE, train_layers=top, generate_tokens=4)
    trainer = RecordingTrainer(loaded, POOL, TEST, (echo,), recipe)
    trainer.run(plan(1), lambda done, total: None)
    trainer.network.restore()
    trainer.evaluator.measure()
    model, tokenizer = loaded.model.eval(), loaded.tokenizer
    for example, text in zip(TEST, echo.seen, strict=True):
        ids = torch.tensor([tokenizer.encode(example.prompt)])
        for _ in range(4):
            step = model(input_ids=ids).logits[0, -1].argmax()
            if step == tokenizer.eos_token_id:
                break
            ids = torch.cat([ids, step[None, None]], 1)
        answer = tokenizer.decode(ids[0, len(tokenizer.encode(example.prompt)) :], skip_special_tokens=True)
        assert text == answer.lstrip()


def test_dropout_is_on_while_training_and_off_while_measuring(neox: Path) -> None:
    trainer = make(neox)
    for module in trainer.network.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    dropped = trainer.run(plan(), lambda done, total: None)
    plain = make(neox).run(plan(), lambda done, total: None)
    np.testing.assert_array_equal(dropped.metrics["loss"][0], plain.metrics["loss"][0])
    assert abs(dropped.metrics["loss"][-1] - plain.metrics["loss"][-1]).max() > 1e-3
    again = trainer.run(plan(), lambda done, total: None)
    np.testing.assert_array_equal(dropped.metrics["loss"], again.metrics["loss"])
