"""The groups that examples fall into: their classes, and fields that few values share."""

from gptfl.core import Example
from gptfl.report.page.groups import MOST_VALUES, groups_of_examples


def examples(count: int, **fields: object) -> list[Example]:
    """Examples whose fields are what a function gives of their place."""
    return [
        Example(str(i), "p", "t", fields={name: of(i) for name, of in fields.items()})  # type: ignore[operator]
        for i in range(count)
    ]


def test_classes_are_groups_in_their_order() -> None:
    pool = [Example(str(i), "p", " b" if i % 3 else " a", (" b", " a"), int(i % 3 == 0)) for i in range(6)]
    assert groups_of_examples(pool)["class"] == (["b", "a"], [1, 0, 0, 1, 0, 0])
    assert groups_of_examples([]) == {}


def test_fields_of_few_values_are_groups_and_what_is_none_has_no_number() -> None:
    pool = examples(
        8,
        source=lambda i: ("web", "größe\n", None, "")[i % 4],
        ok=lambda i: i % 2 == 0,
        level=lambda i: i % 2,
        tags=lambda i: ["a"],
        long=lambda i: "x" * 81 * (i % 2),
    )
    found = groups_of_examples(pool)
    assert set(found) == {"source", "ok", "level"}
    assert found["source"] == (["web", "größe"], [0, 1, -1, -1] * 2)
    assert found["ok"] == (["yes", "no"], [0, 1] * 4)
    assert found["level"] == (["0", "1"], [0, 1] * 4)


def test_one_value_and_nearly_as_many_as_rows_make_no_groups() -> None:
    assert groups_of_examples(examples(8, a=lambda i: 1, b=lambda i: i, c=lambda i: i % 5)) == {}
    many = examples(4 * MOST_VALUES, few=lambda i: i % MOST_VALUES, more=lambda i: i % (MOST_VALUES + 1))
    assert set(groups_of_examples(many)) == {"few"}


def test_a_field_called_class_gives_way_to_the_classes() -> None:
    pool = [Example(str(i), "p", "t", (), i % 2, {"class": "xy"[i // 2]}) for i in range(4)]
    assert groups_of_examples(pool)["class"][1] == [0, 1, 0, 1]
