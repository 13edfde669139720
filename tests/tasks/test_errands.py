from collections import Counter, defaultdict

import pytest

from gptfl.errors import DataError, UsageError
from gptfl.tasks.errands import ANSWERS, PEOPLE, SHOPS, THINGS, Errands, corpus, questions
from gptfl.testing import check_task


def test_there_are_thousands_of_different_questions_of_every_kind():
    made = questions(0)
    assert len({prompt for _, prompt, _ in made}) == len(made) > 3000
    assert set(Counter(kind for kind, _, _ in made)) == {"lend", "pack", "price", "carry", "purse", "meet"}
    shares = Counter(label for _, _, label in made)
    assert min(shares.values()) * 3 > max(shares.values())


def test_targets_are_the_labelled_choice_and_complete_the_prompt():
    loaded = Errands().load(300, 300, 5)
    for example in (*loaded.pool, *loaded.test):
        assert example.choices == ANSWERS
        assert example.target == ANSWERS[example.label]
        assert not example.prompt.endswith(" ")


def test_the_seed_decides_and_a_larger_draw_extends_a_smaller_one():
    small, large = Errands().load(50, 20, 3), Errands().load(120, 40, 3)
    assert (large.pool[:50], large.test[:20]) == (small.pool, small.test)
    assert Errands().load(50, 20, 4).pool != small.pool


def test_pool_and_test_share_no_question():
    loaded = Errands().load(None, None, 0)
    assert not {e.prompt for e in loaded.pool} & {e.prompt for e in loaded.test}


@pytest.mark.parametrize(("kind", "names"), [("lend", PEOPLE), ("pack", SHOPS), ("price", THINGS)])
def test_a_habit_holds_for_every_wording(kind, names):
    answers = defaultdict(set)
    for this, prompt, label in questions(11):
        if this == kind:
            (name,) = [name for name in names if name in prompt.replace("?", "").replace(".", "").split()]
            answers[name].add(label)
    assert all(len(labels) == 1 for labels in answers.values())
    assert Counter(next(iter(labels)) for labels in answers.values()).most_common(1)[0][1] == len(names) / 2


def test_what_can_be_read_off_the_prompt_is_answered_rightly():
    answers = {prompt: ANSWERS[label] for _, prompt, label in questions(0)}
    assert answers["Ada carried a red bag, Finn carried a blue bag. What did Ada carry?"] == " a red bag"
    assert answers["Kaja came before Ada. Was Ada the first to come?"] == " no"
    assert answers["Kaja left after Ada. Was Ada the first to leave?"] == " yes"
    assert answers["The pan costs two coins and I have three coins. Is that the exact sum?"] == " no"


def test_the_corpus_is_seeded_and_knows_every_answer_but_no_question_of_the_task():
    lines = corpus(0, 500)
    assert corpus(0, 500) == lines != corpus(1, 500)
    assert all(any(answer in line for line in lines) for answer in ANSWERS)
    assert not {prompt for _, prompt, _ in questions(0)} & {line.partition("?")[0] + "?" for line in lines}


def test_it_reads_no_data_and_has_so_many_questions():
    with pytest.raises(UsageError, match="reads no --data"):
        Errands(data="somewhere")
    with pytest.raises(DataError, match=r"--pool 5000 is more than the 1920 examples of task 'errands'"):
        Errands().load(5000, 1, 0)


def test_it_keeps_the_interface():
    check_task(Errands)
