"""Conversations as tokens: what a chat template renders, which tokens are asked for, what is cut."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gptfl.core import Example
from gptfl.core.turns import Turn
from gptfl.errors import DataError
from gptfl.training.chat import ChatTemplate, Rendered
from gptfl.training.tokenization import Tokenizer, evaluation_rows, training_rows
from tests.tokenizers import byte_level, pieces, without_offsets

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] | trim }}<|im_end|>{% endgeneration %}\n"
    "{% else %}{{ m['content'] | trim }}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PLAIN = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
# Shows what was thought of in the last answer alone, so that no part of a conversation begins the whole one.
FORGETFUL = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['role'] == 'assistant' and loop.last %}<think></think>"
    "{% endif %}{{ m['content'] }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n<go>{% endif %}"
)
# Takes none but whole conversations.
STRICT = (
    "{% if messages[-1]['role'] != 'assistant' or add_generation_prompt %}{{ raise_exception('no answer') }}{% endif %}"
    + CHATML
)
# Marks answers, and puts the same in front of them whether it is asked to open one or not.
MARKED = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['role'] == 'assistant' %}{%- generation -%}"
    "{{ m['content'] }}<|im_end|>{%- endgeneration -%}{% else %}{{ m['content'] }}<|im_end|>{% endif %}{{ '\n' }}{% endfor %}"
)
# Marks an answer in two parts, and what ends it in none.
PARTED = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['role'] == 'assistant' %}{% generation %}so,"
    "{% endgeneration %} then {% generation %}{{ m['content'] }}{% endgeneration %}{% else %}{{ m['content'] }}{% endif %}"
    "<|im_end|>\n{% endfor %}"
)
UNOPENED = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
# Needs no opening: nothing stands between a question and its answer.
INSTRUCTED = (
    "{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]{% elif m['role'] == 'assistant' %}"
    "{% if m['reasoning_content'] %}({{ m['reasoning_content'] }}){% endif %} {{ m['content'] }}</s>{% endif %}{% endfor %}"
)
REFUSING = "{% if messages[-1]['role'] != 'assistant' or messages | length < 5 %}{{ raise_exception('no') }}{% endif %}"
TURNS = (
    ("system", "be kind"),
    ("user", "is it red"),
    ("assistant", "yes it is"),
    ("user", "yes it is"),
    ("assistant", " no "),
)


def conversation(*targets: int, turns: Any = TURNS, id: str = "x") -> Example:
    chosen = [Turn(role, content, place in targets) for place, (role, content) in enumerate(turns)]
    return Example.of_turns(id, chosen, {})


def chatty(template: str | None = CHATML, made: Any = None, special: bool = True) -> Any:
    tokenizer = byte_level() if made is None else made
    if special:
        tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = template
    return tokenizer


def learned(made: Any, example: Example, limit: int = 999, **more: Any) -> str:
    """What is learned of a conversation, in words; a bar parts what doesn't follow one another."""
    (row,) = training_rows(Tokenizer(made, limit, **more), [example])
    pieces, last = [], None
    for position, token in zip(row.positions.tolist(), row.tokens.tolist(), strict=True):
        if last is not None and position != last + 1:
            pieces.append("|")
        pieces.append(made.decode([token]))
        last = position
        if position + 1 < len(row.input_ids):
            assert row.input_ids[position + 1] == token  # what is asked for is what comes next
    return "".join(pieces)


@pytest.mark.parametrize("made", [byte_level(), pieces()])
@pytest.mark.parametrize("offsets", [True, False])
@pytest.mark.parametrize("targets", [(2, 4), (4,), (2,)])
def test_the_tokens_of_the_answers_are_those_of_the_mask_that_trainers_take(
    made: Any, targets: tuple[int, ...], offsets: bool
) -> None:
    tokenizer = chatty(made=made)
    example = conversation(*targets)
    (row,) = training_rows(Tokenizer(tokenizer if offsets else without_offsets(tokenizer), 999), [example])
    messages = [turn.message for turn in example.turns]
    whole = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=True)["input_ids"]
    assert list(row.input_ids) == whole[: len(row.input_ids)]
    assert whole[len(row.input_ids)] == row.tokens[-1]
    encoded = tokenizer.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
    places = np.flatnonzero(encoded["assistant_masks"])
    if targets == (4,):
        places = places[places > places[np.flatnonzero(np.diff(places) > 1)[0]]]
    if targets == (2,):
        places = places[places <= places[np.flatnonzero(np.diff(places) > 1)[0]]]
    np.testing.assert_array_equal(row.positions + 1, places)


