"""What a model is trained on and measured on, and the classes that answers fall into."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from gptfl.core.many_examples import ManyExamples
from gptfl.core.turns import Turn, transcript
from gptfl.core.values import fingerprint
from gptfl.errors import DataError


@dataclass(frozen=True, slots=True)
class Example:
    """One prompt, which may be empty, and its target.

    ``label`` is the class as an index into ``choices``, where the task has classes.
    ``digest`` identifies the texts, also where a recording keeps none (``--no-texts``).
    ``fields`` holds whatever else the task knows (references, category, ...), JSON-able.
    ``turns`` are those of a conversation, of which prompt and target are then the ``transcript``.
    ``length`` is how many tokens it has, where a recording has to know, and ``weight`` how much it counts in the loss of a
    batch beside the others: its target's tokens, where the loss is a mean over tokens; None where all count alike.
    """

    id: str
    prompt: str
    target: str
    choices: tuple[str, ...] = ()
    label: int | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    digest: str = ""
    turns: tuple[Turn, ...] = ()
    length: int | None = None
    weight: int | None = None

    def __post_init__(self) -> None:
        if not self.digest:
            object.__setattr__(self, "digest", self.text_digest)

    @property
    def text_digest(self) -> str:
        """What identifies the texts that are here."""
        if not self.turns:
            return fingerprint(self.prompt, self.target)
        return fingerprint(self.prompt, self.target, [turn.to_json() for turn in self.turns], self.tools)

    @classmethod
    def of_turns(cls, id: str, turns: Sequence[Turn], fields: Mapping[str, Any]) -> "Example":
        """The example that a conversation is."""
        prompt, target = transcript(turns)
        return cls(id, prompt, target, fields=fields, turns=tuple(turns))

    @property
    def is_flipped(self) -> bool:
        """Whether its label was changed to another (``FLIPPED``)."""
        return self.fields.get(FLIPPED) is True

    @property
    def is_reserved(self) -> bool:
        """Whether its recording says that it is to be held out of fits (``RESERVED``)."""
        return self.fields.get(RESERVED) is True

    @property
    def tools(self) -> list[Any] | None:
        """The tools that a conversation may call, as chat templates take them."""
        tools = self.fields.get(TOOLS) if self.turns else None
        return tools if isinstance(tools, list) and tools else None

    @property
    def text(self) -> str:
        """Prompt and target together, what an encoder embeds by default."""
        return self.prompt + self.target

    @property
    def task(self) -> str | None:
        """The task of a mixture that the example is of; None outside a mixture."""
        named = self.fields.get("task")
        return named if isinstance(named, str) else None

    def without_texts(self) -> "Example":
        """The same example with its texts gone; id, class, digest, task and the ``WORDLESS`` fields stay."""
        # A file's own fields may have these names and hold anything.
        kept = {name: self.fields[name] for name in WORDLESS if isinstance(self.fields.get(name), int)}
        if self.task is not None:
            kept["task"] = self.task
        return Example(self.id, "", "", (), self.label, kept, self.digest, length=self.length, weight=self.weight)


def without_texts(pool: Sequence[Example], test: Sequence[Example]) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Pool and test examples with their texts gone (see ``Example.without_texts``), their labels numbered alike.

    A place in choices that are gone could mean another class in each example: labels become the numbers of
    ``Classes``, those of the pool's. Where the choices are not the same texts, there is no label left.
    """
    trained = Classes(pool)
    tested = Classes([*pool, *(example for example in test if not trained.has(example.task or ""))])
    return (
        tuple(_numbered(example, trained).without_texts() for example in pool),
        tuple(_numbered(example, tested).without_texts() for example in test),
    )


def _numbered(example: Example, classes: "Classes") -> Example:
    if example.label is None or not example.choices:
        return example
    choices, fields = classes.choices(example.task or ""), dict(example.fields)
    clean = fields.get(CLEAN)
    if type(clean) is int and 0 <= clean < len(example.choices):
        fields[CLEAN] = choices.index(example.choices[clean]) if choices else None
    own = classes.of(example)
    return replace(example, label=None if own is None else own[1], fields=fields)


