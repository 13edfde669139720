from gptfl.core import Example
from gptfl.influence.near_duplicates import near_duplicates


def of(*texts):
    return near_duplicates([Example(str(place), text, "") for place, text in enumerate(texts)])


def test_texts_that_differ_by_a_letter_are_found_the_most_alike_first():
    long = "How do I send back the lamp that came broken last week?"
    found = of(long, "Where is the nearest shop that sells garden chairs?", long, long.replace("week?", "week"))
    assert found[0][:2] == (0, 2)
    assert {(0, 3), (2, 3)} <= {(one, other) for one, other, _ in found}
    assert all(1 not in pair[:2] for pair in found)
    assert found[0][2] > 0.999


def test_what_has_no_text_is_like_nothing():
    assert of("", "", " ") == []
    assert of("one text alone") == []
    assert of("a", "b") == []