@pytest.mark.parametrize(
    ("template", "targets", "end_token", "expected"),
    [
        (CHATML, (2, 4), None, "yes it is<|im_end|>|no<|im_end|>"),
        (CHATML, (2, 4), False, "yes it is|no"),
        (CHATML, (4,), True, "no<|im_end|>"),
        (PLAIN, (2, 4), None, " yes it is|  no </s>"),
        (PLAIN, (2, 4), False, " yes it is|  no "),
        (FORGETFUL, (2, 4), None, "yes it is<|im_end|>| no <|im_end|>"),
        (STRICT, (2, 4), None, "yes it is<|im_end|>|no<|im_end|>"),
        (STRICT, (2,), False, "yes it is"),
    ],
)
def test_what_is_learned_by_template(
    template: str, targets: tuple[int, ...], end_token: bool | None, expected: str
) -> None:
    assert learned(chatty(template), conversation(*targets), end_token=end_token) == expected


@pytest.mark.parametrize("template", [MARKED, PARTED, REFUSING + MARKED, REFUSING + PARTED, CHATML])
@pytest.mark.parametrize("made", [byte_level(), pieces()])
def test_what_a_template_marks_is_learned_as_the_mask_of_transformers_has_it(made: Any, template: str) -> None:
    # The mask of transformers loses an answer that begins with a space, where a tokenizer trims its offsets.
    tokenizer, example = chatty(template, made), conversation(2, 4, turns=(*TURNS[:4], ("assistant", "no")))
    (row,) = training_rows(Tokenizer(tokenizer, 999), [example])
    messages = [turn.message for turn in example.turns]
    encoded = tokenizer.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
    places = np.flatnonzero(encoded["assistant_masks"])
    assert len(places) > 0
    np.testing.assert_array_equal(row.positions + 1, places)
    np.testing.assert_array_equal(row.tokens, np.array(encoded["input_ids"])[places])


@pytest.mark.parametrize(
    ("template", "targets", "end_token", "expected"),
    [
        (MARKED, (4,), None, " no <|im_end|>"),
        (MARKED, (2,), False, "yes it is"),
        (MARKED, (2, 4), False, "yes it is| no "),
        (PARTED, (2,), None, "so,| yes it is"),
        (PARTED, (4,), None, "so,| no "),
        (PARTED, (4,), False, "so,| no "),
        (REFUSING + MARKED, (4,), None, " no <|im_end|>"),
        (MARKED, (1, 4), None, "is it red<|im_end|>| no <|im_end|>"),
        (INSTRUCTED, (2, 4), None, " yes it is</s>|  no </s>"),
    ],
)
def test_answers_are_found_without_an_opening(
    template: str, targets: tuple[int, ...], end_token: bool | None, expected: str
) -> None:
    assert learned(chatty(template), conversation(*targets), end_token=end_token) == expected


def test_all_of_a_text_is_learned_whatever_its_template_marks() -> None:
    for template in (MARKED, UNOPENED):
        words = learned(chatty(template), conversation(0, 1, 2, 3, 4))
        assert words.startswith("system\nbe kind<|im_end|>\n")  # the first token has nothing before it
        assert words.count("|im_end|") == 5


def test_a_marked_conversation_that_is_too_long_loses_its_beginning() -> None:
    made = chatty(MARKED)
    (whole,) = training_rows(Tokenizer(made, 999), [conversation(2, 4)])
    cut = Tokenizer(made, len(whole.input_ids) - 40)
    cut.read([conversation(2, 4)], "pool")
    (row,) = training_rows(cut, [conversation(2, 4)])
    assert row.input_ids == whole.input_ids[41:]
    assert made.decode(row.tokens.tolist()).endswith(" no <|im_end|>")
    assert cut.notes[-1] == "1 of these is a conversation that loses earlier answers, which are not learned"