TOOLS = "tools"
"""The field of a conversation that describes its tools."""
FLIPPED, CLEAN = "flipped", "clean_label"
"""The fields of an example whose label was changed: that it was, and the label that it had."""
RESERVED = "reserved"
"""The field by which a recording's own examples say that they are to be held out of fits."""
CLUSTER = "cluster"
"""The field by which a recording's own examples name their group, where a design clustered them."""
WORDLESS = ("template", FLIPPED, CLEAN, RESERVED, CLUSTER)
"""Fields that tell in a number what was done to an example."""


Class = tuple[str, int | None]
"""A class of examples: the task, empty outside a mixture, and the number of the class in it.

The number is None for a task without classes, whose examples make one class in a mixture.
"""


class Classes:
    """The classes that examples fall into. The text of an example's choice says which, not its place in a list.

    The examples of a task have classes where all that are labelled share one set of choices, in whatever order they
    list them. Classes are then numbered in the order of the first one's list. Where no choices are kept, the label is
    the number. Where the sets differ, as in multiple-choice questions, there are no classes.
    """

    def __init__(self, examples: Iterable[Example]) -> None:
        self._choices: dict[str, tuple[str, ...]] = {}
        self._apart: set[str] = set()
        for example in examples:
            task = example.task or ""
            if example.label is None or task in self._apart:
                continue
            known = self._choices.setdefault(task, example.choices)
            if known != example.choices and set(known) != set(example.choices):
                self._apart.add(task)

    def of(self, example: Example) -> Class | None:
        """The class of an example; None where it has none, or one that isn't of these."""
        task, label = example.task or "", example.label
        if label is None or task in self._apart or task not in self._choices:
            return (task, None) if task and (label is None or task in self._apart) else None
        choices = self._choices[task]
        if not choices or not example.choices:  # a recording without texts keeps the number alone
            return task, label
        word = word_of(example)
        return (task, choices.index(word)) if word in choices else None

    def choices(self, task: str) -> tuple[str, ...]:
        """The choices that the classes of a task are numbered by; nothing where it has none, or they aren't kept."""
        return () if task in self._apart else self._choices.get(task, ())

    def has(self, task: str) -> bool:
        """Whether an example of a task is labelled, be it that the choices differ."""
        return task in self._choices

    def differ(self, task: str = "") -> bool:
        """Whether a task has no classes since the choices of its examples are not the same texts."""
        return task in self._apart

    def text(self, one: Class) -> str:
        """The choice of a class, less the white space around it where that still tells it apart; empty if not kept."""
        task, number = one
        choices = self.choices(task)
        if number is None or not 0 <= number < len(choices):
            return ""
        bare = choices[number].strip()
        return bare if bare and sum(choice.strip() == bare for choice in choices) == 1 else choices[number]

    def name(self, one: Class) -> str:
        """What a class is called: by its choice, else by its number; the task before it, with a colon."""
        task, number = one
        text = self.text(one)
        word = repr(text) if text != text.strip() else text or ("" if number is None else str(number))
        return ":".join(filter(None, (task, word)))


def word_of(example: Example) -> str:
    """The choice that an example's label names, as it is; the number where no choices are kept; empty without a label."""
    if example.label is None:
        return ""
    return example.choices[example.label] if 0 <= example.label < len(example.choices) else str(example.label)


def classes_of(examples: Sequence[Example]) -> list[Class] | None:
    """The class of each example (see ``Classes``); None unless there are classes for all of them.

    In a mixture, the examples of a task that has no classes make one class.
    """
    if isinstance(examples, ManyExamples) and examples.plain:
        return None
    if isinstance(examples, ManyExamples):
        return examples.once("class of each", _class_of_each)  # type: ignore[no-any-return]
    return _class_of_each(examples)


def classes_among(examples: Sequence[Example]) -> Classes:
    """The classes that these examples fall into."""
    return examples.once("classes", Classes) if isinstance(examples, ManyExamples) else Classes(examples)


