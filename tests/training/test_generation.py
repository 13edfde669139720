"""Text generated many rows at a time, against the model's own greedy generation of one row after the other."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gptfl.core import Example
from gptfl.errors import DataError
from gptfl.training import generation
from gptfl.training.distributed import ProcessGroup
from gptfl.training.generation import Generator, nucleus
from gptfl.training.models import load_pretrained
from gptfl.training.names import resolve_model
from gptfl.training.network import Network
from gptfl.training.prompts import Decoding, Prompts
from gptfl.training.tokenization import Tokenizer
from tests.models import save_small

WORDS = (
    "the sun is red ?",
    "who sees it",
    "the moon was blue and the sea is",
    "is it",
    "a land",
    "shine on the sea and",
)
TEST = tuple(
    Example(f"t{i}", " ".join((WORDS * 2)[i : i + 1 + i % 4]), " yes the sun shines on the land") for i in range(9)
)


def make(folder: Path, decoding: Decoding, test: tuple[Example, ...] = TEST, **more: Any) -> Generator:
    torch.set_num_threads(1)
    loaded = load_pretrained(resolve_model(str(folder)), torch.device("cpu"))
    network = Network(loaded, more.pop("train_layers", None), more.pop("precision", "fp32"))
    tokenizer = Tokenizer(loaded.tokenizer, more.pop("max_length", 128))
    return Generator(
        network, Prompts(tokenizer, test, decoding, False), more.pop("budget", 4096), more.pop("overhead", 0)
    )


def with_lines(test: tuple[Example, ...]) -> tuple[Example, ...]:
    """The same prompts, whose answers may have line breaks."""
    return tuple(Example(e.id, e.prompt, e.target, fields={"references": ["two\nlines"]}) for e in test)


def end_at_a_common_token(generator: Generator) -> None:
    """Random models never end a text: call a token the end that some answers hold, and at different places."""
    answers = all_rows(generator)
    places = {token: {a.index(token) for a in answers if token in a} for token in {t for a in answers for t in a}}
    end = max(sorted(places), key=lambda token: len(places[token] - {0}))
    assert len(places[end]) > 1
    generator.network.model.generation_config.eos_token_id = [0, end]
    generator.ends |= {end}


def one_by_one(generator: Generator, test: tuple[Example, ...], tokens: int) -> list[list[int]]:
    """What ``transformers`` generates greedily, prompt after prompt, without the end-of-text token."""
    model, tokenizer = generator.network.model, generator.prompts.tokenizer
    answers = []
    for example in test:
        ids = torch.tensor([tokenizer.encode(example.prompt)])
        with torch.no_grad():
            out = model.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False
            )
        answer = out[0, ids.shape[1] :].tolist()
        ends = [place for place, token in enumerate(answer) if token in generator.ends]
        answers.append(answer[: ends[0]] if ends else answer)
    return answers


def all_rows(generator: Generator) -> list[list[int]]:
    answers = generator.answers(generator.groups)
    return [answers[index] for index in range(len(answers))]


@pytest.mark.parametrize("train_layers", [None, 2])
@pytest.mark.parametrize("overhead", [0, 10**6], ids=["read in groups", "read together"])
def test_many_rows_at_a_time_equal_the_models_own_generation(
    any_model: Path, train_layers: int | None, overhead: int
) -> None:
    test = with_lines(TEST)
    generator = make(any_model, Decoding(tokens=20), test, train_layers=train_layers, overhead=overhead)
    end_at_a_common_token(generator)
    expected = one_by_one(generator, test, 20)
    assert len({len(answer) for answer in expected}) > 1, "all rows finish together"
    assert (len(generator.groups) > 1) == (overhead == 0)
    assert all_rows(generator) == expected


def test_rows_that_finish_make_room_for_others(any_model: Path) -> None:
    test = with_lines(TEST)
    generator = make(any_model, Decoding(tokens=20), test, budget=120)
    end_at_a_common_token(generator)
    together = []
    decode = generator.decode

    def watched(rows: Any, *rest: Any) -> Any:
        assert len(rows.members) * max(map(generator.full_length, rows.members)) <= 120
        assert rows.mask.sum(dim=1).max() == rows.mask.shape[1], "columns that no row needs"
        together.append(list(rows.members))
        return decode(rows, *rest)

    generator.decode = watched  # type: ignore[method-assign]
    assert all_rows(generator) == one_by_one(generator, test, 20)
    joined = [(before, now) for before, now in itertools.pairwise(together) if set(now) - set(before)]
    assert any(set(now) & set(before) for before, now in joined), "no row joined others that were under way"


def test_layers_that_keep_a_window_are_read_together(tmp_path: Path) -> None:
    test = with_lines(TEST)
    generator = make(save_small(tmp_path / "gemma2", "gemma2"), Decoding(tokens=12), test)
    assert len(generator.groups) == 1
    assert all_rows(generator) == one_by_one(generator, test, 12)


def test_the_batches_change_nothing(neox: Path) -> None:
    together = make(neox, Decoding(tokens=12), overhead=10**6)
    apart = make(neox, Decoding(tokens=12), budget=1)
    assert len(together.groups) == 1
    assert len(apart.groups) == len(TEST)
    assert together.texts() == apart.texts()


def test_samples_depend_on_the_seed_and_the_example_alone(neox: Path) -> None:
    decoding = Decoding("nucleus", 12, seed=5)
    texts = make(neox, decoding).texts()
    assert make(neox, decoding, budget=1).texts() == texts
    some = make(neox, decoding, TEST[4:1:-1])
    assert some.texts() == texts[4:1:-1]
    assert some.texts() == some.texts()
    assert make(neox, Decoding("nucleus", 12, seed=6)).texts() != texts
    assert make(neox, Decoding(tokens=12)).texts() != texts


def test_a_sample_does_not_depend_on_how_long_answers_may_be(neox: Path) -> None:
    short = all_rows(make(neox, Decoding("nucleus", 4, seed=5), with_lines(TEST)))
    long = all_rows(make(neox, Decoding("nucleus", 9, seed=5), with_lines(TEST)))
    assert [answer[:4] for answer in long] == short


def nucleus_by_hand(logits: np.ndarray, uniform: float, top_p: float, temperature: float) -> int:
    """The definition, one row in a plain loop."""
    shares = np.exp(logits / temperature - (logits / temperature).max())
    shares /= shares.sum()
    order = sorted(range(len(shares)), key=lambda token: -shares[token])
    kept: list[int] = []
    while sum(shares[token] for token in kept) < top_p:
        kept.append(order[len(kept)])
    total, reached = sum(shares[token] for token in kept), 0.0
    for token in kept:
        reached += shares[token] / total
        if uniform < reached:
            return token
    return kept[-1]


@pytest.mark.parametrize("likeliest", [1, 3, 50], ids=lambda count: f"the first {count} tried first")
@pytest.mark.parametrize(("top_p", "temperature"), [(0.95, 0.2), (0.6, 1.0), (0.999, 2.0)])
def test_the_nucleus_is_that_of_its_definition(likeliest: int, top_p: float, temperature: float) -> None:
    random = np.random.default_rng(0)
    logits, uniforms = random.normal(size=(200, 50)), random.random(200)
    got = nucleus(torch.from_numpy(logits), torch.from_numpy(uniforms), top_p, temperature, likeliest)
    expected = [nucleus_by_hand(row, u, top_p, temperature) for row, u in zip(logits, uniforms, strict=True)]
    assert got.tolist() == expected
    assert len(set(expected)) > 10


def test_the_paper_samples_from_95_percent_at_temperature_02() -> None:
    assert (generation.TOP_P, generation.TEMPERATURE) == (0.95, 0.2)


def test_a_finished_line_is_not_gone_on_with(neox: Path) -> None:
    """A token that many answers hold stands for a line break."""
    whole = all_rows(make(neox, Decoding(tokens=20), with_lines(TEST)))
    common = max({t for a in whole for t in a}, key=lambda token: sum(token in a[3:] for a in whole))
    generator = make(neox, Decoding(tokens=20))
    decode = generator.prompts.tokenizer.decode

    class Breaking:
        """The tokenizer, but for one token that it takes for a line break."""

        def decode(self, ids: list[int], **settings: Any) -> str:
            return "".join("\n" if one == common else decode([one], **settings) for one in ids)

    generator.prompts.tokenizer = Breaking()
    cut = 0
    for answer, full in zip(all_rows(generator), whole, strict=True):
        ends = [k for k in range(len(full)) if "\n" in Breaking().decode(full[: k + 1]).lstrip()]
        cut += bool(ends)
        assert answer == (full[: ends[0] + 1] if ends else full)
    assert cut


def test_processes_share_the_prompts(neox: Path) -> None:
    class Other(ProcessGroup):
        """One of two processes, that has been told what the other generated."""

        def gathered(self, value: Any) -> list[Any]:
            shares[self.rank] = value
            return [*shares.values()]

    shares: dict[int, Any] = {}
    alone = make(neox, Decoding(tokens=8))
    for rank in range(2):
        generator = Generator(alone.network, alone.prompts, 4096, 0, Other(rank, 2))
        assert sum(map(len, generator.groups)) == (5, 4)[rank]
        if rank == 0:
            generator.group.gathered(
                {i: alone.prompts.text(i, a) for i, a in generator.answers(generator.groups).items()}
            )
    assert generator.texts() == alone.texts()


def test_a_model_in_parts_generates_nothing(neox: Path) -> None:
    alone = make(neox, Decoding(tokens=8))
    with pytest.raises(DataError, match="--shard: a metric of generated text needs the whole model"):
        Generator(alone.network, alone.prompts, 4096, 0, ProcessGroup(0, 2, shard=True))


def test_prompt_and_answer_fit_into_the_longest_text(neox: Path) -> None:
    lines = with_lines(TEST)
    generator = make(neox, Decoding(tokens=50), lines, max_length=24)
    for index, answer in enumerate(all_rows(generator)):
        assert len(generator.prompts.ids[index]) + len(answer) == min(24, len(generator.prompts.ids[index]) + 50)


def test_bfloat16_generates(neox: Path) -> None:
    texts = make(neox, Decoding(tokens=6), precision="bf16").texts()
    assert len(texts) == len(TEST)
    assert any(texts)