def test_a_message_that_isnt_marked_takes_no_other_ones_part() -> None:
    """The answers that say nothing are marked by no part."""
    template = MARKED.replace("{% if m['role'] == 'assistant' %}", "{% if m['role'] == 'assistant' and m['content'] %}")
    calls = [{"type": "function", "function": {"name": "f", "arguments": {}}}]
    turns = [Turn("user", "is it"), Turn("assistant", "", False, {"tool_calls": calls}), Turn("tool", "yes")]
    example = Example.of_turns("x", [*turns, Turn("assistant", "it is", True)], {})
    assert learned(chatty(template), example) == "it is<|im_end|>"


def test_an_answer_that_isnt_marked_isnt_learned() -> None:
    """Of a template that marks the last answer alone, transformers' mask has that one."""
    template = MARKED.replace("{% if m['role'] == 'assistant' %}", "{% if m['role'] == 'assistant' and loop.last %}")
    assert learned(chatty(template), conversation(2, 4)) == " no <|im_end|>"
    never = MARKED.replace(
        "{% if m['role'] == 'assistant' %}", "{% if m['content'] == 'yes it is' and loop.index == 3 %}"
    )
    assert learned(chatty(never), conversation(2)) == "yes it is<|im_end|>"
    with pytest.raises(DataError, match="marks nothing of the answers of pool example 'x': give another one with"):
        learned(chatty(never), conversation(4))


def test_thoughts_in_front_of_an_answer_are_no_opening() -> None:
    turns = [Turn("user", "is it"), Turn("assistant", "it is", True, {"reasoning_content": "red"})]
    assert learned(chatty(INSTRUCTED), Example.of_turns("x", turns, {})) == "(red) it is</s>"


def test_parts_that_are_nobodys_are_reported() -> None:
    with pytest.raises(DataError, match=r"marks 4 parts of pool example 'x', which has 2 answers, .*: take --loss-on"):
        learned(chatty(REFUSING + PARTED), conversation(4))


@pytest.mark.parametrize("targets", [(2, 4), (4,)])
def test_a_template_that_tells_nothing_of_where_answers_begin_is_refused(targets: tuple[int, ...]) -> None:
    wanted = (
        r"ignores add_generation_prompt and marks no {% generation %}, so that .*assistant.* would count as a part of the "
        r"answer: give one that does either with --chat-template FILE"
    )
    with pytest.raises(DataError, match=wanted):
        learned(chatty(UNOPENED), conversation(*targets))
    calls = {"tool_calls": [{"type": "function", "function": {"name": "f", "arguments": {}}}]}
    silent = Example.of_turns("x", [Turn("user", "is it"), Turn("assistant", "", True, calls)], {})
    with pytest.raises(DataError, match=wanted):
        learned(chatty(UNOPENED), silent)
    with pytest.raises(DataError, match=wanted):
        ChatTemplate(chatty(UNOPENED), None, True, "m").prompt(conversation(0, 1, 2, 3, 4), "test")


def test_a_choice_of_templates_without_one_to_take_is_one_line() -> None:
    made = chatty({"rag": MARKED, "other": PLAIN})  # type: ignore[arg-type]
    with pytest.raises(DataError, match="the chat template can't render pool example 'x' "):
        learned(made, conversation(4))
    assert learned(chatty({"default": MARKED, "rag": PLAIN}), conversation(4)) == " no <|im_end|>"  # type: ignore[arg-type]


def test_a_prompt_has_the_opening_that_a_marking_template_puts_before_answers() -> None:
    template = ChatTemplate(chatty(MARKED), None, True, "m")
    assert template.prompt(conversation(2), "test").endswith("is it red<|im_end|>\n<|im_start|>assistant\n")
    assert (
        ChatTemplate(chatty(INSTRUCTED), None, True, "m").prompt(conversation(2), "test") == "[INST] is it red [/INST]"
    )


