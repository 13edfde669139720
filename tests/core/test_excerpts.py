"""Short pieces of examples: what differs is there."""

from gptfl.core import Example
from gptfl.core.excerpts import excerpts
from gptfl.core.turns import Turn

SYSTEM = Turn("system", "You are the helper of a shop that sells bags and never says anything unkind to anybody.")


def talk(id: str, question: str, answer: str) -> Example:
    first = [Turn("user", "Good day to you."), Turn("assistant", "Good day!", target=True)]
    return Example.of_turns(id, [SYSTEM, *first, Turn("user", question), Turn("assistant", answer, target=True)], {})


def test_conversations_show_the_end_of_the_last_question_and_the_answer() -> None:
    found = excerpts(
        [talk("a", "How do I return the red bag?", "Bring it by."), talk("b", "How do I pay for a bag?", "In coins.")]
    )
    assert found == ["How do I return the red bag? → Bring it by.", "How do I pay for a bag? → In coins."]


def test_what_all_prompts_begin_and_end_with_is_left_out_and_long_ones_keep_their_end() -> None:
    claims = ("Nora sold pears in the market at the gate of the town on a day in May", "Nora sold a hat")
    prompts = [f"Text: some text that all share\nClaim: {claim}.\nDoes the claim follow?" for claim in claims]
    found = excerpts([Example(str(place), prompt, " yes") for place, prompt in enumerate(prompts)])
    assert found[0].endswith(" the gate of the town on a day in May. → yes")
    assert found[0].startswith("…")
    assert len(found[0]) <= 60
    assert found[1] == "a hat. → yes"


def test_what_is_short_is_shown_whole_and_a_long_target_gives_way_last() -> None:
    assert excerpts([Example("a", "Answer:\n", " no")]) == ["Answer: no"]
    long = Example("a", "word " * 40, " answer" * 40)
    (found,) = excerpts([long])
    assert len(found) <= 60
    assert found.startswith("…")
    assert found.endswith("…")
    assert " → answer" in found
    (text,) = excerpts([Example("a", "", "text " * 40)])
    assert text.startswith("text text")
    assert len(text) <= 60


def test_alike_and_empty_texts_do_no_harm() -> None:
    assert excerpts([]) == []
    assert excerpts([Example("a", "", ""), Example("b", "", "")]) == ["", ""]
    same = Example("a", "word " * 20, " yes")
    assert excerpts([same, same])[0] == excerpts([same])[0]


def test_what_is_cut_begins_with_a_word() -> None:
    (found,) = excerpts(
        [Example("a", "Nora bought a towel from the joiner at the gate of the town. What was it?", " red")]
    )
    assert found == "…from the joiner at the gate of the town. What was it? → red"
