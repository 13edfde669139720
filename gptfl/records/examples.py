"""What a model is trained on and measured on."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gptfl.records.values import fingerprint


@dataclass(frozen=True, slots=True)
class Example:
    """One prompt, which may be empty, and its target.

    ``label`` is the class as an index into ``choices``, where the task has classes.
    ``digest`` identifies the texts, also where a recording keeps none (``--no-texts``).
    ``fields`` holds whatever else the task knows (references, category, ...), JSON-able.
    """

    id: str
    prompt: str
    target: str
    choices: tuple[str, ...] = ()
    label: int | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    digest: str = ""

    def __post_init__(self) -> None:
        if not self.digest:
            object.__setattr__(self, "digest", fingerprint(self.prompt, self.target))

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
        return Example(self.id, "", "", (), self.label, kept, self.digest)


WORDLESS = ("template", "flipped", "clean_label", "reserved")
"""Fields that tell in a number what was done to an example."""


def classes_of(examples: Sequence[Example]) -> list[tuple[str, int | None]] | None:
    """The class of each example as (task, label); None unless there are classes for all of them.

    The task is empty outside a mixture. In a mixture, the examples of a task that has no labels make one class.
    """
    classes = [(example.task or "", example.label) for example in examples]
    if any(not task and label is None for task, label in classes):
        return None
    told_apart = len({task for task, _ in classes}) > 1 or all(label is not None for _, label in classes)
    return classes if told_apart else None


def in_order(classes: Iterable[tuple[str, int | None]]) -> list[tuple[str, int | None]]:
    """The different classes by task and number."""
    return sorted(set(classes), key=lambda one: (one[0], -1 if one[1] is None else one[1]))


def tasks_of(examples: Sequence[Example]) -> tuple[str, ...]:
    """The task of each example of a mixture; nothing where they are not of several tasks."""
    tasks = tuple(example.task or "" for example in examples)
    return tasks if all(tasks) and len(set(tasks)) > 1 else ()


def examples_fingerprint(pool: Sequence[Example], test: Sequence[Example]) -> str:
    """Identify a pool and a test set by ids and texts, in order."""
    return fingerprint([[e.id, e.digest] for e in pool], [[e.id, e.digest] for e in test])


@dataclass(frozen=True, slots=True)
class TaskData:
    """What a task hands to ``collect``: the training pool and the test examples."""

    task: str
    pool: tuple[Example, ...]
    test: tuple[Example, ...]
    source: str = ""
    licence: str = ""