def _class_of_each(examples: Sequence[Example]) -> list[Class] | None:
    found, same = classes_among(examples), dict[Class, Class]()
    # Of many examples in few classes no more than a reference each is kept.
    classes = [same.setdefault(one, one) for example in examples if (one := found.of(example)) is not None]
    if len(classes) < len(examples):
        return None
    are_distinct = len({task for task, _ in classes}) > 1 or all(number is not None for _, number in classes)
    return classes if are_distinct else None


def class_numbers(examples: Sequence[Example]) -> Int[np.ndarray, " example"] | None:
    """The class of each example as a number from 0, by task and place among its choices; None as ``classes_of``."""
    classes = classes_of(examples)
    if classes is None:
        return None
    number = {one: place for place, one in enumerate(in_order(classes))}
    return np.array([number[one] for one in classes], dtype=np.int64)


def lack_of_classes(examples: Sequence[Example]) -> str:
    """Why there are no classes although there are choices, as the end of a sentence that says so; else nothing."""
    found = classes_among(examples)
    differ = any(found.differ(task) for task in {example.task or "" for example in examples})
    return ", since the choices are not the same texts in all" if differ else ""


def in_order(classes: Iterable[Class]) -> list[Class]:
    """The different classes by task and number."""
    return sorted(set(classes), key=lambda one: (one[0], -1 if one[1] is None else one[1]))


def tasks_of(examples: Sequence[Example]) -> tuple[str, ...]:
    """The task of each example of a mixture; nothing where they are not of several tasks."""
    tasks = tuple(example.task or "" for example in examples)
    return tasks if all(tasks) and len(set(tasks)) > 1 else ()


def examples_fingerprint(pool: Sequence[Example], test: Sequence[Example]) -> str:
    """Identify a pool and a test set by ids and texts, in order."""

    def named(examples: Sequence[Example]) -> list[Sequence[str]]:
        if isinstance(examples, ManyExamples):
            return list(zip(examples.ids, examples.digests, strict=True))
        return [(example.id, example.digest) for example in examples]

    return fingerprint(named(pool), named(test))


@dataclass(frozen=True, slots=True)
class TaskData:
    """What a task hands to ``collect``: the training pool and the test examples, and what to tell of them.

    ``files`` has by ``pool`` and ``test`` what they were read from, where that is a file that messages may name.
    """

    task: str
    pool: tuple[Example, ...]
    test: tuple[Example, ...]
    source: str = ""
    licence: str = ""
    notes: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)


def weights_of(pool: Sequence[Example]) -> Int[np.ndarray, " pool"] | None:
    """How much each example counts in the loss of a batch; None where all count alike."""
    if isinstance(pool, ManyExamples):
        return pool.weights
    weights = [example.weight for example in pool if example.weight is not None]
    return np.array(weights, dtype=np.int64) if pool and len(weights) == len(pool) else None


def relative_weights(pool: Sequence[Example]) -> Float[np.ndarray, " pool"] | None:
    """The same in units of the pool's mean (see ``presentation_weights``); None where all count alike."""
    weights = weights_of(pool)
    return None if weights is None else weights / weights.mean()


def lengths_of(pool: Sequence[Example]) -> Int[np.ndarray, " pool"]:
    """How many tokens each example has, -1 where that isn't known."""
    return np.array([-1 if example.length is None else example.length for example in pool], dtype=np.int64)


def references_of(example: Example) -> tuple[str, ...]:
    """The texts in ``fields["references"]`` where there are any, else the target; surrounding white space is no part.

    Raises ``DataError`` where the field is something other than a list of texts that say something.
    """
    given = example.fields.get("references")
    if given is None:
        return (example.target.strip(),)
    texts = [text.strip() for text in given if isinstance(text, str)] if isinstance(given, list | tuple) else []
    if not texts or not all(texts) or len(texts) < len(given):
        raise DataError(
            f"test example {example.id!r}: field 'references' is {given!r:.60}, not a list of texts",
            "give at least one, or leave the field out to take the target",
        )
    return tuple(texts)