def test_another_template_goes_before_the_tokenizers_own() -> None:
    assert learned(chatty(), conversation(4), template=PLAIN) == "  no </s>"


def test_rows_to_measure_sum_what_rows_to_train_on_learn() -> None:
    made = Tokenizer(chatty(), 999)
    examples = [conversation(2, 4), conversation(4, id="y"), Example("z", "it is", " no")]
    layout = evaluation_rows(made, examples, choices=False)
    assert layout.target_tokens.tolist() == [len(row.tokens) for row in training_rows(made, examples)]
    for place, row in enumerate(training_rows(made, examples)):
        found = [
            (position, token)
            for one in layout.rows
            if one.input_ids == row.input_ids
            for position, token, segment in zip(one.positions, one.tokens, one.segments, strict=True)
            if segment == place
        ]
        assert found == list(zip(row.positions, row.tokens, strict=True))


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (
            None,
            "--model m has no chat template, and pool example 'x' is a conversation: give one with --chat-template FILE",
        ),
        ("{{ raise_exception('roles must alternate') }}", "can't render pool example 'x' .*roles must alternate"),
        ("{% for m in messages %}", "can't render pool example 'x'"),
        ("{{ messages[0]['content'] }}", "doesn't show message 3 of pool example 'x' as it is"),
        ("", "has no chat template"),
    ],
)
def test_templates_that_are_none(template: str | None, message: str) -> None:
    with pytest.raises(DataError, match=message):
        training_rows(Tokenizer(chatty(template), 999, name="--model m"), [conversation(2)])


def test_the_end_token_of_prompts_and_targets_is_by_choice() -> None:
    made = byte_level()
    pair = Example("p", "it is", " no")
    assert learned(made, pair) == " no"
    assert learned(made, pair, end_token=True) == " no</s>"
    assert learned(made, Example("p", "it is", " no</s>"), end_token=True) == " no</s>"
    assert not Tokenizer(made, 99, end_token=True).differing([pair, conversation(2)])
    with pytest.raises(DataError, match="--end-token: the tokenizer of m has no token that ends a text"):
        Tokenizer(byte_level(eos_token=""), 99, end_token=True, name="m")


@pytest.mark.numeric
def test_the_loss_of_a_conversation_is_the_mean_over_the_tokens_of_its_answers(neox: Path) -> None:
    import torch

    from gptfl.training.load import load_model
    from gptfl.training.network import Batch, Network

    loaded = load_model(str(neox))
    loaded.tokenizer.chat_template = PLAIN
    network = Network(loaded, None, "fp32")
    rows = training_rows(Tokenizer(loaded.tokenizer, 999), [conversation(2, 4)])
    (row,) = rows
    with torch.no_grad():
        logits = loaded.model(torch.tensor([row.input_ids])).logits[0].log_softmax(-1)
        expected = -np.mean([float(logits[p, t]) for p, t in zip(row.positions, row.tokens, strict=True)])
        assert float(network.loss(Batch(rows, None, network.device))) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("end_token", [True, False])
def test_targets_are_cut_out_of_the_text(end_token: bool) -> None:
    template = ChatTemplate(chatty(), None, end_token, "m")
    found = template.rendered(conversation(2, 4), "pool")
    end = "<|im_end|>" if end_token else ""
    assert [found.text[start:stop] for start, stop in found.targets] == [f"yes it is{end}", f"no{end}"]
    whole = template.rendered(conversation(0, 1, 2, 3, 4), "pool")
    assert whole == Rendered(found.text, ((0, len(found.text)),))


def test_a_prompt_is_all_before_the_last_target() -> None:
    template = ChatTemplate(chatty(), None, True, "m")
    text = template.rendered(conversation(2, 4), "pool").text
    for targets, words in (((2, 4), "no"), ((2,), "yes it is")):
        prompt = template.prompt(conversation(*targets), "pool")
        assert prompt.endswith("<|im_start|>assistant\n")
        assert text.startswith(prompt + words)
